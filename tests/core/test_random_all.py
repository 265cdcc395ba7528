"""Random lives in which everything happens at once: gangs, nodes that come and go, notices, sick devices, money that
runs out, orders that fail, a supervisor that meddles, crashes and snapshots. Once it is quiet, all work ends."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from agentorch.core import fit
from agentorch.core.evolve import evolve
from agentorch.core.explain import reason
from agentorch.core.instruct import stops_to_repeat, unfinished
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.events import JobStarted
from agentorch.model.fleet import NodeState, PoolSpec
from agentorch.model.jobs import FINISHED, Cause, Job, JobState, Reason, Resources
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import (
    Action,
    AnswerKind,
    BrainReport,
    Cordon,
    Draft,
    ProposalState,
    Reroute,
    Reschedule,
    Scale,
    Uncordon,
)
from agentorch.runtime.fold import decode, encode
from tests.core import test_random, test_random_nodes
from tests.core.test_random_nodes import EXECUTOR, Provider
from tests.core.world import GIB, facts_bytes

CAP = 3_000_000
GPU_WATTS = 400.0
IDLE_WATTS = 800.0  # of twelve, rounded up
POOLS = ["cpu", "paid", "gpu", "std", "spot", "big", "any"]


class Life:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = test_random.fleet()
        self.provider = Provider(self.world, self.rng)
        self.snapshot = (len(self.world.events), encode(self.world.facts))
        self.well = False
        self.world.ask(cmd.StartRuntime(version="1"))
        self.pool("std", "std", 0, 0)
        self.pool("spot", "std", 0, 500_000)
        self.pool("big", "gpu", 2, 2_000_000)
        self.pool("any", "*", 0, 0)

    def pool(self, name: str, kind: str, gpus: int, price: int, **fields: int) -> None:
        spec = PoolSpec(
            name=name,
            executor=EXECUTOR,
            node_type=kind,
            shape=Resources(cpu_milli=2_000 * (1 + gpus), memory_bytes=4 * GIB, gpus=gpus),
            workers=2,
            min_workers=0,
            max_workers=fields.get("max_workers", 6),
            price_usd_micros_per_hour=price,
            spot=name == "spot",
            drain_grace_ms=20_000,
            power_cap_watts=3_000 if gpus else None,
        )
        self.world.ask(cmd.ConfigurePool(spec=spec))

    # -- what happens

    def configure(self) -> None:
        self.pool("spot", "std", 0, 500_000, max_workers=self.rng.choice([2, 4, 8]))

    def telemetry(self) -> None:
        """Of both kinds of machines: most of it harmless."""
        rng, now_ms = self.rng, self.world.now_ms
        samples = list(self.local()) if self.well else test_random.sampled(self.world, rng)
        for node in self.provider.there.values():
            stall = 0.0 if self.well else rng.choice([0.0] * 20 + [90.0])
            samples.append(DeviceSample(id="cpu", kind="cpu", node=node.id, at_ms=now_ms, memory_stall_percent=stall))
            for name in node.devices:
                sick = not self.well and rng.random() < 0.02
                known = self.world.facts.devices.get(name)
                samples.append(
                    DeviceSample(
                        id=name,
                        kind="gpu",
                        node=node.id,
                        at_ms=now_ms,
                        temperature_c=95.0 if not self.well and rng.random() < 0.03 else 60.0,
                        power_watts=100.0,
                        power_limit_watts=GPU_WATTS,
                        xid_count=((known.xid_count or 0) if known else 0) + sick,
                        xids=(rng.choice([13, 48, 74, 79]),) if sick else (),
                    )
                )
        self.world.ask(cmd.ReportHealth(samples=tuple(samples)))

    def local(self) -> tuple[DeviceSample, ...]:
        """The fixed machine's GPUs, well."""
        return tuple(
            DeviceSample(
                id=f"GPU-gpu-{index}",
                kind="gpu",
                at_ms=self.world.now_ms,
                temperature_c=50.0,
                power_watts=50.0,
                power_limit_watts=GPU_WATTS,
            )
            for index in range(12)
        )

    def save(self) -> None:
        self.snapshot = (len(self.world.events), encode(self.world.facts))

    def crash(self) -> None:
        """All that is left is a snapshot and what the ledger has after it; then the truth about each attempt."""
        world, rng = self.world, self.rng
        after, body = self.snapshot
        state = State(decode(body))
        for event in world.events[after:]:
            evolve(state, event)
        assert facts_bytes(state) == facts_bytes(world.state)
        assert state.homes == world.state.homes
        world.state = state
        world.ask(cmd.StartRuntime(version="1"))
        for job, number, rank in unfinished(world.facts):
            if rng.random() < 0.2:
                world.ask(
                    cmd.ReportEnded(
                        job=job, attempt=number, rank=rank, cause=Cause.requeued, started_ms=None, ended_ms=world.now_ms
                    )
                )
        for stop in stops_to_repeat(world.facts):
            assert world.job(stop.job).state is JobState.stopping
        self.provider.report()

    def meddle(self) -> None:
        """A supervisor without sense: guardrails and people let some of it pass."""
        world, rng = self.world, self.rng
        seen = world.ask(cmd.Observe(devices=self.local()))
        job, worker = test_random.any_job(world, rng), rng.choice(list(world.facts.workers) or [""])
        wanted: list[Action] = [
            Scale(pool=rng.choice(POOLS), workers=rng.randint(0, 6)),
            Reschedule(job=job, change=rng.choice(["preempt", "requeue", "pause", "resume"])),
            Reroute(pool=rng.choice(POOLS), job=job),
            Cordon(worker=worker),
            Uncordon(worker=worker),
        ]
        drafts = tuple(Draft(action=msgspec.to_builtins(one)) for one in rng.sample(wanted, 2))
        world.ask(cmd.HandIn(cycle=seen.cycle, report=BrainReport(brain="b", drafts=drafts)))
        for name in list(world.facts.unsettled):
            proposal = world.facts.proposals[name]
            try:
                if proposal.state is ProposalState.open:
                    kind = rng.choice([AnswerKind.approve, AnswerKind.approve, AnswerKind.reject])
                    world.ask(cmd.AnswerApproval(proposal=name, kind=kind, by="ann", hash=proposal.hash))
                world.ask(cmd.CarryOut(proposal=name))
            except Refused:
                continue

    def step(self) -> None:
        self.rng.choice(STEPS)(self)

    # -- what holds

    def check(self, since: int) -> None:
        """Money binds, quotas bind, and nothing starts where nothing may."""
        facts = self.world.facts
        poor = facts.tenants["poor"]
        assert poor.spent_usd_micros + poor.reserved_usd_micros <= CAP
        assert facts.tenants["small"].running <= 2
        events = self.world.events[since:]
        if any(not isinstance(event, JobStarted) for event in events):
            return  # the world moved in the same turn
        for event in events:
            for place in (event, *event.ranks):
                worker = facts.workers[place.worker]
                node = facts.nodes.get(worker.node)
                assert (node is None or node.state is NodeState.up) and not worker.cordoned and not worker.suspect
                assert not facts.device_faults.keys() & set(place.devices)

    def may_wait(self, job: Job) -> bool:
        """Whether what is said of the job is why it waits, though everything is well and everybody has gone home."""
        facts, pools = self.world.facts, self.world.facts.pools
        code, _ = reason(self.world.state, job, self.world.now_ms)
        able = [name for name in fit.candidate_pools(facts, job) if fit.could_hold(pools[name].spec, job)]
        if code is Reason.dependency:
            return job.waiting_on > 0
        if code is Reason.power:
            needed = job.resources.gpus * job.spec.gang * GPU_WATTS
            return all(needed + IDLE_WATTS > (pools[name].spec.power_cap_watts or 0) for name in able)
        return not able if code is Reason.infeasible else code is Reason.budget

    def calm(self) -> None:
        """From now on everything is well, and people have let everything go on."""
        world = self.world
        self.well = True
        self.provider.calm()
        world.ask(cmd.ConfigurePool(spec=msgspec.structs.replace(world.facts.pools["paid"].spec, max_workers=2)))
        for pool in world.facts.pools.values():
            world.ask(cmd.PausePool(pool=pool.spec.name, paused=False, by="ann"))
            world.ask(cmd.ScalePool(pool=pool.spec.name, workers=pool.spec.max_workers, by="ann"))
        for device in list(world.facts.device_faults):
            world.ask(cmd.RepairDevice(device=device, by="ann"))
        for worker in list(world.facts.workers):
            world.ask(cmd.CordonWorker(worker=worker, cordoned=True, by="ann"))
            world.ask(cmd.RepairWorker(worker=worker, by="ann"))
        for job in list(world.facts.held):
            world.ask(cmd.PatchJob(job=job, by="ann", hold=False))

    def quiet_round(self) -> None:
        self.provider.obey()
        self.world.tick(9)
        self.telemetry()
        self.world.schedule()
        for name in list(self.world.facts.running):
            self.world.running(name)
            self.world.end(name)


def work(life: Life) -> None:
    for step in (test_random.submit, test_random.submit, lambda world, rng: world.schedule()):
        step(life.world, life.rng)


NODE_STEPS = test_random_nodes.STEPS[: -len(test_random.STEPS)]
WORK_STEPS = [step for step in test_random.STEPS if step is not test_random.telemetry]
STEPS: list[Callable[[Life], object]] = [
    *[(lambda life, step=step: step(life.world, life.rng)) for step in WORK_STEPS],
    *[work] * 6,
    *[lambda life: test_random.report(life.world, life.rng)] * 8,
    *[(lambda life, step=step: step(life.world, life.rng, life.provider)) for step in NODE_STEPS],
    Life.telemetry,
    Life.telemetry,
    Life.configure,
    Life.crash,
    Life.save,
    Life.meddle,
    Life.meddle,
]


def live(seed: int, steps: int) -> Life:
    life = Life(seed)
    for _ in range(steps):
        since = len(life.world.events)
        try:
            life.step()
        except Refused:
            continue
        life.check(since)
    return life


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_nothing_is_lost_and_all_work_ends_once_it_is_quiet(seed: int) -> None:
    life = live(seed, 400)
    world = life.world
    world.assert_sound()
    life.calm()
    for _ in range(150):
        life.quiet_round()
    assert world.facts.running == {}
    for job in world.facts.jobs.values():
        assert job.state in FINISHED or life.may_wait(job), (job.id, reason(world.state, job, world.now_ms))
    world.assert_sound()
    life.crash()
