"""`agentorch approvals`."""

from __future__ import annotations

import time

from agentorch.cli.common import Common, call
from agentorch.cli.impacts import impact_line
from agentorch.cli.output import Printer, note, safe, span
from agentorch.client import Client
from agentorch.schemas.supervision import ProposalDocument

_NEWS = frozenset(
    {"proposal-judged", "proposal-changed", "approval-answered", "approval-expired", "proposal-superseded"}
)


def approvals(
    *,
    all_states: bool = False,
    watch: bool = False,
    common: Common | None = None,
) -> int:
    """Show what waits for a person's answer, soonest expiry first.

    Parameters
    ----------
    all_states
        Also what was denied, answered, expired or done.
    watch
        Go on, and show each proposal as it comes to wait.
    """

    async def work(client: Client, out: Printer) -> None:
        found = await client.approvals("all" if all_states else "open")
        found = found if all_states else sorted(found, key=lambda one: one.expires_at)
        print_proposals(out, found)
        if watch:
            await _watch(client, out, {one.id: one.proposal_hash for one in found})

    return call(common, work)


async def _watch(client: Client, out: Printer, shown: dict[str, str]) -> None:
    note("watching; each proposal is shown as it comes")
    async for event in client.events(None):
        if event.get("event") not in _NEWS:
            continue
        found = [one for one in await client.approvals() if shown.get(one.id) != one.proposal_hash]
        shown.update({one.id: one.proposal_hash for one in found})
        if found:
            print_proposals(out, found)


def print_proposals(out: Printer, found: list[ProposalDocument]) -> None:
    out.rows(
        found,
        [
            ("id", lambda one: one.id),
            ("state", lambda one: one.state),
            ("risk", lambda one: one.risk),
            ("expires in", lambda one: span(max(0.0, one.expires_at - time.time())) if one.state == "open" else ""),
            ("what", lambda one: one.title),
            ("guardrail", lambda one: f"{one.notes[-1].rule}: {one.notes[-1].text}" if one.notes else ""),
        ],
    )


def card(one: ProposalDocument) -> None:
    """What a person should know before an answer, on stderr."""
    note(f"{one.id}  {safe(one.title)}  (risk {one.risk}, {'reversible' if one.reversible else 'not reversible'})")
    if one.before or one.after:
        note(f"  change  {safe(one.before)} -> {safe(one.after)}")
    note(f"  impact  {safe(impact_line(one.impact))}")
    if one.reason:
        note(f"  {one.brain} says: {safe(one.reason)}")
    for line in one.evidence:
        note(f"  evidence  {safe(line)}")
    for rule in one.notes:
        note(f"  {rule.rule} {rule.ruling}: {safe(rule.text)}")
