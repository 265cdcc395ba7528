"""`agentorch decisions [CYCLE]`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.impacts import impact_line, score_lines
from agentorch.cli.output import Printer, note, safe, when
from agentorch.client import Client
from agentorch.schemas.supervision import DecisionDocument, ProposalDocument


def decisions(cycle: int | None = None, *, limit: int = 20, common: Common | None = None) -> int:
    """Show what the supervisor decided, newest first; with a CYCLE that one whole.

    Parameters
    ----------
    cycle
        The number of a cycle.
    limit
        Most rows to show.
    """

    async def work(client: Client, out: Printer) -> None:
        if cycle is not None:
            _whole(out, await client.decision(cycle))
            return
        page = await client.decisions(limit=limit)
        out.rows(
            page.items,
            [
                ("cycle", lambda one: one.cycle),
                ("at", lambda one: when(one.at)),
                ("seq", lambda one: one.seq),
                ("brain", lambda one: one.brain),
                ("what", _what),
            ],
        )
        if len(page.items) < page.total:
            note(f"{len(page.items)} of {page.total} decisions; a larger --limit shows more")

    return call(common, work)


def _what(one: DecisionDocument) -> str:
    if one.proposals:
        return "; ".join(f"{proposal.title} ({proposal.state})" for proposal in one.proposals)
    return f"error: {one.error}" if one.error else f"hold: {one.hold}"


def _whole(out: Printer, one: DecisionDocument) -> None:
    if out.form != "table":
        out.one(one, [])
        return
    out.one(
        one,
        [
            ("cycle", one.cycle),
            ("at", when(one.at)),
            ("saw", f"sequence {one.seq}, sha256 {one.observation_sha256}"),
            ("brain", f"{one.brain}, {one.took_s:.3f} s"),
            ("in place of", one.fallback_from),
            ("hold", one.hold),
            ("error", one.error),
        ],
    )
    for proposal in one.proposals:
        _proposal(proposal)


def _proposal(one: ProposalDocument) -> None:
    print(f"{one.id}  {safe(one.title)}  {one.state}")
    for label, text in (("why", one.reason), ("outcome", one.outcome)):
        if text:
            print(f"  {label}: {safe(text)}")
    if one.impact is not None:
        print(f"  impact: {safe(impact_line(one.impact))}")
    for rule in one.notes:
        print(f"  {rule.rule} {rule.ruling}: {safe(rule.text)}")
    if one.answer is not None:
        print(f"  {one.answer.kind} by {one.answer.by} at {when(one.answer.at)}: {safe(one.answer.reason)}")
    for text in score_lines(one.score) if one.score is not None else ():
        print(f"  {safe(text)}")
