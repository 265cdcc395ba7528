"""How an answer is given: friction follows risk.

Low and medium: one key, and a few seconds in which it can be undone before it is sent. High: a dialog that repeats the
impact, with Cancel preselected. Every answer carries the hash of the version that was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentorch.tui import glyphs
from agentorch.tui.dialogs.dialog import Choice, Option, Prompt
from agentorch.tui.dialogs.edit import EditForm
from agentorch.tui.screens.impact import impact_line
from agentorch.tui.spans import Line, clip, line, plain
from agentorch.tui.stage import Stage

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument

CANCEL = Option("cancel", "Cancel", "dim")
REASON_MAX_CHARS = 2_000


def approve(app: Stage, proposal: ProposalDocument, edits: dict[str, int | str] | None = None) -> None:
    """Ask again where the risk is high, else hold it for its grace."""
    if proposal.risk != "high":
        app.hold_answer(proposal, edits)
        return

    def answered(option: str | None) -> None:
        if option == "approve":
            send(app, proposal, "approve" if not edits else "edit", edits=edits)

    options = (CANCEL, Option("approve", "Approve", "error"))
    app.push_screen(Choice(lambda width: _question(proposal, edits, width), options), answered)


def _question(proposal: ProposalDocument, edits: dict[str, int | str] | None, width: int) -> list[Line]:
    sign, look = glyphs.RISKS[proposal.risk]
    lines = [
        line(("Approve ", "bold"), (clip(plain(proposal.title), width - 8), "bold"), "?"),
        [],
        line(
            (f"{sign} {proposal.risk} risk", f"{look} bold"),
            ("  " + ("reversible" if proposal.reversible else "can't be undone"), "dim"),
        ),
        impact_line(proposal.impact, width),
    ]
    if edits:
        lines.append(line(("edited: ", "human"), ", ".join(f"{name} = {value}" for name, value in edits.items())))
    return lines


def edit(app: Stage, proposal: ProposalDocument) -> None:
    if not proposal.edit_fields:
        app.say(f"{proposal.id} has nothing that an edit could narrow: approve or reject it")
        return

    def edited(edits: dict[str, int | str] | None) -> None:
        if edits is not None:
            approve(app, proposal, edits or None)

    app.push_screen(EditForm(proposal), edited)


def reject(app: Stage, proposal: ProposalDocument) -> None:
    def reasoned(reason: str | None) -> None:
        if reason is not None:
            send(app, proposal, "reject", reason=reason.strip())

    def check(text: str) -> str:
        return "" if len(text) <= REASON_MAX_CHARS else f"at most {REASON_MAX_CHARS} characters"

    title = line(("Reject ", "error bold"), (plain(proposal.title), "bold"))
    prompt = Prompt(
        title,
        placeholder="reason",
        note="kept in the decision log, and shown to the agent; it may be empty",
        confirm="reject",
        look="error",
        check=check,
    )
    app.push_screen(prompt, reasoned)


def approve_all(app: Stage, proposals: list[ProposalDocument], clear: Callable[[], None]) -> None:
    """One dialog for all that are marked. Each is answered by itself: one that is refused undoes no other."""

    def question(width: int) -> list[Line]:
        lines = [line((f"Approve {len(proposals)}?", "bold")), []]
        for proposal in proposals[:12]:
            sign, look = glyphs.RISKS[proposal.risk]
            lines.append(line((f"{sign} ", look), clip(plain(proposal.title), width - 2)))
            lines.append(line("  ", *impact_line(proposal.impact, width - 2)))
        if len(proposals) > 12:
            lines.append(line((f"{len(proposals) - 12} more", "dim")))
        return lines

    def answered(option: str | None) -> None:
        if option != "approve":
            return
        clear()
        answers: list[dict[str, Any]] = [
            {"id": proposal.id, "answer": "approve", "proposal_hash": proposal.proposal_hash} for proposal in proposals
        ]
        count = len(answers)
        app.send(f"approving {count}", answered_of, lambda: app.feed.api.answer_batch(answers))

    options = (CANCEL, Option("approve", f"Approve {len(proposals)}", "success"))
    app.push_screen(Choice(question, options), answered)


def answered_of(results: list[dict[str, Any]]) -> str:
    """How a batch went, item by item: `status` is that of HTTP, `problem` says why one was refused."""
    refused = [one for one in results if one["status"] >= 400]
    if not refused:
        return f"{len(results)} approved"
    why = (refused[0].get("problem") or {}).get("detail", "refused")
    return f"{len(results) - len(refused)} approved, {len(refused)} refused: {refused[0]['id']}: {why}"


_DOING = {
    "approve": ("approving", "approved"),
    "edit": ("approving as edited", "approved as edited"),
    "reject": ("rejecting", "rejected"),
}


def send(
    app: Stage,
    proposal: ProposalDocument,
    answer: str,
    *,
    edits: dict[str, int | str] | None = None,
    reason: str = "",
) -> None:
    doing, done = _DOING[answer]
    app.send(
        f"{doing} {proposal.id}",
        f"{done}: {plain(proposal.title)}",
        lambda: app.feed.api.answer(
            proposal.id, answer, edits=edits, reason=reason, proposal_hash=proposal.proposal_hash
        ),
    )
