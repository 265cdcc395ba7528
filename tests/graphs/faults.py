"""A control port with faults in front of any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Proposal, Verdict
from agentorch.model.twin import Outlook
from agentorch.tools.port import ControlPort


class FaultyPort:
    """`faults[method]` is raised by that method, `faults[method, proposal]` for that proposal alone; `gates` hold."""

    def __init__(self, port: ControlPort) -> None:
        self._port = port
        self.faults: dict[object, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.calls: list[str] = []
        self.streams = 0

    async def _pass(self, method: str, proposal: str = "") -> None:
        self.calls.append(f"{method} {proposal}".strip())
        if proposal in self.gates:
            await self.gates[proposal].wait()
        for key in (method, (method, proposal)):
            if key in self.faults:
                raise self.faults[key]

    async def observe(self) -> Observation:
        await self._pass("observe")
        return await self._port.observe()

    async def preview(self, drafts: tuple[Draft, ...], brain: str = "") -> list[Verdict]:
        await self._pass("preview")
        return await self._port.preview(drafts, brain)

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        await self._pass("foresee")
        return await self._port.foresee(drafts)

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        await self._pass("hand_in")
        return await self._port.hand_in(cycle, report)

    async def carry_out(self, proposal: str) -> Proposal:
        await self._pass("carry_out", proposal)
        return await self._port.carry_out(proposal)

    async def proposal(self, proposal: str) -> Proposal | None:
        await self._pass("proposal", proposal)
        return await self._port.proposal(proposal)

    async def unsettled(self) -> list[Proposal]:
        await self._pass("unsettled")
        return await self._port.unsettled()

    async def settled(self) -> AsyncIterator[Proposal]:
        self.streams += 1
        await self._pass("settled")
        async for proposal in self._port.settled():
            await self._pass("stream")
            yield proposal

    async def alert(self, code: str, text: str) -> None:
        await self._pass("alert")
        await self._port.alert(code, text)
