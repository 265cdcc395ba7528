"""The card of one proposal: evidence first, the brain's words marked as such, and nothing that was not computed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentorch.tui import glyphs, words
from agentorch.tui.frame import urgency
from agentorch.tui.screens.trends import short
from agentorch.tui.spans import Line, Span, beside, cells, clip, fit, line, plain, width_of, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.plot import Axes, Series, plot

if TYPE_CHECKING:
    from agentorch.schemas.supervision import NoteDocument, ProposalDocument

NOT_COMPUTED = "impact: not computed yet"
TWO_COLUMNS = 84  # cells of the card from which the plot stands beside the text
PLOT_ROWS = 7
JOBS_SHOWN = 6
# Measures of which less is better, and of which more is; of others no word is said.
_LESS = (
    "wait",
    "miss",
    "cost",
    "spend",
    "spent",
    "burn",
    "preempt",
    "disturb",
    "queue",
    "late",
    "price",
    "failed",
    "lost",
)
_MORE = ("utiliz", "utilis", "busy", "finish", "throughput", "done", "hit", "saved", "succeeded")
_NUMBER = re.compile(r"[-+]?[$]?\s*([\d][\d  ,]*\.?\d*)")
_ANSWERED = {"approve": "approved", "edit": "edited and approved", "reject": "rejected"}
_SIGNS = {"better": "+", "worse": "-", "same": "=", "": ""}
_SETTLED = {
    "done": (glyphs.DONE, "success"),
    "approved": (glyphs.DONE, "success"),
    "acting": (glyphs.RUNNING, "success"),
    "allowed": (glyphs.DONE, "agent"),
    "rejected": (glyphs.FAILED, "error"),
    "denied": (glyphs.HELD, "guard"),
    "failed": (glyphs.FAILED, "error"),
    "expired": (glyphs.EXPIRY, "warning"),
}


def settled_sign(state: str) -> tuple[str, str]:
    return _SETTLED.get(state, (glyphs.HOLD, "dim"))


def impact_rows(proposal: ProposalDocument) -> list[tuple[str, str, str]]:
    """(measure, doing nothing, approved) as the twin computed them."""
    found = (proposal.impact or {}).get("lines") or []
    return [(str(row[0]), str(row[1]), str(row[2])) for row in found]


def judged(measure: str, before: str, after: str) -> tuple[str, str]:
    """`better`, `worse`, `same` or "" where nobody can know, and its look."""
    if before == after:
        return "same", "dim"
    first, second = _amount(before), _amount(after)
    if first is None or second is None or first == second:
        return "", ""
    name = measure.lower()
    less, more = any(word in name for word in _LESS), any(word in name for word in _MORE)
    if less == more:
        return "", ""
    return ("better", "success") if (second < first) == less else ("worse", "warning")


def _amount(text: str) -> float | None:
    found = _NUMBER.search(text)
    if found is None:
        return None
    amount = float(re.sub(r"[  ,]", "", found.group(1)))
    scale = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "k": 1000.0}.get(text[found.end() : found.end() + 1], 1.0)
    # `4m12s` and the like: the seconds after it do not change which of two is larger by much, but may decide a tie.
    rest = _NUMBER.search(text[found.end() :]) if scale != 1.0 else None
    return amount * scale + (float(re.sub(r"[  ,]", "", rest.group(1))) if rest else 0.0)


def impact_line(proposal: ProposalDocument, width: int) -> Line:
    """The strongest measures on one line."""
    rows = impact_rows(proposal)
    if not rows:
        return [Span(NOT_COMPUTED, "dim")]
    spans: Line = []
    used = 0
    for measure, before, after in rows:
        _, look = judged(measure, before, after)
        piece = line(
            (f"{measure} ", "dim"), before, (f" {glyphs.ARROW} ", "dim"), (after, f"{look} bold".strip()), "   "
        )
        size = sum(cells(span.text) for span in piece)
        if spans and used + size > width:
            break
        spans += piece
        used += size
    return spans


def head(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    """Three lines that stay visible whatever the size: what, risk and expiry and what happens then, impact."""
    title = line((clip(plain(proposal.title), width), "bold"))
    return [title, _risk_line(view, proposal, width), impact_line(proposal, width)]


def _risk_line(view: View, proposal: ProposalDocument, width: int) -> Line:
    sign, look = glyphs.RISKS[proposal.risk]
    dot = (f"  {glyphs.DOT}  " if width >= 68 else f" {glyphs.DOT} ", "dim")
    risk = line((f"{sign} ", look), (f"{proposal.risk} risk", f"{look} bold"))
    undoable = line(("reversible", "dim") if proposal.reversible else ("can't be undone", "error"))
    if proposal.state == "open":
        left = proposal.expires_at - view.now
        then = (plain(proposal.on_expiry).split(";")[0] or "nothing happens", "bold")
        expiry = line(("expires ", "dim"), (words.countdown(left), f"{urgency(left)} bold"), (" then ", "dim"), then)
        return [*risk, Span(*dot), *expiry, Span(*dot), *undoable]
    mark, mark_look = settled_sign(proposal.state)
    ended = line((f"{mark} {proposal.state}", f"{mark_look} bold"))
    if proposal.answer is not None:
        answer = proposal.answer
        reason = f" “{plain(answer.reason)}”" if answer.reason else ""
        who, when = f"{glyphs.HUMAN} {plain(answer.by)}", f" {view.moment(answer.at)}"
        verb = _ANSWERED[answer.kind]
        # What a person said and what became of it may differ: an approved action is judged again before it acts.
        said = " by " if verb == proposal.state else f"  {glyphs.DOT}  {verb} by "
        ended += line((said, "dim"), (who, "human"), (when, "dim"), reason)
    return [*ended, Span(*dot), *risk]


def body(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    """Everything else, in the order in which an approver needs it."""
    if width >= TWO_COLUMNS:
        left_width = width // 2 - 1
        left = [*_why(proposal, left_width), *_change(proposal, left_width), *_rest(view, proposal, left_width)]
        right_width = width - left_width - 3
        right = [*_forecast(view, proposal, right_width), *_impact(proposal, right_width)]
        return beside(left, right, left_width, 3)
    return [
        *_why(proposal, width),
        *_forecast(view, proposal, width),
        *_impact(proposal, width),
        *_change(proposal, width),
        *_rest(view, proposal, width),
    ]


def _section(title: str, note: str = "") -> list[Line]:
    return [[], line((title, "dim bold"), (f"  {note}" if note else "", "dim"))]


def _why(proposal: ProposalDocument, width: int) -> list[Line]:
    said = [
        [],
        line(("Why", "dim bold"), ("  in the words of ", "dim"), (f"{glyphs.AGENT} {plain(proposal.brain)}", "agent")),
    ]
    prose = wrap(proposal.reason or "it gave no reason", width)
    lines = said + [line(row) for row in prose]
    for item in proposal.evidence:
        lines += [line((row, "dim")) for row in wrap(f"{glyphs.DOT} {item}", width, indent=2, hanging=2)]
    return lines


def _forecast(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    """So far from the history of observations; no action and approved only where the twin computed them."""
    kind, _, name = proposal.target.partition(":")
    history = view.snapshot.history
    past: list[float | None] = list(history.pool_wait_s_p95.get(name, [])) if kind == "pool" else []
    if len([value for value in past if value is not None]) < 2:
        kind, past = "", list(history.wait_s_p95)
    forecast: dict[str, Any] = (proposal.impact or {}).get("forecast") or {}
    idle, approved = forecast.get("no_action") or [], forecast.get("approved") or []
    if len([value for value in past if value is not None]) < 2 and not idle:
        return []
    pool = view.pool(name) if kind == "pool" else None
    title = f"Queue wait p95 of {name}" if kind == "pool" else "Queue wait p95"
    legend = line((title, "dim bold"), "  ", (glyphs.BAR, "dim"), (" so far", "dim"))
    ahead = len(idle) or len(approved)
    past_s = history.at[-1] - history.at[0] if len(history.at) > 1 else 0.0
    horizon_s = float(forecast.get("horizon_s") or past_s)
    # True to time, but neither side is squeezed away.
    split = min(0.7, max(0.3, past_s / ((past_s + horizon_s) or 1.0))) if ahead else 1.0
    series = [Series(past, "dim", 0.0, split)]
    if ahead:
        legend += line(
            "  ", (glyphs.BAR, "error"), (" no action", "dim"), "  ", (glyphs.BAR, "success"), (" approved", "dim")
        )
        series += [Series(idle, "error", split, 1.0), Series(approved, "success", split, 1.0)]
    axes = Axes(
        words.duration,
        (f"-{short(past_s)}", f"+{short(horizon_s)}" if ahead else "now"),
        goal=pool.target_wait_s if pool else None,
        now=split if ahead else None,
    )
    if width_of(legend) > width:
        return [[], legend[:1], legend[2:], *plot(series, axes, width, PLOT_ROWS)]
    return [[], legend, *plot(series, axes, width, PLOT_ROWS)]


def _impact(proposal: ProposalDocument, width: int) -> list[Line]:
    rows = impact_rows(proposal)
    if not rows:
        return [*_section("Impact"), line(("  not computed yet", "dim"))]
    first = max(cells(before) for _, before, _ in rows)
    second = max(cells(after) for _, _, after in rows)
    signs = width < 50  # no room for words
    room = width - first - second - (9 if signs else 15)
    name = max(8, min(room, max(cells(measure) for measure, _, _ in rows)))
    lines = _section("Impact", "as the twin predicts")
    for measure, before, after in rows:
        word, look = judged(measure, before, after)
        lines.append(
            line(
                "  ",
                (fit(measure, name), "dim"),
                "  ",
                fit(before, first, right=True),
                (f" {glyphs.ARROW} ", "dim"),
                (fit(after, second), f"{look} bold".strip()),
                (f"  {_SIGNS[word] if signs else word}", look),
            )
        )
    return lines


def _change(proposal: ProposalDocument, width: int) -> list[Line]:
    if not proposal.before and not proposal.after:
        return []
    lines = _section("Change")
    before, after = plain(proposal.before) or words.UNKNOWN, plain(proposal.after) or words.UNKNOWN
    room = max(8, width - cells(before) - cells(after) - 9)
    target = fit(proposal.target, min(room, max(20, cells(proposal.target))))
    lines.append(
        line("  ", (target, "dim"), "  ", (before, "error"), (f" {glyphs.ARROW} ", "dim"), (after, "success bold"))
    )
    if proposal.answer is not None and proposal.answer.previous is not None:
        lines.append(line(("  edited by a person before it was approved", "human")))
    if proposal.changed:
        times = words.plural(proposal.changed, "time")
        lines.append(line((f"  the world moved under it {times}; it was judged again each time", "warning")))
    return lines


def note_line(note: NoteDocument, width: int) -> list[Line]:
    """One rule's note; the one that asks or denies stands out."""
    sign, look = {
        "allow": (glyphs.DONE, "success"),
        "ask": (glyphs.ASK, "guard"),
        "deny": (glyphs.HELD, "guard"),
    }.get(note.ruling, (glyphs.HOLD, "dim"))
    rows = wrap(note.text, max(10, width - 10))
    strong = "" if note.ruling == "allow" else "guard bold"
    first = line("  ", (f"{sign} ", look), (fit(note.rule, 5), strong or "dim"), " ", (rows[0], strong))
    return [first, *(line(" " * 10, (row, strong)) for row in rows[1:])]


def _rest(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    lines: list[Line] = []
    if proposal.notes:
        lines += _section("Guardrails", f"rules version {proposal.rules_version}")
        # The decisive notes come last, where the eye stops.
        for note in sorted(proposal.notes, key=lambda note: ("allow", "ask", "deny").index(note.ruling)):
            lines += note_line(note, width)
    if proposal.alternatives:
        lines += _section("Alternatives weighed")
        for text in proposal.alternatives:
            lines += [line(row) for row in wrap(text, width, indent=2, hanging=2)]
    if proposal.affected_jobs:
        lines += _section("Jobs affected")
        names = {job.id: job.name for job in view.snapshot.recent_jobs}
        for job in proposal.affected_jobs[:JOBS_SHOWN]:
            click = f"app.open_job('{job}')"
            lines.append([Span("  "), Span(job, "primary", click), Span(f" {plain(names.get(job, ''))}", "dim")])
        hidden = len(proposal.affected_jobs) - JOBS_SHOWN
        if hidden > 0:
            lines.append(line((f"  {words.count(hidden)} more of {words.count(len(proposal.affected_jobs))}", "dim")))
    if proposal.outcome:
        lines += _section("Outcome")
        lines += [line(row) for row in wrap(proposal.outcome, width, indent=2)]
    if proposal.command and proposal.state == "open":
        lines += _section("The same on the command line", "y copies it")
        lines += [line((row, "primary")) for row in wrap(proposal.command, width, indent=2, hanging=4)]
    return lines
