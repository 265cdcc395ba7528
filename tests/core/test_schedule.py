"""Who goes first, what is passed over, and that nobody starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from agentorch.core.explain import position, reason
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import Cause, Constraints, Reason, Tier
from tests.core.world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()


def drain(world: World) -> list[str]:
    """Run everything, one pass at a time; the order of starts."""
    order: list[str] = []
    while started := world.schedule():
        order.extend(started)
        world.now_ms += 1000
        for job in started:
            world.end(job)
    return order


def test_shapes_that_fit_nowhere_keep_no_other_tenant_waiting() -> None:
    world = World()
    world.pool(workers=1)
    for name in ("odd", "plain"):
        world.tenant(name)
    for number in range(limits.BACKFILL_DEPTH + 10):
        world.submit("odd", cpus=100 + number)
    job = world.submit("plain")
    assert world.schedule() == [job]


def test_tiers_then_priority_then_age(world: World) -> None:
    world.pool()
    batch = world.submit(tier=Tier.batch, priority=100)
    old = world.submit()
    world.now_ms += 30_000
    urgent = world.submit(priority=52)
    young = world.submit()
    first = world.submit(tier=Tier.realtime, priority=0)
    assert drain(world) == [first, urgent, old, young, batch]


def test_age_beats_priority_in_time(world: World) -> None:
    world.pool()
    old = world.submit(priority=40)
    world.now_ms += 11 * limits.PRIORITY_AGE_MS
    young = world.submit(priority=50)
    assert drain(world) == [old, young]


def test_a_near_deadline_goes_first(world: World) -> None:
    world.pool()
    calm = world.submit()
    pressed = world.submit(deadline_ms=world.now_ms + 600_000, max_duration_ms=300_000)
    assert drain(world) == [pressed, calm]


def test_tenants_share_by_weight(world: World) -> None:
    world.pool(workers=1)
    world.tenant("heavy", weight=300)
    world.tenant("light", weight=100)
    for _ in range(200):
        world.submit("heavy")
        world.submit("light")
    started: Counter[str] = Counter()
    for _ in range(100):
        (job,) = world.schedule()
        started[world.job(job).tenant] += 1
        world.running(job)
        world.now_ms += 60_000
        world.end(job)
    assert 70 <= started["heavy"] <= 80


def test_past_use_fades(world: World) -> None:
    world.pool()
    world.tenant("greedy")
    world.tenant("modest")
    used = world.submit("greedy")
    world.schedule()
    world.now_ms += 3_600_000
    world.end(used)
    usage = world.facts.tenants["greedy"].usage
    world.now_ms += 6 * limits.FAIR_SHARE_HALF_LIFE_MS
    other = world.submit("modest")
    world.schedule()
    world.now_ms += 120_000
    world.end(other)
    assert world.facts.tenants["modest"].usage > usage


def test_usage_is_rescaled_before_it_gets_too_big(world: World) -> None:
    world.pool()
    for _ in range(5):
        job = world.submit()
        world.schedule()
        world.now_ms += 40 * limits.FAIR_SHARE_HALF_LIFE_MS
        world.end(job)
    assert world.facts.tenants["t"].usage < 1e12


def test_what_does_not_fit_is_passed_over(world: World) -> None:
    world.pool(workers=2, cpus=2)
    running = world.submit(cpus=1)
    assert world.schedule() == [running]
    blocked = world.submit(cpus=2, constraints=Constraints(pools=("cpu",)))
    world.submit(cpus=2)
    small = world.submit(cpus=1, priority=0)
    assert blocked in world.schedule()
    assert world.job(small).attempts_made == 1


def test_backfill_never_starves_a_big_job(world: World) -> None:
    world.pool(workers=1, cpus=4)
    first = [world.submit(cpus=1) for _ in range(4)]
    assert world.schedule() == first
    big = world.submit(cpus=4, priority=60)
    served: list[str] = []
    for _ in range(200):
        world.submit(cpus=1)
        world.now_ms += 10_000
        oldest = next(iter(world.facts.running))
        world.end(oldest)
        served += world.schedule()
        if big in served:
            break
    assert big in served
    assert world.job(big).attempts[0].ordered_ms - world.job(big).submitted_ms < 120_000


def test_a_short_job_may_use_the_gap_before_a_reservation(world: World) -> None:
    world.pool(workers=1, cpus=2)
    running = world.submit(cpus=1, max_duration_ms=600_000)
    assert world.schedule() == [running]
    world.running(running)
    big = world.submit(cpus=2)
    world.now_ms += limits.RESERVE_AFTER_MS
    world.schedule()
    assert world.facts.reserved == {big: ["cpu-0"]}
    long = world.submit(cpus=1, max_duration_ms=3_600_000)
    assert world.schedule() == []
    found = reason(world.state, world.job(long), world.now_ms)
    assert found is not None
    assert found[0] is Reason.reserved
    assert big in found[1]
    short = world.submit(cpus=1, max_duration_ms=60_000)
    assert world.schedule() == [short]


def test_a_reservation_ends_with_what_it_was_for(world: World) -> None:
    world.pool(workers=1, cpus=2)
    running = world.submit(cpus=1)
    world.schedule()
    big = world.submit(cpus=2)
    world.now_ms += limits.RESERVE_AFTER_MS
    world.schedule()
    world.ask(cmd.PatchJob(job=big, by="me", hold=True))
    assert world.facts.reserved == {}
    world.ask(cmd.PatchJob(job=big, by="me", hold=False))
    world.schedule()
    world.ask(cmd.CordonWorker(worker="cpu-0", cordoned=True, by="op"))
    assert world.facts.reserved == {}
    world.end(running)
    assert world.schedule() == []


def test_a_lower_tier_is_promoted_when_its_patience_ends(world: World) -> None:
    world.pool()
    world.tenant("u")
    busy = world.submit("t")
    world.schedule()
    flex = world.submit("u", tier=Tier.flex)
    world.now_ms += 29 * limits.MINUTE_MS
    world.end(busy)
    standard = world.submit("t")
    assert world.schedule() == [standard]
    world.submit("t")
    world.now_ms += 2 * limits.MINUTE_MS
    world.end(standard)
    assert world.schedule() == [flex]


def test_the_cheapest_pool_that_allows_it_is_taken(world: World) -> None:
    world.pool("dear", price_usd_micros_per_hour=5_000_000)
    world.pool("cheap", price_usd_micros_per_hour=1_000_000)
    world.pool("unknown", price_usd_micros_per_hour=None)
    jobs = [world.submit() for _ in range(3)]
    world.schedule()
    assert [world.job(job).attempts[0].pool for job in jobs] == ["cheap", "dear", "unknown"]


def test_best_fit_keeps_big_holes_whole(world: World) -> None:
    world.pool("gpu", workers=2, cpus=8, gpus=4)
    one = world.submit(gpus=1)
    world.schedule()
    two = world.submit(gpus=2)
    world.schedule()
    assert world.job(one).attempts[0].worker == world.job(two).attempts[0].worker
    assert len({*world.job(one).attempts[0].devices, *world.job(two).attempts[0].devices}) == 3


def test_position_counts_who_goes_first(world: World) -> None:
    world.pool()
    running = world.submit()
    world.schedule()
    first, second = world.submit(), world.submit(priority=0)
    assert position(world.state, world.job(first)) == 0
    assert position(world.state, world.job(second)) == 1
    assert position(world.state, world.job(running)) is None


def test_one_pass_starts_a_bounded_number(world: World) -> None:
    world.pool(workers=400, max_workers=400)
    for _ in range(400):
        world.submit()
    assert len(world.schedule()) == limits.DISPATCH_PER_PASS


def test_work_starts_after_months_without_any(world: World) -> None:
    world.pool()
    for _ in range(2):
        job = world.submit()
        assert world.schedule() == [job]
        world.running(job)
        world.now_ms += 90 * limits.DAY_MS
        world.end(job)
        assert 0 <= world.facts.tenants["t"].usage < float("inf")
        world.now_ms += 90 * limits.DAY_MS


def test_a_preempted_job_says_so(world: World) -> None:
    world.pool()
    job = world.submit()
    world.schedule()
    world.running(job)
    world.submit(tier=Tier.realtime)
    world.end(job, Cause.preempted, None)
    world.schedule()
    found = reason(world.state, world.job(job), world.now_ms)
    assert found is not None
    assert found[0] is Reason.preempted
