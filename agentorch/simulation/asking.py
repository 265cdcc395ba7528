"""Asking a brain with effects off: what it would want, within its time, and whatever it does."""

from __future__ import annotations

import asyncio

from agentorch.core.guardrails import preview
from agentorch.core.state import State
from agentorch.errors import BrainError, Refused
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.limits import BRAIN_FORESIGHTS_PER_CYCLE, BRAIN_PREVIEWS_PER_CYCLE
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Mode, Verdict
from agentorch.model.twin import Outlook
from agentorch.simulation.supervised import Foresee
from agentorch.tools.reports import checked_report
from agentorch.tools.text import describe


class Bounded:
    """A brain that answers in time or not at all. Fulfils `model.brain.Brain`."""

    def __init__(self, brain: Brain, timeout_s: float) -> None:
        self.id = brain.id
        self.brain = brain
        self.timeout_s = timeout_s

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        """Raises BrainError when its time is over, and whatever the brain raises."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.brain.decide(observation, context)
        except TimeoutError as error:
            raise BrainError(f"brain {self.id} did not answer within {self.timeout_s:g} s") from error


class Recorded:
    """Says in each cycle what was said then. Fulfils `model.brain.Brain`; it needs no model, and learns nothing."""

    id = "recorded"

    def __init__(self, reports: dict[int, BrainReport]) -> None:
        self.reports = reports

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        found = self.reports.get(observation.cycle)
        if found is None:
            return BrainReport(brain=self.id, hold="nothing was decided then")
        return BrainReport(brain=self.id, drafts=found.drafts, hold=found.hold, error=found.error)


async def ask(brain: Brain, observation: Observation, state: State, now_ms: int, foresee: Foresee) -> BrainReport:
    """What it wants in this state, or what went wrong. Changes nothing. Never raises because of a brain."""
    if observation.mode is Mode.paused:
        return BrainReport(brain=brain.id, hold="paused: no brain was asked")
    timeout_s = brain.timeout_s if isinstance(brain, Bounded) else 0.0
    context = reading(brain.id, state, now_ms, foresee, timeout_s)
    try:
        return checked_report(await brain.decide(observation, context), brain.id)
    except Exception as error:  # noqa: BLE001 - whatever a brain raises is a held cycle
        return BrainReport(brain=brain.id, error=describe(error))


def reading(brain: str, state: State, now_ms: int, foresee: Foresee, timeout_s: float) -> BrainContext:
    """What a brain may read while it decides, in the measure that a server allows."""
    left = {"previews": BRAIN_PREVIEWS_PER_CYCLE, "questions to the twin": BRAIN_FORESIGHTS_PER_CYCLE}

    def spend(what: str) -> None:
        left[what] -= 1
        if left[what] < 0:
            raise Refused("overloaded", f"no more {what} in this cycle")

    async def previewed(drafts: tuple[Draft, ...]) -> list[Verdict]:
        spend("previews")
        return preview(state, drafts, now_ms, brain)

    async def foreseen(drafts: tuple[Draft, ...]) -> Outlook:
        spend("questions to the twin")
        return foresee(state, drafts, now_ms)

    return BrainContext(preview=previewed, foresee=foreseen, timeout_s=timeout_s)
