"""`agentorch approve`, `reject` and `edit`: a person's answers."""

from __future__ import annotations

from typing import Any

from agentorch.cli.approvals import card, print_proposals
from agentorch.cli.common import Common, call, pairs
from agentorch.cli.exits import exit_code_of, exit_code_of_proposal
from agentorch.cli.output import Printer, note
from agentorch.client import Client
from agentorch.errors import ConfigError, ServerRefused


def approve(
    proposal: str,
    /,
    *more: str,
    reason: str = "",
    hash: str = "",
    common: Common | None = None,
) -> int:
    """Approve proposals. Each is judged again when it is carried out; exit code 7 when it expired or changed.

    Parameters
    ----------
    reason
        Why, for the record.
    hash
        The version that was looked at; default: the one that is shown now.
    """
    return _answer_all("approve", (proposal, *more), reason, hash, {}, common)


def reject(
    proposal: str,
    /,
    *more: str,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Reject proposals. Nothing happens, and a person's no is recorded.

    Parameters
    ----------
    reason
        Why, for the record.
    """
    return _answer_all("reject", (proposal, *more), reason, "", {}, common)


def edit(
    proposal: str,
    /,
    *changes: str,
    reason: str = "",
    hash: str = "",
    common: Common | None = None,
) -> int:
    """Approve a proposal with its action narrowed: agentorch edit prop-000012 workers=3.

    Parameters
    ----------
    changes
        FIELD=VALUE of the action.
    reason
        Why, for the record.
    hash
        The version that was looked at; default: the one that is shown now.
    """
    if not changes:
        raise ConfigError("what should change? agentorch edit ID FIELD=VALUE")
    edits = {
        name: int(text) if text.lstrip("-").isdecimal() else text for name, text in pairs(list(changes), "").items()
    }
    return _answer_all("edit", (proposal,), reason, hash, edits, common)


def _answer_all(
    answer: str, proposals: tuple[str, ...], reason: str, seen: str, edits: dict[str, Any], common: Common | None
) -> int:
    """Each by itself: one that is refused undoes no other. The exit code is the worst."""

    async def work(client: Client, out: Printer) -> int:
        worst, answered = 0, []
        for name in proposals:
            try:
                shown = await client.approval(name)
                card(shown)
                found = await client.answer(
                    name, answer, edits=edits, reason=reason, proposal_hash=seen or shown.proposal_hash
                )
            except ServerRefused as refused:
                note(f"agentorch: {name}: {refused}")
                worst = max(worst, exit_code_of(refused))
                continue
            answered.append(found)
            if answer != "reject":
                worst = max(worst, exit_code_of_proposal(found.state))
        if answered or out.form != "table":
            print_proposals(out, answered)
        return worst

    return call(common, work)
