"""The card of one proposal: evidence first, the brain's words marked as such, and nothing that was not computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.frame import urgency
from agentorch.tui.screens.forecast import forecast_plot
from agentorch.tui.screens.impact import impact_line, impact_table, score_table
from agentorch.tui.spans import Line, Span, beside, cells, clip, fit, line, plain, wrap
from agentorch.tui.view import View

if TYPE_CHECKING:
    from agentorch.schemas.supervision import NoteDocument, ProposalDocument

TWO_COLUMNS = 84  # cells of the card from which the plot stands beside the text
JOBS_SHOWN = 6
_ANSWERED = {"approve": "approved", "edit": "edited and approved", "reject": "rejected"}
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


def head(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    """Three lines that stay visible whatever the size: what, risk and expiry and what happens then, impact."""
    title = line((clip(plain(proposal.title), width), "bold"))
    return [title, _risk_line(view, proposal, width), impact_line(proposal.impact, width)]


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
        left_width = width * 9 // 20
        left = [*_why(proposal, left_width), *_change(proposal, left_width), *_rest(view, proposal, left_width)]
        right_width = width - left_width - 3
        right = [*_foreseen(view, proposal, right_width)]
        return beside(left, right, left_width, 3)
    return [
        *_why(proposal, width),
        *_foreseen(view, proposal, width),
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


def _foreseen(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    return [
        *forecast_plot(view, proposal.impact, proposal.target, width),
        *impact_table(proposal.impact, width),
        *score_table(view, proposal.score, width),
    ]


def change_lines(target: str, before: str, after: str, width: int) -> list[Line]:
    if not before and not after:
        return []
    before, after = plain(before) or words.UNKNOWN, plain(after) or words.UNKNOWN
    room = max(8, width - cells(before) - cells(after) - 9)
    name = fit(target, min(room, max(20, cells(target))))
    row = line("  ", (name, "dim"), "  ", (before, "error"), (f" {glyphs.ARROW} ", "dim"), (after, "success bold"))
    return [*_section("Change"), row]


def _change(proposal: ProposalDocument, width: int) -> list[Line]:
    lines = change_lines(proposal.target, proposal.before, proposal.after, width)
    if not lines:
        return []
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
    room = max(5, cells(note.rule))  # most rules have a number, some a name
    rows = wrap(note.text, max(10, width - room - 5))
    strong = "" if note.ruling == "allow" else "guard bold"
    first = line("  ", (f"{sign} ", look), (fit(note.rule, room), strong or "dim"), " ", (rows[0], strong))
    return [first, *(line(" " * (room + 5), (row, strong)) for row in rows[1:])]


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
