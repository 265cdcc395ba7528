"""What there is: pools, tenants, nodes that can be had, and what kind of work comes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from agentorch.core.facts import Facts
from agentorch.executors.fake import Plan, Script
from agentorch.executors.fake_nodes import Offer
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptSpec, NodeInfo
from agentorch.model.fleet import PoolSpec, Reservation, TenantSpec
from agentorch.model.jobs import Cause, Checkpoint, Constraints, JobSpec, Resources, RetryOn, RetryPolicy, Tier
from agentorch.model.proposals import Mode
from agentorch.simulation.faults.chance import Chance

GIB = 2**30
DOLLAR = 1_000_000
CAP = 12 * DOLLAR
TENANTS = ("rich", "poor", "small")
GPUS = tuple(f"GPU-{number}" for number in range(4))


def _shape(cpus: int, gpus: int = 0) -> Resources:
    return Resources(cpu_milli=1000 * cpus, memory_bytes=8 * GIB, gpus=gpus)


POOLS = (
    PoolSpec(
        name="cpu",
        executor="house",
        workers=3,
        max_workers=5,
        shape=_shape(4),
        reservations=(Reservation(tier=Tier.realtime, workers=1),),
    ),
    PoolSpec(
        name="paid",
        executor="house",
        workers=2,
        max_workers=3,
        shape=_shape(2),
        price_usd_micros_per_hour=90 * DOLLAR,
        lends=True,
    ),
    PoolSpec(name="gpu", executor="house", workers=2, max_workers=2, shape=_shape(4, 2), region="north"),
    PoolSpec(
        name="spot",
        executor="cloud",
        node_type="std",
        workers=2,
        min_workers=0,
        max_workers=4,
        shape=_shape(4),
        price_usd_micros_per_hour=30 * DOLLAR,
        spot=True,
        drain_grace_ms=20_000,
        provision_timeout_ms=60_000,
    ),
    PoolSpec(
        name="big",
        executor="cloud",
        node_type="gpu",
        workers=1,
        min_workers=0,
        max_workers=2,
        shape=_shape(8, 2),
        drain_grace_ms=20_000,
        provision_timeout_ms=60_000,
    ),
)


def configure(facts: Facts) -> Sequence[cmd.Command]:
    """What stands in the configuration file of each start."""
    pools = [cmd.ConfigurePool(spec=spec, devices=GPUS if spec.name == "gpu" else ()) for spec in POOLS]
    if facts.tenants:
        return pools
    tenants = (
        TenantSpec(name="rich"),
        TenantSpec(name="poor", hard_cap_usd_micros=CAP, weight=50),
        TenantSpec(name="small", max_running=2),
    )
    return [*pools, *(cmd.ConfigureTenant(spec=tenant) for tenant in tenants)]


def mode(chance: Chance) -> Mode:
    """In which a life begins: in half of them people are asked everything."""
    return chance.stream("mode").choice([Mode.guarded, Mode.approve])


def offers() -> dict[str, Offer]:
    """Nodes that can be had at once."""
    gpus = tuple(f"{number}" for number in range(2))
    return {
        "std": Offer(node=NodeInfo(id="", cpu_milli=8000, memory_bytes=32 * GIB), delay_ms=3_000),
        "gpu": Offer(
            node=NodeInfo(
                id="",
                cpu_milli=16_000,
                memory_bytes=64 * GIB,
                devices=gpus,
                device_names=("H200",) * 2,
                device_memory_bytes=(141 * GIB,) * 2,
            ),
            delay_ms=8_000,
        ),
    }


def script(chance: Chance) -> Script:
    """How each attempt behaves, by its own stream: whatever else happens, it is the same."""

    def plan(spec: AttemptSpec) -> Plan:
        rng = chance.stream(f"attempt/{spec.id}")
        run_ms = 300_000 if rng.random() < 0.1 else round(min(200_000.0, rng.lognormvariate(9.8, 1.0)))
        way = rng.random()
        heeds = rng.random() < 0.8
        if way < 0.02:
            return Plan(exec_error="no such program")
        if way < 0.08:
            return Plan(run_ms=run_ms, exit_code=1, heeds_stop=heeds)
        if way < 0.15:
            return Plan(run_ms=run_ms, exit_code=None, signal=9, cause=Cause.oom, heeds_stop=heeds)
        return Plan(run_ms=run_ms, heeds_stop=heeds)

    return plan


def job(rng: random.Random, known: Sequence[str], now_ms: int) -> JobSpec:
    """Work that some pool can hold, if it is let."""
    fields: dict[str, Any] = {}
    kind = rng.random()
    if kind < 0.12:
        fields["resources"] = Resources(cpu_milli=1000, memory_bytes=GIB, gpus=rng.choice([1, 2]))
    else:
        fields["resources"] = Resources(cpu_milli=rng.choice([500, 1000, 2000]), memory_bytes=rng.choice([0, GIB]))
        fields["gang"] = rng.choice([1] * 8 + [2, 3])
    pools = (
        rng.choice([()] * 6 + [("paid",), ("spot",), ("paid", "spot"), ("cpu", "paid"), ("cpu",), ("spot",)])
        if kind >= 0.12
        else ()
    )
    if rng.random() < 0.08 and known:
        fields["depends_on"] = (rng.choice(known),)
    if rng.random() < 0.2:
        fields["checkpoint"] = Checkpoint(grace_ms=rng.choice([1000, 20_000]))
    tier, preemptible = rng.choice(list(Tier)), rng.random() < 0.8
    borrow = bool(pools) and tier is not Tier.realtime and preemptible and rng.random() < 0.5
    return JobSpec(
        command=("true",),
        tier=tier,
        priority=rng.randint(0, 100),
        preemptible=preemptible,
        constraints=Constraints(pools=pools, borrow=borrow),
        deadline_ms=rng.choice([None, None, now_ms + 120_000]),
        max_queue_ms=rng.choice([None] * 6 + [120_000]),
        max_duration_ms=rng.choice([None, 60_000, 180_000, 180_000]),
        max_cost_usd_micros=rng.choice([None] * 6 + [2 * DOLLAR]),
        not_before_ms=rng.choice([0] * 6 + [now_ms + 20_000]),
        retry=RetryPolicy(
            on=tuple(RetryOn), attempts=rng.randint(1, 3), backoff_ms=rng.choice([0, 1000]), oom_factor_percent=120
        ),
        **fields,
    )


def generous(spec: TenantSpec) -> TenantSpec:
    return msgspec.structs.replace(spec, hard_cap_usd_micros=None)
