"""A real runtime on a clock in hand, with a life of its own: jobs come and end, people answer and meddle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agentorch.core.facts import Facts
from agentorch.errors import Refused
from agentorch.executors.fake import Plan
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptSpec
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Constraints, JobSpec, Resources, RetryOn, RetryPolicy, Tier
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import AnswerKind, Mode, Scale
from agentorch.runtime.runtime import Runtime
from tests.runtime.stage import NoTelemetry, Stage

DOLLAR = 1_000_000
GIB = 2**30
QUEUE_MAX = 30
KEPT_PROPOSALS = 100


class Telemetry(NoTelemetry):
    """One CPU, looked at now or a little while ago."""

    def __init__(self, world: World) -> None:
        self._world = world

    def latest(self) -> tuple[DeviceSample, ...]:
        at_ms = self._world.clock.now_ms() - self._world.sample_age_ms
        return (DeviceSample(id="cpu", kind="cpu", utilization_percent=10.0, at_ms=at_ms, node="local"),)


class World(Stage):
    """`step` lets time pass."""

    def __init__(self, seed: int) -> None:
        super().__init__(self.plan)
        self.rng = random.Random(seed)
        self.sample_age_ms = 0
        self.telemetry = Telemetry(self)
        self.steps = 0

    def plan(self, spec: AttemptSpec) -> Plan:
        return Plan(run_ms=self.rng.choice([2_000, 20_000, 60_000, 300_000]), exit_code=self.rng.choice([0, 0, 0, 1]))

    def configure(self, facts: Facts) -> Sequence[cmd.Command]:
        def pool(name: str, workers: int, most: int, cpus: int, **spec: Any) -> cmd.Command:
            shape = Resources(cpu_milli=cpus * 1000, memory_bytes=8 * GIB)
            fields = {"executor": "fake", "workers": workers, "max_workers": most, "shape": shape, **spec}
            return cmd.ConfigurePool(spec=PoolSpec(name=name, **fields))

        return [
            pool("cpu", 3, 12, 2, min_workers=1),
            pool("eu", 2, 6, 2, region="eu", price_usd_micros_per_hour=None),
            pool("paid", 1, 6, 4, price_usd_micros_per_hour=DOLLAR),
            pool("vault", 2, 6, 2, protected=True),
            cmd.ConfigureTenant(spec=TenantSpec(name="t", hard_cap_usd_micros=40 * DOLLAR)),
            cmd.ConfigureTenant(spec=TenantSpec(name="free")),
        ]

    async def step(self, runtime: Runtime) -> None:
        """Jobs come, people answer and meddle, time passes."""
        self.steps += 1
        facts = runtime.loop.state.facts
        # Quiet hours between, so that shrinking comes into question.
        if (self.steps // 60) % 2 == 0 and len(runtime.loop.state.queue) < QUEUE_MAX:
            for _ in range(self.rng.randint(0, 4)):
                await self._submit(runtime)
        await self._operate(runtime, facts)
        await self._meddle(runtime, facts)
        self.sample_age_ms = self.rng.choice([0, 0, 0, 5_000, 14_000, 40_000])
        self.clock.turn(self.rng.choice([1, 5, 10, 45, 90]))
        self.executor.advance()
        await runtime.settled()

    async def _submit(self, runtime: Runtime) -> None:
        rng = self.rng
        places = [Constraints(), Constraints(), Constraints(pools=("cpu",)), Constraints(regions=("eu", "local"))]
        spec = JobSpec(
            command=("true",),
            resources=Resources(cpu_milli=rng.choice([500, 1000, 2000])),
            tier=rng.choice(list(Tier)),
            preemptible=rng.random() < 0.8,
            constraints=rng.choice(places),
            retry=RetryPolicy(on=(RetryOn.interruption,), attempts=3),
        )
        with suppress(Refused):
            await runtime.ask(cmd.SubmitJob(tenant=rng.choice(["t", "free"]), spec=spec, by="key"))

    async def _operate(self, runtime: Runtime, facts: Facts) -> None:
        """Answers at random: yes to much, sometimes late, twice, with an old hash, or with an edit that widens."""
        rng = self.rng
        known = list(facts.proposals)[-KEPT_PROPOSALS:]
        for name in rng.sample(known, min(2, len(known))) + list(facts.unsettled):
            proposal = facts.proposals[name]
            kind = rng.choice([AnswerKind.approve, AnswerKind.approve, AnswerKind.edit, AnswerKind.reject])
            edits: dict[str, int | str] = {}
            if kind is AnswerKind.edit and isinstance(proposal.action, Scale):
                edits = {"workers": proposal.action.workers + rng.randint(-2, 2)}
            mark = proposal.hash if rng.random() < 0.9 else "stale"
            by = rng.choice(["ann", "ann", "ann", "supervisor"])
            if rng.random() < 0.3:
                with suppress(Refused):
                    await runtime.ask(cmd.AnswerApproval(proposal=name, kind=kind, by=by, hash=mark, edits=edits))

    async def _meddle(self, runtime: Runtime, facts: Facts) -> None:
        """People change things under open proposals, and the mode."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.02:
            await runtime.ask(cmd.SetMode(mode=rng.choice([Mode.observe, Mode.approve]), by="ann"))
        elif chance < 0.3:
            await runtime.ask(cmd.SetMode(mode=Mode.guarded, by="ann"))
        elif chance < 0.35:
            pool = rng.choice(["cpu", "eu"])
            await runtime.ask(cmd.PausePool(pool=pool, paused=rng.random() < 0.3, by="ann"))
        elif chance < 0.4 and facts.workers:
            worker = rng.choice(list(facts.workers))
            await runtime.ask(cmd.CordonWorker(worker=worker, cordoned=False, by="ann"))
