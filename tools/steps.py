"""The supervisor's own steps over the control port. Graphs act through these and nothing else.

What a model may call is in `catalogue`: none of these is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from agentorch.model.limits import (
    BRAIN_PREVIEWS_PER_CYCLE,
    CARRY_OUT_TIMEOUT_MS,
    NAME_MAX_CHARS,
    PROPOSALS_PER_CYCLE,
    REASON_MAX_CHARS,
    SECOND_MS,
    TWIN_CANDIDATES_MAX,
)
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Proposal, Verdict
from agentorch.model.twin import Outlook
from agentorch.tools.port import ControlPort
from agentorch.tools.reports import checked_drafts
from agentorch.tools.text import clean_text


class Steps:
    """Typed steps bound to one port; what goes in is checked, what comes out is the port's own."""

    def __init__(self, port: ControlPort) -> None:
        self._port = port

    # -- reading

    async def observe(self) -> Observation:
        """Begin a cycle; its observation is in the ledger before it is returned."""
        return await self._port.observe()

    async def preview(self, drafts: Sequence[Draft], brain: str = "") -> list[Verdict]:
        """What guardrails would say of these drafts of that brain together, now. Raises BrainError for drafts that
        aren't JSON."""
        return await self._port.preview(checked_drafts(tuple(drafts), BRAIN_PREVIEWS_PER_CYCLE), brain)

    async def foresee(self, drafts: Sequence[Draft]) -> Outlook:
        """What the twin foresees of each draft. Raises BrainError for drafts that aren't JSON, Refused."""
        return await self._port.foresee(checked_drafts(tuple(drafts), TWIN_CANDIDATES_MAX))

    async def proposal(self, proposal: str) -> Proposal | None:
        """One proposal as the ledger has it now."""
        return await self._port.proposal(proposal)

    async def unsettled(self) -> list[Proposal]:
        """Every proposal that is allowed, open, approved or acting, oldest first."""
        return await self._port.unsettled()

    def settled(self) -> AsyncIterator[Proposal]:
        """Proposals as they get an answer, expire, lapse or are superseded; ends when the port closes."""
        return self._port.settled()

    # -- proposing

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        """Hand in a cycle's checked report; each draft is judged and recorded."""
        if len(report.drafts) > PROPOSALS_PER_CYCLE:
            raise ValueError(
                f"an unchecked report of {len(report.drafts)} drafts; pass it through checked_report first"
            )
        return await self._port.hand_in(cycle, report)

    async def carry_out(self, proposal: str) -> Proposal:
        """Ask that an allowed or approved proposal be carried out: judged again, done at most once, ever.

        Raises TimeoutError after CARRY_OUT_TIMEOUT_MS; asking again later is safe.
        """
        async with asyncio.timeout(CARRY_OUT_TIMEOUT_MS / SECOND_MS):
            return await self._port.carry_out(proposal)

    async def alert(self, code: str, text: str) -> None:
        """Record an alert for people."""
        await self._port.alert(clean_text(code, NAME_MAX_CHARS), clean_text(text, REASON_MAX_CHARS))
