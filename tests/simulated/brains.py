"""A brain that nobody should listen to: it grounds its nonsense in what is really there, and fails in every way."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from agentorch.core.policy import RuleBrain
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft
from agentorch.simulation.faults.loop import pass_time


class HoldingBrain:
    """A fallback that does nothing."""

    id = "holding"

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        return BrainReport(brain=self.id, hold="nobody is listened to")


class WildBrain:
    """Draws how it behaves anew each cycle. `calm` makes it hold from then on."""

    id = "wild"

    def __init__(self, chance: random.Random, *, knows_rules: bool) -> None:
        self.chance = chance
        self.calm = False
        self._rules = RuleBrain() if knows_rules else HoldingBrain()

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        if self.calm:
            return BrainReport(brain=self.id, hold="all is well")
        way = self.chance.random()
        if way < 0.04:
            raise RuntimeError("it fell over")
        if way < 0.07:
            await asyncio.Event().wait()
        if way < 0.10:
            return cast(BrainReport, self.chance.choice([None, "yes", 7, {"drafts": 1}, BrainReport(brain="other")]))
        if way < 0.20:
            await pass_time(self.chance.uniform(0, 1.5 * context.timeout_s))
        if way < 0.30:
            return await self._rules.decide(observation, context)
        drafts = tuple(self._draft(observation) for _ in range(self.chance.randint(0, 4)))
        if drafts and self.chance.random() < 0.3:
            await context.preview(drafts)
        return BrainReport(brain=self.id, drafts=drafts, hold="" if drafts else "nothing comes to mind")

    def _draft(self, seen: Observation) -> Draft:
        rng = self.chance
        pools = [one.name for one in seen.pools]
        running, queued = [one.id for one in seen.running], [one.id for one in seen.queued]
        wanted: list[dict[str, Any]] = [
            *(
                {"kind": "scale", "pool": one.name, "workers": one.target + rng.choice([-1, 1, 2])}
                for one in seen.pools
            ),
            {"kind": "scale", "pool": self._any(pools), "workers": rng.randint(-1, 9)},
            *({"kind": "reschedule", "job": self._any(running), "change": how} for how in ("preempt", "requeue")),
            *({"kind": "reschedule", "job": self._any(queued), "change": how} for how in ("pause", "resume")),
            {"kind": "reschedule", "job": self._any(queued), "change": "priority", "priority": rng.randint(-5, 105)},
            {
                "kind": "reschedule",
                "job": self._any(queued),
                "change": "start_at",
                "start_ms": seen.at_ms + rng.randint(0, 100_000),
            },
            {"kind": "reroute", "pool": self._any(pools), "job": self._any(queued)},
            {"kind": "reroute", "pool": self._any(pools), "from_pool": self._any(pools), "at_most": rng.randint(1, 9)},
            *({"kind": kind, "worker": self._any([one.id for one in seen.workers])} for kind in ("cordon", "uncordon")),
            {"kind": "alert", "text": f"look at this, {rng.randint(0, 9)}"},
            {"kind": "format", "disk": "all"},
        ]
        return Draft(action=rng.choice(wanted), reason="it seemed right")

    def _any(self, names: list[str]) -> str:
        return self.chance.choice(names) if names and self.chance.random() < 0.95 else "nothing"
