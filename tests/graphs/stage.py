"""What the graphs are played on: a control port, the people beside it, and a way to look at the world.

Each test runs on every stage in `STAGES`. A stage with another port behind it must only keep this protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agentorch.model.proposals import AnswerKind, BrainReport, Draft, Mode, Proposal, ProposalState
from agentorch.tools.port import ControlPort
from tests.graphs.port import MemoryPort


class Stage(Protocol):
    @property
    def port(self) -> ControlPort: ...

    def allowed(self, number: int = 0) -> Draft:
        """A draft that guardrails allow; each number has a target of its own."""

    def asked(self, number: int = 0) -> Draft: ...

    def denied(self, number: int = 0) -> Draft: ...

    async def answer(self, proposal: str, kind: AnswerKind) -> Proposal:
        """A person's answer. Raises Refused when somebody answered first."""

    async def expire(self, proposal: str) -> None:
        """Let its time run out."""

    async def set_mode(self, mode: Mode) -> None: ...

    def state(self, proposal: str) -> ProposalState: ...

    def effects(self, proposal: str) -> int:
        """How often the world was changed by it."""

    def reports(self) -> list[BrainReport]:
        """Every report that was handed in, oldest first."""

    def alerts(self) -> list[tuple[str, str]]:
        """(code, text), oldest first."""

    def stop(self) -> None:
        """The port accepts nothing any more."""


class MemoryStage:
    def __init__(self, folder: Path) -> None:
        self.port = MemoryPort(folder / "port.json")

    def allowed(self, number: int = 0) -> Draft:
        return _draft(f"gpu-{number}")

    def asked(self, number: int = 0) -> Draft:
        return _draft(f"ask-{number}")

    def denied(self, number: int = 0) -> Draft:
        return _draft(f"deny-{number}")

    async def answer(self, proposal: str, kind: AnswerKind) -> Proposal:
        return await self.port.answer(proposal, kind)

    async def expire(self, proposal: str) -> None:
        await self.port.expire(proposal)

    async def set_mode(self, mode: Mode) -> None:
        await self.port.set_mode(mode)

    def state(self, proposal: str) -> ProposalState:
        return self.port.record.proposals[proposal].state

    def effects(self, proposal: str) -> int:
        return self.port.record.effects.count(proposal)

    def reports(self) -> list[BrainReport]:
        return list(self.port.record.reports)

    def alerts(self) -> list[tuple[str, str]]:
        return list(self.port.record.alerts)

    def stop(self) -> None:
        self.port.stop()


def _draft(pool: str) -> Draft:
    return Draft(action={"kind": "scale", "pool": pool, "workers": 3}, reason="a test wants it")


#: Opening the same folder again is a restart: what was recorded is there, what was in memory is not.
STAGES: dict[str, Callable[[Path], Stage]] = {"memory": MemoryStage}
