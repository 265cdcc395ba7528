"""The observation: counts are whole, samples bounded, what is unknown stays unknown, and a long queue costs little."""

from __future__ import annotations

import msgspec
import pytest

from agentorch.core.observe import history_point, observation_sha256, observe, pool_facts, tenant_facts
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import Constraints, Tier
from agentorch.model.observation import DeviceSample, Observation, PoolFacts
from agentorch.model.proposals import Alert, Cordon
from tests.core.guardrails.supervised import Supervised

DOLLAR = 1_000_000


@pytest.fixture
def world() -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=2)
    return world


def pool_named(seen: Observation, name: str) -> PoolFacts:
    (pool,) = [pool for pool in seen.pools if pool.name == name]
    return pool


def test_a_pool_in_numbers(world: Supervised) -> None:
    world.run_some(1)
    world.ask(cmd.CordonWorker(worker="cpu-1", cordoned=True, by="ann"))
    for _ in range(3):
        world.submit()
    world.now_ms += 10_000
    pool = pool_named(world.observe(), "cpu")
    assert (pool.workers, pool.available, pool.busy, pool.idle, pool.target) == (2, 1, 1, 0, 2)
    assert (pool.queued, pool.running, pool.need, pool.utilization_percent) == (3, 1, 4, 100.0)
    assert (pool.wait_s_p95, pool.oldest_wait_s, pool.target_wait_s) == (10.0, 10.0, 60.0)
    assert pool.wait_s_p50 == 10.0, "three wait for ten seconds, one started at once"


def test_need_packs_what_fits_on_a_worker(world: Supervised) -> None:
    world.pool("big", workers=1, cpus=4, max_workers=50)
    for _ in range(7):
        world.submit(cpus=2)
    assert pool_named(world.observe(), "big").need == 4


def test_need_overflows_to_the_next_pool_and_stops_at_budgets_and_quotas(world: Supervised) -> None:
    world.pool("paid", workers=0, max_workers=3, price_usd_micros_per_hour=DOLLAR)
    world.tenant("poor", hard_cap_usd_micros=1)
    world.tenant("small", max_running=1)
    for _ in range(9):
        world.submit()
    for _ in range(5):
        world.submit("small")
        world.submit("poor", max_duration_ms=3_600_000, constraints=Constraints(pools=("paid",)))
    seen = world.observe()
    assert (pool_named(seen, "cpu").need, pool_named(seen, "paid").need) == (8, 2)
    assert (pool_named(seen, "cpu").queued, pool_named(seen, "paid").queued) == (14, 5)
    blocked = {tenant.name: tenant.budget_blocked for tenant in seen.tenants}
    assert blocked == {"t": 0, "poor": 5, "small": 0}


def test_telemetry_has_the_age_of_its_node_and_is_none_when_it_is_not_there(world: Supervised) -> None:
    world.pool("far", workers=1, executor="ray")
    gpu = DeviceSample(id="GPU-1", kind="gpu", node="local", at_ms=world.now_ms)
    unread = DeviceSample(id="cpu", kind="cpu", node="local", at_ms=world.now_ms, error="no /proc")
    assert pool_named(world.observe(gpu, unread), "cpu").telemetry_age_s is None
    assert pool_named(world.observe(world.cpu(age_s=3), world.cpu(age_s=7)), "cpu").telemetry_age_s == 3.0
    world.now_ms += 2_000
    assert pool_facts(world.state, "cpu", world.now_ms).telemetry_age_s == 5.0


def test_a_tenant_in_numbers(world: Supervised) -> None:
    world.pool("paid", workers=1, price_usd_micros_per_hour=2 * DOLLAR)
    world.tenant("rich", hard_cap_usd_micros=100 * DOLLAR)
    world.ask(cmd.ScalePool(pool="cpu", workers=0, by="ann"))
    world.run_some(1, tenant="rich")
    world.submit("rich")
    tenant = tenant_facts(world.state, "rich", world.now_ms)
    assert (tenant.running, tenant.queued, tenant.burn_usd_micros_per_hour) == (1, 1, 2 * DOLLAR)
    assert tenant.reserved_usd_micros == 2 * DOLLAR


def test_jobs_say_where_they_are_and_why_they_wait(world: Supervised) -> None:
    running = world.run_some(1, run_s=30, max_duration_ms=100_000)[0]
    world.run_some(1)
    waiting = world.submit(tier=Tier.batch, deadline_ms=world.now_ms + 60_000)
    sleeping = world.submit(not_before_ms=world.now_ms + 60_000)
    seen = world.observe()
    by_id = {job.id: job for job in (*seen.queued, *seen.running)}
    assert (by_id[running].worker, by_id[running].run_s, by_id[running].remaining_s) == ("cpu-0", 30.0, 70.0)
    assert (by_id[waiting].reason, by_id[waiting].tier, by_id[waiting].deadline_in_s) == ("no_capacity", "batch", 60.0)
    assert (by_id[sleeping].reason, by_id[sleeping].pools) == ("start_time", ("cpu",))


def test_open_and_recent_targets_and_alerts_are_known(world: Supervised) -> None:
    alert, cordon = world.hand_in(Alert(text="hello"), Cordon(worker="cpu-0"))
    world.carry_out(alert)
    seen = world.observe()
    assert (seen.open_targets, seen.recent_targets, seen.alerted) == (("worker:cpu-0",), ("alert:hello",), ("hello",))
    world.answer(cordon, "reject")
    world.now_ms += 60_000
    later = world.observe()
    assert (later.open_targets, later.recent_targets) == ((), ())


def test_an_observation_is_numbered_hashed_and_remembered(world: Supervised) -> None:
    first, second = world.observe(), world.observe()
    assert (first.cycle, second.cycle) == (1, 2)
    assert world.facts.decisions[2].observation_sha256 == observation_sha256(second)
    assert observation_sha256(first) != observation_sha256(second)
    assert msgspec.json.decode(msgspec.json.encode(second), type=Observation) == second
    point = world.facts.history[-1]
    assert point == history_point(world.state, second)
    assert point.pools == {"cpu": (0.0, 0, 0.0)}


def test_a_long_queue_is_sampled_and_counted_whole() -> None:
    world = Supervised()
    world.tenant()
    world.pool(workers=1)
    for index in range(600):
        world.submit(cpus=[0.5, 1][index % 2], tier=list(Tier)[index % 4])
    seen = observe(world.state, (), world.now_ms)
    assert seen.queued_total == 600
    assert len(seen.queued) == limits.OBSERVED_JOBS_MAX
    assert [job.id for job in seen.queued] == sorted(job.id for job in seen.queued)
    assert pool_named(seen, "cpu").queued == 600
    assert pool_named(seen, "cpu").need == 450
