"""One job in lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentorch.tui import glyphs, words
from agentorch.tui.screens.summaries import job_command, job_cost, job_note, job_title
from agentorch.tui.spans import Line, Span, clip, clip_line, fit, line, plain, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge

if TYPE_CHECKING:
    from agentorch.schemas.documents import (
        AttemptDocument,
        ExplainDocument,
        JobDocument,
        PredicateDocument,
        RankDocument,
    )

_IN_HEADING = {"name", "tenant", "tier", "kind", "priority", "command", "gang"}

#: Ranks of one attempt that are listed.
RANKS_SHOWN = 16


def heading(view: View, job: JobDocument, width: int) -> Line:
    sign, look = glyphs.STATES.get(job.state, (glyphs.HOLD, "dim"))
    spans = line(
        (f" {sign} ", look),
        (clip(job_title(job), max(20, width // 2)), "bold"),
        (f"  {job.id}  ", "dim"),
        (job.state, f"{look} bold".strip()),
    )
    note, note_look = job_note(job)
    spans += line((f"  {note}", note_look or "dim"))
    if job.progress_percent is not None and job.state == "running":
        spans += [Span("  "), *gauge(job.progress_percent / 100, 12, "success"), Span(f" {job.progress_percent:.0f}%")]
    return clip_line(spans, width)


def details(
    view: View, job: JobDocument, explain: ExplainDocument | None, timeline: list[dict[str, Any]], width: int
) -> list[Line]:
    lines = _facts(view, job, width)
    if explain is not None:
        lines += _explained(explain, width)
    lines += _attempts(view, job, width)
    lines += _timeline(view, timeline, width)
    return lines + _specification(job, width)


def _title(text: str, note: str = "") -> list[Line]:
    return [[], line((text, "dim bold"), (f"  {note}" if note else "", "dim"))]


def _facts(view: View, job: JobDocument, width: int) -> list[Line]:
    facts = [
        ("tenant", plain(job.tenant)),
        ("tier", f"{job.tier}, priority {job.priority}" + ("" if job.preemptible else ", never preempted")),
        ("where", plain(" ".join(filter(None, (job.pool, job.worker))) or words.UNKNOWN)),
        ("submitted", view.moment(job.submitted_at)),
        ("waited", words.duration(job.wait_s)),
        ("ran", words.duration(_ran_s(view, job))),
        ("cost", job_cost(job)),
    ]
    facts += _foretold(job)
    if job.deadline_at is not None:
        left = job.deadline_at - view.now
        facts.append(
            (
                "deadline",
                f"{view.moment(job.deadline_at)}, {'in ' if left > 0 else 'missed by '}{words.duration(abs(left))}",
            )
        )
    if job.checkpoint_at is not None:
        facts.append(("checkpoint", f"{view.moment(job.checkpoint_at)}, {view.ago(job.checkpoint_at)} ago"))
    if job.workers > 1:
        facts.append(("gang", f"{job.workers} ranks at once, or none"))
    if job.result is not None:
        facts.append(("result", plain(json.dumps(job.result))))
    if job.depends_on:
        facts.append(("after", ", ".join(job.depends_on)))
    if job.labels:
        facts.append(("labels", " ".join(f"{key}={value}" for key, value in job.labels.items())))
    lines = [line((fit(name, 11), "dim"), clip(text, width - 11)) for name, text in facts]
    if job.predicted_text:
        lines += [line(" " * 11, (row, "dim")) for row in wrap(plain(job.predicted_text), max(10, width - 11))]
    command = wrap(f"$ {job_command(job)}", width, hanging=2)
    return [*lines, [], *(line((row, "primary")) for row in command[:6])]


def _foretold(job: JobDocument) -> list[tuple[str, str]]:
    """What is expected of a job that has not ended; below, `predicted_text` says what that rests on."""
    if not job.predicted_text:
        return []
    facts = [("ends in", _about(job.predicted_end_p50_s, job.predicted_end_p90_s))]
    if job.state in ("queued", "held"):
        facts.insert(0, ("starts in", _about(job.predicted_start_p50_s, job.predicted_start_p90_s)))
    return facts


def _about(middle_s: float | None, most_s: float | None) -> str:
    if middle_s is None:
        return words.UNKNOWN
    return f"about {words.duration(middle_s)}" + ("" if most_s is None else f", 90 %: {words.duration(most_s)}")


def _ran_s(view: View, job: JobDocument) -> float | None:
    """None: it has not run yet."""
    if job.started_at is None:
        return None
    return max(0.0, view.now - job.started_at) if job.ended_at is None else job.run_s


def _predicate(predicate: PredicateDocument, width: int, indent: int) -> list[Line]:
    sign, look = (glyphs.DONE, "success") if predicate.ok else (glyphs.FAILED, "warning")
    rows = wrap(predicate.text or predicate.code, max(10, width - indent - 2))
    first = line(" " * indent, (f"{sign} ", look), (rows[0], "dim" if predicate.ok else ""))
    return [first, *(line(" " * (indent + 2), (row, "dim" if predicate.ok else "")) for row in rows[1:])]


def _explained(explain: ExplainDocument, width: int) -> list[Line]:
    note = f"{words.plural(explain.position, 'job')} before it" if explain.position is not None else ""
    lines = _title("Why it waits", note)
    for predicate in explain.predicates:
        lines += _predicate(predicate, width, 2)
    for pool in explain.pools:
        sign, look = (glyphs.DONE, "success") if pool.ok else (glyphs.FAILED, "warning")
        lines.append(line("  ", (f"{sign} ", look), (plain(pool.pool), "bold")))
        for predicate in pool.predicates:
            if not predicate.ok or pool.ok:
                lines += _predicate(predicate, width, 4)
    return lines


def ending(attempt: AttemptDocument | RankDocument) -> tuple[str, str]:
    """How an attempt, or a rank of a gang, ended in words, and its look."""
    if attempt.ended_at is None:
        return "running", "success"
    if attempt.signal is not None:
        return f"signal {attempt.signal}, {attempt.cause}", "error"
    if attempt.exit_code == 0:
        return "exit 0", "dim"
    code = f"exit {attempt.exit_code}, " if attempt.exit_code is not None else ""
    return f"{code}{attempt.cause}", "error"


def _attempts(view: View, job: JobDocument, width: int) -> list[Line]:
    lines = _title("Attempts")
    if not job.attempts:
        return [*lines, line(("  none yet", "dim"))]
    for attempt in job.attempts:
        text, look = ending(attempt)
        ran = (
            words.duration((attempt.ended_at or view.now) - attempt.started_at) if attempt.started_at else words.UNKNOWN
        )
        where = f"{attempt.pool}/{attempt.worker}" + (f" {','.join(attempt.devices)}" if attempt.devices else "")
        lines.append(
            line((f"  {attempt.number:>2} ", "dim"), (fit(text, 22), look), f" {ran:>7} ", (plain(where), "dim"))
        )
        if attempt.ended_at is not None:
            # Only known at its end.
            used = f"cpu {words.duration(attempt.cpu_s)}  memory {words.size(attempt.memory_peak_bytes)}"
            cost = words.usd(attempt.cost_usd if attempt.cost_known else None)
            lines.append(line((f"     {used}  {cost}", "dim")))
        if attempt.message:
            lines += [line((row, look)) for row in wrap(attempt.message, width, indent=5)]
        lines += _ranks(attempt)
    return lines


def _ranks(attempt: AttemptDocument) -> list[Line]:
    """Those that failed first, then the first few: a gang may have hundreds."""
    order = sorted(enumerate(attempt.ranks), key=lambda item: (item[0] != attempt.failed_rank, item[0]))
    lines = []
    for number, rank in order[:RANKS_SHOWN]:
        text, look = ending(rank) if rank.started_at is not None or rank.ended_at is not None else ("starting", "dim")
        where = rank.worker + (f" {','.join(rank.devices)}" if rank.devices else "")
        lines.append(line((f"     rank {number:<3} ", "dim"), (fit(text, 22), look), (plain(where), "dim")))
    if len(order) > RANKS_SHOWN:
        lines.append(line((f"     and {len(order) - RANKS_SHOWN} more ranks", "dim")))
    return lines


def _timeline(view: View, timeline: list[dict[str, Any]], width: int) -> list[Line]:
    lines = _title("Timeline", "as the ledger has it")
    if not timeline:
        return [*lines, line(("  nothing yet", "dim"))]
    for event in timeline:
        rows = wrap(str(event.get("text") or event.get("event", "")), max(10, width - 20))
        lines.append(
            line((f"  {view.clock(event.get('at'))} ", "dim"), (f"{event.get('seq', ''):>7} ", "dim"), rows[0])
        )
        lines += [line(" " * 19, row) for row in rows[1:]]
    return lines


def written(value: Any, name: str = "") -> str:
    """A value of a specification for people: `every=10m path=ckpt`, lists with commas, what is empty left out."""
    if isinstance(value, dict):
        parts = ((key, written(item, key)) for key, item in value.items())
        return "  ".join(f"{key.removesuffix('_bytes')}={text}" for key, text in parts if text)
    if isinstance(value, list):
        return ", ".join(written(item) for item in value)
    if value is None or value is False or value == 0:
        return ""
    if name.endswith("_bytes"):
        return words.size(int(value))
    return value if isinstance(value, str) else "yes" if value is True else json.dumps(value)


def _specification(job: JobDocument, width: int) -> list[Line]:
    asked = {name: value for name, value in (job.spec or {}).items() if name not in _IN_HEADING}
    # What is in force, rather than what was typed: memory grows after an oom.
    spec = asked | {"resources": job.resources, "constraints": job.constraints}
    lines = _title("Specification")
    for name, value in spec.items():
        text = written(value, name)
        if not text:
            continue
        rows = wrap(text, max(10, width - 20))
        lines.append(line((f"  {fit(name, 16)}  ", "dim"), rows[0]))
        lines += [line(" " * 20, row) for row in rows[1:]]
    return lines
