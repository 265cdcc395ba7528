"""Reservation before a start, hard caps, extension, settlement."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentorch.core.explain import reason
from agentorch.core.money import cost_of, share_price, usd
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Cause, JobState, Reason, Resources
from agentorch.model.limits import HOUR_MS
from tests.core.world import World

DOLLAR = 1_000_000


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.pool(workers=8, price_usd_micros_per_hour=DOLLAR)
    yield world
    world.assert_sound()


def test_a_start_reserves_and_an_end_settles(world: World) -> None:
    world.tenant(hard_cap_usd_micros=10 * DOLLAR)
    job = world.submit(max_duration_ms=1_800_000)
    world.schedule()
    assert world.facts.tenants["t"].reserved_usd_micros == DOLLAR // 2
    world.running(job)
    world.now_ms += 900_000
    world.end(job)
    tenant = world.facts.tenants["t"]
    assert (tenant.reserved_usd_micros, tenant.spent_usd_micros) == (0, DOLLAR // 4)
    assert world.job(job).cost_usd_micros == DOLLAR // 4


def test_over_budget_stays_queued_with_that_reason(world: World) -> None:
    world.tenant(hard_cap_usd_micros=2 * DOLLAR)
    jobs = [world.submit(max_duration_ms=3_600_000) for _ in range(5)]
    assert world.schedule() == jobs[:2]
    found = reason(world.state, world.job(jobs[2]), world.now_ms)
    assert found is not None
    assert found[0] is Reason.budget
    assert "$0.00 left of $2.00" in found[1]
    tenant = world.facts.tenants["t"]
    assert tenant.spent_usd_micros + tenant.reserved_usd_micros <= 2 * DOLLAR


def test_work_that_the_budget_covers_does_not_stand_behind_work_that_it_does_not(world: World) -> None:
    world.tenant(hard_cap_usd_micros=DOLLAR // 2)
    dear = world.submit()
    cheap = world.submit(max_cost_usd_micros=DOLLAR // 10)
    assert world.schedule() == [cheap]
    assert reason(world.state, world.job(dear), world.now_ms)[0] is Reason.budget


def test_without_a_duration_what_nine_of_ten_runs_took_is_reserved(world: World) -> None:
    world.tenant(hard_cap_usd_micros=100 * DOLLAR)
    for hours in range(1, 10):
        job = world.submit(max_duration_ms=10 * HOUR_MS)
        world.schedule()
        world.running(job)
        world.now_ms += hours * HOUR_MS
        world.end(job)
    first = world.submit(name="unknown by name")
    longest_said = world.submit(max_duration_ms=HOUR_MS // 2)
    world.schedule()
    assert world.job(first).attempts[0].reserved_usd_micros == 9 * DOLLAR
    assert world.job(longest_said).attempts[0].reserved_usd_micros == DOLLAR // 2


def test_however_short_work_is_two_minutes_beside_its_grace_are_reserved(world: World) -> None:
    world.tenant(hard_cap_usd_micros=DOLLAR)
    for _ in range(9):
        job = world.submit()
        world.schedule()
        world.running(job)
        world.end(job)
    job = world.submit()
    world.schedule()
    attempt = world.job(job).attempts[0]
    assert attempt.paid_until_ms - world.now_ms == 130_000
    world.tick(1)
    assert world.job(job).attempts[0].reserved_usd_micros == attempt.reserved_usd_micros == cost_of(DOLLAR, 130_000)


def test_without_a_duration_an_hour_is_reserved_and_extended_while_it_runs(world: World) -> None:
    world.tenant(hard_cap_usd_micros=10 * DOLLAR)
    job = world.submit()
    world.schedule()
    world.running(job)
    assert world.facts.tenants["t"].reserved_usd_micros == DOLLAR
    world.tick(3_590)
    assert world.facts.tenants["t"].reserved_usd_micros == DOLLAR + DOLLAR // 4


def test_what_can_t_be_extended_is_stopped_for_its_budget(world: World) -> None:
    world.tenant(hard_cap_usd_micros=DOLLAR)
    job = world.submit()
    world.schedule()
    world.running(job)
    world.tick(3_580)
    assert world.job(job).state is JobState.running
    world.tick(10)
    assert (world.job(job).state, world.job(job).stop_cause) == (JobState.stopping, Cause.budget)
    world.now_ms += 5_000
    world.end(job, Cause.error, None, signal=15)
    assert (world.job(job).state, world.job(job).cause) == (JobState.failed, Cause.budget)
    assert world.facts.tenants["t"].spent_usd_micros <= DOLLAR


def test_a_job_s_own_cap_binds(world: World) -> None:
    world.tenant()
    job = world.submit(max_cost_usd_micros=DOLLAR // 10)
    world.schedule()
    world.running(job)
    assert world.facts.tenants["t"].reserved_usd_micros <= DOLLAR // 10
    world.tick(355)
    assert world.job(job).stop_cause is Cause.budget


def test_an_unknown_price_is_never_zero(world: World) -> None:
    world.pool("mystery", price_usd_micros_per_hour=None)
    world.tenant("capped", hard_cap_usd_micros=0)
    job = world.submit("capped")
    assert world.schedule() == []
    found = reason(world.state, world.job(job), world.now_ms)
    assert found is not None
    assert found[0] is Reason.budget
    assert cost_of(None, 1000) is None
    assert usd(None) == "unknown"


def test_a_share_of_a_worker_costs_its_largest_part() -> None:
    spec = PoolSpec(name="p", shape=Resources(cpu_milli=8000, memory_bytes=64, gpus=4), price_usd_micros_per_hour=800)
    assert share_price(spec, Resources(cpu_milli=1000)) == 100
    assert share_price(spec, Resources(cpu_milli=1000, gpus=2)) == 400
    assert share_price(spec, Resources(cpu_milli=1001)) == 101


def test_work_with_a_time_out_reserves_once_and_is_never_extended(world: World) -> None:
    world.tenant(hard_cap_usd_micros=DOLLAR)
    job = world.submit(max_duration_ms=30_000)
    world.schedule()
    world.running(job)
    reserved = world.facts.tenants["t"].reserved_usd_micros
    for _ in range(29):
        world.tick(1)
    assert world.facts.tenants["t"].reserved_usd_micros == reserved
    assert world.job(job).state is JobState.running
