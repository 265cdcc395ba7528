"""Brains that say what a test wants, and brains that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft


class Saying:
    """Hands in what it was told, cycle by cycle; holds when it was told nothing more."""

    def __init__(self, *rounds: tuple[Draft, ...], id: str = "saying") -> None:
        self.id = id
        self.rounds = list(rounds)
        self.asked = 0

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        self.asked += 1
        if not self.rounds:
            return BrainReport(brain=self.id, hold="nothing to do")
        return BrainReport(brain=self.id, drafts=self.rounds.pop(0))


class Answering:
    """Answers with anything at all."""

    def __init__(self, answer: Callable[[], object], id: str = "answering") -> None:
        self.id = id
        self._answer = answer

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        return cast(BrainReport, self._answer())


class Raising:
    def __init__(self, error: BaseException, id: str = "raising") -> None:
        self.id = id
        self.error = error
        self.well = False
        self.asked = 0

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        self.asked += 1
        if self.well:
            return BrainReport(brain=self.id, hold="well again")
        raise self.error


class Hanging:
    def __init__(self, id: str = "hanging") -> None:
        self.id = id
        self.cancelled = 0
        self.began = asyncio.Event()

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("unreachable")


class Swallowing:
    """Swallows every cancellation until `release` is set, and then uses what it should not have any more."""

    def __init__(self, id: str = "swallowing") -> None:
        self.id = id
        self.asked = 0
        self.swallowed = 0
        self.release = asyncio.Event()
        self.ended = asyncio.Event()
        self.late: list[str] = []

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        self.asked += 1
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.swallowed += 1
        try:
            await context.preview((Draft(action={}),))
        except Exception as error:  # noqa: BLE001 - the test looks at what it was
            self.late.append(type(error).__name__)
        self.ended.set()
        return BrainReport(brain=self.id, drafts=(Draft(action={"kind": "alert", "text": "too late"}),))


class Previewing:
    """Looks at verdicts first, as often as it likes."""

    def __init__(self, drafts: tuple[Any, ...], times: int, id: str = "previewing") -> None:
        self.id = id
        self._drafts = drafts
        self._times = times
        self.verdicts: list[Any] = []

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        for _ in range(self._times):
            self.verdicts = list(await context.preview(self._drafts))
        return BrainReport(brain=self.id, drafts=self._drafts)
