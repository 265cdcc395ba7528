"""Random lives of a small fleet: after each step every invariant holds, and the ledger alone gives the same state."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agentorch.core.queue import Queue
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.jobs import ON_WORKER, Cause, RetryOn, RetryPolicy, Tier
from agentorch.model.observation import DeviceSample
from tests.core.world import World

DOLLAR = 1_000_000
CAUSES = [Cause.completed, Cause.completed, Cause.error, Cause.lost, Cause.oom, Cause.no_capacity, Cause.timeout]


def fleet() -> World:
    world = World()
    world.pool("cpu", workers=3, cpus=4)
    world.pool("paid", workers=2, cpus=2, price_usd_micros_per_hour=DOLLAR)
    dear = 4 * DOLLAR
    world.pool("gpu", workers=2, max_workers=3, cpus=8, gpus=4, price_usd_micros_per_hour=dear, power_cap_watts=4_000)
    world.tenant("rich")
    world.tenant("poor", hard_cap_usd_micros=3 * DOLLAR, weight=50)
    world.tenant("small", max_running=2)
    return world


def submit(world: World, rng: random.Random) -> None:
    retry = RetryPolicy(on=tuple(RetryOn), attempts=rng.randint(1, 4), backoff_ms=rng.choice([0, 500, 5000]))
    known = list(world.facts.jobs)
    world.submit(
        rng.choice(["rich", "poor", "small"]),
        cpus=rng.choice([0.5, 1, 2, 4]),
        gpus=rng.choice([0, 0, 0, 1, 4]),
        gang=rng.choice([1, 1, 1, 2, 3, 8]),
        tier=rng.choice(list(Tier)),
        priority=rng.randint(0, 100),
        retry=retry,
        max_duration_ms=rng.choice([None, None, 3_600_000]),
        max_queue_ms=rng.choice([None, None, 120_000]),
        max_cost_usd_micros=rng.choice([None, None, DOLLAR // 20]),
        not_before_ms=rng.choice([0, 0, world.now_ms + 5_000]),
        depends_on=(rng.choice(known),) if known and rng.random() < 0.1 else (),
        key=rng.choice(["", "", str(rng.randint(0, 5))]),
    )


def any_job(world: World, rng: random.Random) -> str:
    return rng.choice(list(world.facts.jobs) or ["job-000000"])


def report(world: World, rng: random.Random) -> None:
    running = [name for name in world.facts.running if world.job(name).state in ON_WORKER]
    if not running:
        return
    name = rng.choice(running)
    if rng.random() < 0.5:
        world.running(name)
        return
    cause = rng.choice(CAUSES)
    code = 0 if cause is Cause.completed else 1
    if rng.random() < 0.5:
        world.end(name, cause, code)
    else:
        world.end_rank(name, rng.randrange(len(world.job(name).attempts[-1].members)), cause, exit_code=code)


def elapse(world: World, rng: random.Random) -> None:
    """Time passes in small steps, and what is being stopped ends within its grace."""
    for _ in range(rng.choice([0, 1, 5, 400])):
        world.tick(9)
        for name in list(world.facts.running):
            job = world.job(name)
            longest_ms = job.spec.max_duration_ms
            if job.stop_cause is not None:
                world.end(name, Cause.error, None, signal=15)
            elif longest_ms is not None and world.now_ms + 9_000 > job.attempts[-1].ordered_ms + longest_ms:
                world.end(name, Cause.timeout, None, signal=15)


def telemetry(world: World, rng: random.Random) -> None:
    world.ask(cmd.ReportHealth(samples=tuple(sampled(world, rng))))


def sampled(world: World, rng: random.Random) -> list[DeviceSample]:
    """What NVML might say, most of it harmless; a device may be silent."""
    samples = [DeviceSample(id="cpu", kind="cpu", memory_stall_percent=rng.choice([0.0, 0.0, 0.0, 90.0]))]
    for index in range(12):
        if rng.random() < 0.03:
            continue
        known = world.facts.devices.get(f"GPU-gpu-{index}")
        errors = (known.xid_count or 0) if known is not None else 0
        struck = rng.random() < 0.02
        samples.append(
            DeviceSample(
                id=f"GPU-gpu-{index}",
                kind="gpu",
                at_ms=world.now_ms - rng.choice([0, 0, 0, 60_000]),
                temperature_c=rng.choice([40.0, 60.0, 60.0, 88.0, 95.0]),
                power_watts=rng.choice([50.0, 300.0, None]),
                power_limit_watts=400.0,
                ecc_uncorrected=rng.choice([0, None]) if rng.random() < 0.99 else rng.randint(0, 3),
                xid_count=errors + struck,
                xids=(rng.choice([13, 74, 79]),) if struck else (),
            )
        )
    return samples


def repair(world: World, rng: random.Random) -> None:
    if rng.random() < 0.5:
        world.ask(cmd.RepairWorker(worker=rng.choice(list(world.facts.workers) or [""]), by="ann"))
    else:
        world.ask(cmd.RepairDevice(device=f"GPU-gpu-{rng.randint(0, 12)}", by="ann"))


STEPS: list[Callable[[World, random.Random], object]] = [
    submit,
    submit,
    lambda world, rng: world.schedule(),
    lambda world, rng: world.schedule(),
    report,
    report,
    report,
    elapse,
    telemetry,
    repair,
    lambda world, rng: world.ask(cmd.CancelJob(job=any_job(world, rng), by="x")),
    lambda world, rng: world.ask(cmd.PatchJob(job=any_job(world, rng), by="x", hold=rng.random() < 0.5)),
    lambda world, rng: world.ask(cmd.PatchJob(job=any_job(world, rng), by="x", priority=rng.randint(0, 100))),
    lambda world, rng: world.ask(cmd.PatchJob(job=any_job(world, rng), by="x", pool=rng.choice(["", "cpu", "paid"]))),
    lambda world, rng: world.ask(
        cmd.ReportProgress(job=any_job(world, rng), by="x", percent=1.0, move_to=rng.choice([None, "", "paid"]))
    ),
    lambda world, rng: world.ask(cmd.ScalePool(pool="cpu", workers=rng.randint(0, 8), by="x")),
    lambda world, rng: world.ask(cmd.ScalePool(pool="gpu", workers=rng.randint(0, 3), by="x")),
    lambda world, rng: world.ask(cmd.PausePool(pool="paid", paused=rng.random() < 0.3, by="x")),
    lambda world, rng: world.ask(
        cmd.CordonWorker(worker=rng.choice(list(world.facts.workers) or [""]), cordoned=rng.random() < 0.3, by="x")
    ),
]


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_commands_keeps_the_invariants(seed: int) -> None:
    world, rng = fleet(), random.Random(seed)
    for _ in range(600):
        try:
            rng.choice(STEPS)(world, rng)
        except Refused:
            continue
        poor = world.facts.tenants["poor"]
        assert poor.spent_usd_micros + poor.reserved_usd_micros <= 3 * DOLLAR
        assert world.facts.tenants["small"].running <= 2
    world.assert_sound()
    assert len({type(event) for event in world.events}) >= 18


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_schedules_as_if_nothing_had_happened(seed: int) -> None:
    """The queue is an index: rebuilt from the facts, it makes the same choices."""
    world, rng = fleet(), random.Random(seed)
    for _ in range(300):
        try:
            rng.choice(STEPS)(world, rng)
        except Refused:
            continue
    rebuilt = World()
    rebuilt.state.facts = world.facts
    rebuilt.now_ms = world.now_ms
    live = world.state.queue
    live.wake(world.now_ms)
    fresh = Queue(world.facts)
    fresh.wake(world.now_ms)
    assert fresh.standing() == live.standing()
    order = [sorted(job.id for job in queue.standing_jobs()) for queue in (fresh, live)]
    assert order[0] == order[1]
