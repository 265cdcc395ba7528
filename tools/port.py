"""All that a supervisor can do to the world. There is deliberately no way here to approve, to change the mode, a
guardrail, a key, a budget or the ledger (G16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Proposal, Verdict
from agentorch.model.twin import Outlook


class ControlPort(Protocol):
    async def observe(self) -> Observation:
        """Begin a cycle: a numbered snapshot, recorded in the ledger before it is returned."""

    async def preview(self, drafts: tuple[Draft, ...], brain: str = "") -> list[Verdict]:
        """What guardrails would say of these drafts of that brain together, now. Records nothing."""

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        """What the twin foresees of each draft, against doing nothing, from now on. Records nothing."""

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        """Hand in a cycle's report; each draft is judged and recorded, as denied, observed, allowed or open."""

    async def carry_out(self, proposal: str) -> Proposal:
        """Ask that an allowed or approved proposal be carried out. Judged again; done at most once, ever."""

    async def proposal(self, proposal: str) -> Proposal | None:
        """One proposal as the ledger has it now."""

    async def unsettled(self) -> list[Proposal]:
        """Every proposal that is allowed, open, approved or acting, oldest first."""

    def settled(self) -> AsyncIterator[Proposal]:
        """Proposals that got an answer, expired, lapsed or were superseded, from now on, as each becomes durable."""

    async def alert(self, code: str, text: str) -> None:
        """Record an alert for people."""
