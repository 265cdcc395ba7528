"""The control port: all that a supervisor can do, fulfilled by the runtime."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

from agentorch.core.guardrails import preview
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Proposal, ProposalState, Verdict
from agentorch.model.twin import Outlook
from agentorch.runtime.foresight import Foresight
from agentorch.runtime.runtime import Runtime

SETTLING = (
    ev.ApprovalAnswered,
    ev.ApprovalExpired,
    ev.ProposalLapsed,
    ev.ProposalSuperseded,
    ev.ActionRefused,
    ev.ActionEnded,
)


class RuntimePort:
    """Fulfils `agentorch.tools.port.ControlPort` over a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._foresight = Foresight(runtime.loop)

    async def observe(self) -> Observation:
        observation = await self._runtime.ask(cmd.Observe(devices=self._runtime.devices()))
        assert isinstance(observation, Observation)
        return observation

    async def preview(self, drafts: tuple[Draft, ...], brain: str = "") -> list[Verdict]:
        return preview(self._runtime.loop.state, drafts, self._runtime.now_ms(), brain)

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        return await self._foresight.foresee(drafts)

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        impacts = await self._foresight.impacts(report)
        proposals = await self._runtime.ask(cmd.HandIn(cycle=cycle, report=report, impacts=impacts))
        await self._foresight.renew()
        return [copy.copy(proposal) for proposal in proposals]

    async def carry_out(self, proposal: str) -> Proposal:
        done = await self._runtime.ask(cmd.CarryOut(proposal=proposal))
        assert isinstance(done, Proposal)
        return copy.copy(done)

    async def proposal(self, proposal: str) -> Proposal | None:
        found = (await self._runtime.view()).facts.proposals.get(proposal)
        return copy.copy(found) if found is not None else None

    async def unsettled(self) -> list[Proposal]:
        facts = (await self._runtime.view()).facts
        return [copy.copy(facts.proposals[name]) for name in facts.unsettled]

    async def settled(self) -> AsyncIterator[Proposal]:
        async for batch in self._runtime.follow(self._runtime.last_seq):
            for _, event in batch:
                if not isinstance(event, SETTLING):
                    continue
                found = self._runtime.loop.state.facts.proposals.get(event.proposal)
                if found is not None and found.state is not ProposalState.open:
                    yield copy.copy(found)

    async def alert(self, code: str, text: str) -> None:
        await self._runtime.ask(cmd.RaiseAlert(code=code, text=text, by="supervisor"))
