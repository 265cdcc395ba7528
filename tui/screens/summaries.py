"""The short lists of the dashboard."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.frame import urgency
from agentorch.tui.spans import Line, Span, clip, fit, line, plain, spread, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge, level, spark

if TYPE_CHECKING:
    from agentorch.schemas.documents import BudgetDocument, JobDocument, PoolDocument
    from agentorch.schemas.supervision import LogLine, ProposalDocument

POOLS_SHOWN = 6
APPROVALS_SHOWN = 4
BUDGETS_SHOWN = 5
JOBS_SHOWN = 12
ACTORS: Line = [
    Span(glyphs.AGENT, "agent"),
    Span(" agent  ", "dim"),
    Span(glyphs.HUMAN, "human"),
    Span(" human  ", "dim"),
    Span(glyphs.GUARD, "guard"),
    Span(" guard", "dim"),
]


def _more(total: int, shown: int, key: str) -> list[Line]:
    return [line((f"{words.count(total - shown)} more on {key}", "dim"))] if total > shown else []


# -- pools


def pool_state(pool: PoolDocument) -> tuple[str, str, str]:
    """Sign, look and word of how a pool is."""
    if pool.paused:
        return glyphs.HELD, "warning", "paused"
    if pool.wait_s_p95 > pool.target_wait_s and pool.queued:
        return glyphs.HIGH, "error", "over target"
    if pool.provisioning_failures:
        return glyphs.HIGH, "warning", "short"
    if not pool.workers:
        return glyphs.IDLE, "dim", "empty"
    if not pool.available:
        return glyphs.FAILED, "error", "none up"
    if not pool.running:
        return glyphs.QUEUED, "dim", "idle"
    return glyphs.RUNNING, "success", "ok"


def pool_shape(pool: PoolDocument) -> str:
    """How many of what: `8×2gpu`, `2×32cpu`."""
    unit = f"{pool.gpus}gpu" if pool.gpus else f"{words.number(pool.cpus)}cpu"
    return f"{pool.workers}×{unit}"


def pools(view: View, width: int, height: int) -> list[Line]:
    shown = view.snapshot.pools[:POOLS_SHOWN]
    if not shown:
        return [line(("no pools are configured", "dim"))]
    name_width = min(16, max(10, *(len(pool.name) for pool in shown))) + 1
    lines = []
    history = view.snapshot.history.pool_wait_s_p95
    for pool in shown:
        sign, look, word = pool_state(pool)
        share = pool.utilization_percent / 100
        chart = width >= 84
        bar = max(6, min(30, width - name_width - 42 - (10 if chart else 0)))
        row = [
            Span(f"{sign} ", look),
            Span(fit(pool.name, name_width), "bold" if pool.workers else "dim", "app.go('pools')"),
            Span(fit(pool_shape(pool), 9), "dim"),
            *gauge(share, bar, level(share)),
            Span(f" {words.percent(pool.utilization_percent):>4} "),
            *([*spark(history.get(pool.name, []), 8, "primary", low=0.0), Span(" ")] if chart else []),
            Span(f"{words.count(pool.queued):>5}q", "warning bold" if look == "error" else "dim"),
            Span(f"{words.count(pool.running):>5}r ", "dim"),
        ]
        note = word if word != "ok" else f"p95 {words.duration(pool.wait_s_p95)}"
        lines.append([*row, Span(f" {note}", look if look in ("error", "warning") else "dim")])
    return lines + _more(len(view.snapshot.pools), len(shown), "3")


def routes(view: View, width: int, height: int) -> list[Line]:
    return [line((clip("no routes: inference is not configured on this server", width), "dim"))]


# -- approvals


def approvals(view: View, width: int, height: int) -> list[Line]:
    waiting = view.snapshot.approvals
    if not waiting:
        rows = wrap("The supervisor acts inside its guardrails; what needs a person appears here.", width)
        return [line((f"{glyphs.DONE} Nothing waits for you.", "success")), *(line((row, "dim")) for row in rows)]
    lines = [approval_line(view, proposal, width) for proposal in waiting[:APPROVALS_SHOWN]]
    total = view.snapshot.truncated.get("approvals", len(waiting))
    return lines + _more(total, len(lines), "6")


def expiry_share(proposal: ProposalDocument, now: float) -> float:
    whole = max(1.0, proposal.expires_at - proposal.created_at)
    return max(0.0, min(1.0, (proposal.expires_at - now) / whole))


def approval_line(view: View, proposal: ProposalDocument, width: int, *, marked: bool = False) -> Line:
    """Risk, title, a bar of the time left, the time left, and what happens then, on one line."""
    sign, look = glyphs.RISKS[proposal.risk]
    left = proposal.expires_at - view.now
    hurry = urgency(left)
    tail = [
        Span(" "),
        *gauge(expiry_share(proposal, view.now), 6 if width > 50 else 4, hurry),
        Span(f" {words.countdown(left):>5}", f"{hurry} bold"),
        Span(f" {glyphs.ARROW}hold ", "dim"),
    ]
    click = f"app.open_proposal('{proposal.id}')"
    mark = Span(glyphs.MARK, "primary") if marked else Span(" ")
    room = width - sum(len(span.text) for span in tail) - 3
    title = Span(clip(plain(proposal.title), room), "bold", click)
    return spread([mark, Span(f"{sign} ", look), title], tail, width)


# -- decisions


def decisions(view: View, width: int, height: int) -> list[Line]:
    rows = view.snapshot.log[: height or 6]
    if not rows:
        return [line(("no decisions yet", "dim"))]
    return [decision_line(view, row, width) for row in rows]


def decision_line(view: View, row: LogLine, width: int) -> Line:
    sign, look = glyphs.ACTORS.get(row.actor, (glyphs.SYSTEM, "guard"))
    mark, mark_look = glyphs.OUTCOMES.get(row.status, (glyphs.HOLD, "dim"))
    wide = width >= 60
    head = [
        Span(view.clock(row.at, seconds=wide) + " ", "dim"),
        Span(f"{sign} ", look),
        Span(fit(plain(row.verb), 10) + " ", look),
    ]
    room = width - sum(len(span.text) for span in head) - 2
    click = f"app.open_decision({row.cycle})" if row.cycle is not None else ""
    return spread([*head, Span(clip(plain(row.text), room), "", click)], [Span(f" {mark}", mark_look)], width)


# -- money


def budget_note(budget: BudgetDocument) -> tuple[str, str]:
    """What to know of a budget, and its look."""
    if budget.hard_cap_usd is None:
        return "no cap", "dim"
    if budget.spent_usd + budget.reserved_usd >= budget.hard_cap_usd:
        return "all spent or reserved", "error"
    if budget.exhausted_in_s is None:
        return "ok", "dim"
    share = budget.spent_usd / budget.hard_cap_usd if budget.hard_cap_usd else 1.0
    look = level(share)
    soon = budget.exhausted_in_s < 86_400
    return (
        (f"out in {words.duration(budget.exhausted_in_s)}", look if look != "success" else "dim")
        if soon
        else ("ok", "dim")
    )


def budgets(view: View, width: int, height: int) -> list[Line]:
    shown = view.snapshot.budgets[:BUDGETS_SHOWN]
    if not shown:
        return [line(("no budgets", "dim"))]
    lines = []
    names = min(10, max(len(budget.tenant) for budget in shown))
    for budget in shown:
        cap = budget.hard_cap_usd
        share = budget.spent_usd / cap if cap else None
        look = level(share) if share is not None else "dim"
        note, note_look = budget_note(budget)
        bar = max(5, min(24, width - names - 34))
        lines.append(
            [
                Span(fit(plain(budget.tenant), names) + " ", "bold", "app.go('costs')"),
                *gauge(share, bar, look),
                Span(f"{words.percent(share * 100) if share is not None else words.UNKNOWN:>5} ", look),
                Span(f"{words.usd(budget.spent_usd) + (f'/{words.usd(cap)[1:]}' if cap else ''):<12}", "dim"),
                Span(f" {note}", note_look),
            ]
        )
    return lines + _more(len(view.snapshot.budgets), len(lines), "5")


# -- jobs


def job_title(job: JobDocument) -> str:
    """Its name, or what it runs when nobody named it."""
    return plain(job.name or job_command(job))


def job_command(job: JobDocument) -> str:
    """The command, or the Python function that is called."""
    return shlex.join(job.command) if job.entry is None else f"{job.entry['call']}()"


def job_cost(job: JobDocument) -> str:
    """What it has cost; unknown where a price is."""
    return words.usd(job.cost_usd if job.cost_known else None)


def job_note(job: JobDocument) -> tuple[str, str]:
    """Why a job waits, what it says, or how it ended; and its look."""
    if job.reason is not None:
        return plain(job.reason.text), "warning" if job.state == "held" else "dim"
    if job.state == "failed":
        return plain(job.cause or "failed") + (f", exit {job.exit_code}" if job.exit_code is not None else ""), "error"
    return plain(job.progress_message), "dim"


def recent_jobs(view: View, width: int, height: int) -> list[Line]:
    rows = view.snapshot.recent_jobs[:JOBS_SHOWN]
    if not rows:
        return [line(("no jobs yet", "dim"))]
    lines = []
    for job in rows:
        sign, look = glyphs.STATES.get(job.state, (glyphs.HOLD, "dim"))
        spent = job.run_s if job.started_at is not None else job.wait_s
        note, note_look = job_note(job)
        name = Span(fit(job_title(job), 20) + " ", "bold", f"app.open_job('{job.id}')")
        lines.append(
            [
                Span(f"{sign} ", look),
                name,
                Span(fit(job.state, 9) + " ", look),
                Span(f"{words.duration(spent):>7} ", ""),
                Span(clip(note, max(0, width - 41)), note_look),
            ]
        )
    return lines
