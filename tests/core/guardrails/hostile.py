"""A brain that wants anything: wild numbers, unknown targets, repeats, broken shapes, at times the plausible."""

from __future__ import annotations

import random
from typing import Any

from agentorch.model.proposals import Alert, Cordon, Draft, Reroute, Reschedule, Scale
from tests.core.guardrails.supervised import Supervised

WILD: list[Any] = [0, -1, 1, 2, 3, 10**6, 2**63, -(2**70), 1.5, float("nan"), float("inf"), "7", None, True, [], {}]
NAMES: list[Any] = ["", "nobody", "cpu\x1b[31m", "\ud800", "x" * 5000, "../../etc", None, 5, ["cpu"], "ledger", "mode"]
CHANGES = ["priority", "start_at", "pause", "resume", "preempt", "requeue"]


class Hostile:
    def __init__(self, world: Supervised, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.said: list[Any] = [None]

    def drafts(self, count: int) -> tuple[Draft, ...]:
        return tuple(Draft(action=self.action(), reason=self.name(["because"])) for _ in range(count))

    def action(self) -> Any:
        rng = self.rng
        kind = rng.randrange(10)
        if kind == 0:
            return self.nonsense()
        if kind == 1:
            return rng.choice(self.said)
        action = self.sensible() if kind < 7 else self.wild()
        self.said = [*self.said[-50:], action]
        return action

    def name(self, real: list[str]) -> Any:
        return self.rng.choice(real) if real and self.rng.random() < 0.8 else self.rng.choice(NAMES)

    def sensible(self) -> dict[str, Any]:
        """In shape, about things that exist, and near what might be allowed."""
        rng, facts = self.rng, self.world.facts
        pool = rng.choice(list(facts.pools))
        job = rng.choice(list(facts.jobs) or [""])
        running = rng.choice(list(facts.running) or [job])
        worker = rng.choice(list(facts.workers) or [""])
        target = facts.pools[pool].target
        return rng.choice(
            [
                {"kind": "scale", "pool": pool, "workers": max(0, target + rng.choice([-1, -1, -2, 1, 2]))},
                {"kind": "scale", "pool": pool, "workers": max(0, target - 1)},
                {"kind": "reschedule", "job": job, "change": "priority", "priority": rng.randint(0, 100)},
                {"kind": "reschedule", "job": job, "change": rng.choice(["pause", "resume"])},
                {"kind": "reschedule", "job": running, "change": rng.choice(["preempt", "requeue"])},
                {"kind": "reschedule", "job": job, "change": "start_at", "start_ms": self.world.now_ms + 60_000},
                {"kind": "reroute", "pool": pool, "job": job},
                {"kind": "reroute", "pool": pool, "from_pool": rng.choice(list(facts.pools)), "at_most": 1},
                {"kind": rng.choice(["cordon", "uncordon"]), "worker": worker},
                {"kind": "alert", "text": "again"},
            ]
        )

    def wild(self) -> dict[str, Any]:
        rng, facts = self.rng, self.world.facts
        value = rng.choice(WILD) if rng.random() < 0.5 else rng.randint(-100, 10_000)
        job, pool = self.name(list(facts.jobs)), self.name(list(facts.pools))
        return rng.choice(
            [
                {"kind": "scale", "pool": pool, "workers": value},
                {"kind": "reschedule", "job": job, "change": rng.choice([*CHANGES, "explode"]), "priority": value},
                {"kind": "reschedule", "job": job, "change": "start_at", "start_ms": value},
                {"kind": "reroute", "pool": pool, "tenant": self.name(["t"]), "at_most": value},
                {"kind": "cordon", "worker": self.name(list(facts.workers))},
                {"kind": "alert", "text": rng.choice([*NAMES, *[None] * 20])},
            ]
        )

    def nonsense(self) -> Any:
        deep: list[Any] = []
        for _ in range(200):
            deep = [deep]
        return self.rng.choice(
            [
                *WILD,
                "scale cpu to 100",
                {"kind": "set_mode", "mode": "guarded"},
                {"kind": "approve", "proposal": "p-000001"},
                {"kind": "scale", "pool": "cpu", "workers": 3, "force": True},
                {"pool": "cpu", "workers": 3},
                {1: 2},
                {"kind": "alert", "text": "x" * 100_000},
                deep,
                object(),
                b"bytes",
                Scale(pool=5, workers="all"),  # type: ignore[arg-type]
                Cordon(worker=None),  # type: ignore[arg-type]
                Reroute(pool="cpu", at_most=float("nan")),  # type: ignore[arg-type]
                Reschedule(job="job-000001", change="explode"),  # type: ignore[arg-type]
                Alert(text="\ud800"),
            ]
        )
