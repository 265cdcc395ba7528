"""Work that has run much gives way to work that has run little: when, which, never whom, and that nobody starves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from agentorch.core.evolve import evolve
from agentorch.core.explain import reason
from agentorch.core.yielding import Yielding
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Cause, Checkpoint, JobState, Reason, Tier
from tests.core.world import World

SAVES = Checkpoint()
#: Work that has run for so long gives way to work that has not run yet.
RIPE_MS = limits.DISPLACE_FACTOR * limits.QUANTUM_MS


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()
    assert Yielding(world.facts) == world.state.yielding


def runs(world: World, **spec: object) -> str:
    """A job that starts at once, and saves itself."""
    job = world.submit(**({"checkpoint": SAVES} | spec))  # type: ignore[arg-type]
    assert world.schedule() == [job]
    world.running(job)
    return job


def stopped(world: World) -> list[str]:
    """What the next pass stops, in order."""
    before = len(world.events)
    world.schedule()
    return [event.job for event in world.events[before:] if isinstance(event, ev.JobStopping)]


def test_what_ran_long_gives_way_and_the_room_is_kept_for_whom_it_was_made(world: World) -> None:
    world.pool()
    long = runs(world)
    world.now_ms += RIPE_MS
    fresh = world.submit()
    assert stopped(world) == [long]
    (order,) = [event for event in world.events if isinstance(event, ev.JobStopping)]
    assert (order.cause, order.by, order.room_for) == (Cause.preempted, "scheduler", fresh)
    assert world.facts.reserved == {fresh: ["cpu-0"]}
    world.submit(priority=100)
    assert stopped(world) == []  # one stop is under way
    world.now_ms += 5_000
    world.end(long, Cause.error, None)
    assert world.schedule() == [fresh]
    found = reason(world.state, world.job(long), world.now_ms)
    assert found is not None
    assert found[0] is Reason.preempted
    assert f"it gave way to {fresh}" in found[1]


def test_no_sooner_than_the_gain_is_sure(world: World) -> None:
    world.pool()
    runs(world)
    world.now_ms += RIPE_MS - 2_000
    world.submit()
    assert stopped(world) == []
    world.now_ms += 4_000
    assert len(stopped(world)) == 1


def test_what_has_no_checkpoint_is_protected_or_dated_never_gives_way(world: World) -> None:
    world.pool(workers=4)
    runs(world, checkpoint=None)
    runs(world, preemptible=False)
    runs(world, tier=Tier.realtime)
    runs(world, deadline_ms=world.now_ms + limits.DAY_MS)
    world.now_ms += limits.HOUR_MS
    world.submit()
    assert stopped(world) == []


def test_a_pool_may_forbid_it(world: World) -> None:
    world.pool(preempts=False)
    runs(world)
    world.now_ms += limits.HOUR_MS
    world.submit()
    assert stopped(world) == []


def test_nothing_gives_way_while_too_much_is_sick(world: World) -> None:
    world.pool()
    long = runs(world)
    world.now_ms += limits.HOUR_MS
    world.submit()
    for reason_given, found in (("3 of 4 workers are sick", []), ("", [long])):
        world.events.append(ev.HealthHalted(at_ms=world.now_ms, reason=reason_given))
        evolve(world.state, world.events[-1])
        assert stopped(world) == found


def test_whoever_used_less_of_late_keeps_its_place(world: World) -> None:
    world.pool(workers=2)
    world.tenant("modest")
    world.tenant("greedy")
    used = runs(world, tenant="greedy", cpus=1)
    world.now_ms += limits.HOUR_MS
    modest = runs(world, tenant="modest")
    world.end(used)
    again = runs(world, tenant="greedy")
    world.now_ms += 10 * RIPE_MS
    waits = world.submit("greedy")
    assert stopped(world) == [again]  # of its own
    world.end(again, Cause.error, None)
    assert world.schedule() == [waits]
    world.running(waits)
    world.now_ms += limits.MINUTE_MS
    newcomer = world.submit("modest")
    assert stopped(world) == [modest]  # its own has run for longer
    assert world.facts.reserved == {newcomer: [world.job(modest).attempts[-1].worker]}


def test_a_more_urgent_tier_need_not_wait_for_ripeness_and_never_the_other_way(world: World) -> None:
    world.pool()
    batch = runs(world, tier=Tier.batch)
    world.now_ms += limits.PREEMPT_MIN_RUN_MS - 1_000
    urgent = world.submit(checkpoint=SAVES)
    assert stopped(world) == []
    world.now_ms += 1_000
    assert stopped(world) == [batch]
    world.end(batch, Cause.error, None)
    assert world.schedule() == [urgent]
    world.running(urgent)
    world.now_ms += 2 * limits.HOUR_MS
    assert stopped(world) == []


def test_those_that_owe_most_give_way_and_no_more_than_it_takes(world: World) -> None:
    world.pool(workers=2, cpus=4)
    old = runs(world, cpus=2)
    world.now_ms += limits.HOUR_MS
    young = [runs(world, cpus=1) for _ in range(2)]
    wide = runs(world, cpus=4)
    world.now_ms += RIPE_MS
    small = world.submit(cpus=2)
    assert stopped(world) == [old]
    assert world.facts.workers[world.facts.reserved[small][0]].running == [old, *young]
    assert world.job(wide).state is JobState.running


def test_of_a_pool_a_tenth_at_a_time(world: World) -> None:
    world.pool(workers=1, cpus=20)
    many = [runs(world) for _ in range(20)]
    world.now_ms += RIPE_MS
    big = world.submit(cpus=5)
    assert stopped(world) == many[:2]
    assert stopped(world) == []
    for job in many[:2]:
        world.end(job, Cause.error, None)
    world.now_ms += limits.BLAST_WINDOW_MS
    assert stopped(world) == many[2:3]  # a tenth of 18
    world.now_ms += limits.BLAST_WINDOW_MS
    more = stopped(world)
    world.now_ms += limits.BLAST_WINDOW_MS
    more += stopped(world)
    assert more == many[3:5]
    for job in many[2:5]:
        world.end(job, Cause.error, None)
    assert big in world.schedule()
    assert len([event for event in world.events if isinstance(event, ev.JobStopping)]) == 5


def test_room_is_made_for_all_ranks_of_a_gang(world: World) -> None:
    world.pool(workers=4, max_workers=4, cpus=2)
    busy = [runs(world, cpus=2) for _ in range(3)]
    world.now_ms += RIPE_MS
    gang = world.submit(gang=2, cpus=2)
    assert stopped(world) == busy[:1]
    world.submit()
    assert world.schedule() == []  # both workers are kept
    world.end(busy[0], Cause.error, None)
    assert gang in world.schedule()


def test_room_for_a_gang_is_chosen_anew_when_a_worker_of_it_has_gone(world: World) -> None:
    world.pool(workers=3, max_workers=3)
    busy = [runs(world) for _ in range(3)]
    world.now_ms += RIPE_MS
    gang = world.submit(gang=2)
    assert stopped(world) == busy[:1]  # a tenth of three, at least one
    kept = list(world.facts.reserved[gang])
    assert len(kept) == 2
    world.end(busy[0], Cause.error, None)
    world.ask(cmd.CordonWorker(worker=kept[0], cordoned=True, by="me", reason="a fan"))
    world.now_ms += limits.BLAST_WINDOW_MS
    world.schedule()
    others = [name for name in world.facts.workers if name != kept[0]]
    assert world.facts.reserved[gang] == others
    for _ in range(2):
        for job in busy:
            if world.job(job).state is JobState.stopping:
                world.end(job, Cause.error, None)
        world.now_ms += limits.BLAST_WINDOW_MS
        world.schedule()
    assert world.job(gang).state is JobState.starting


def test_a_gang_counts_room_that_is_coming_anyway(world: World) -> None:
    world.pool(workers=3, max_workers=3)
    busy = [runs(world) for _ in range(3)]
    world.now_ms += RIPE_MS
    gang = world.submit(gang=2)
    for job in busy[1:]:
        world.ask(cmd.CancelJob(job=job, by="me"))
    assert stopped(world) == []
    for job in busy[1:]:
        world.end(job, Cause.error, None)
    assert world.schedule() == [gang]


def test_only_so_many_of_those_that_owe_are_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pool(workers=2, max_workers=2, cpus=4)
    small = [runs(world, cpus=1, preemptible=number >= 3) for number in range(4)]
    whole = runs(world, cpus=4)
    world.now_ms += 2 * RIPE_MS
    monkeypatch.setattr(limits, "DISPLACE_LOOKS", 1)
    wide = world.submit(cpus=4)
    assert stopped(world) == []  # the first is of no use
    monkeypatch.setattr(limits, "DISPLACE_LOOKS", 2)
    assert stopped(world) == [whole]
    assert world.facts.reserved == {wide: [world.job(whole).attempts[-1].worker]}
    assert world.job(small[3]).state is JobState.running


def test_a_gang_gives_way_whole(world: World) -> None:
    world.pool(workers=2, max_workers=2)
    gang = runs(world, gang=2)
    world.now_ms += RIPE_MS
    first, second = world.submit(), world.submit()
    assert stopped(world) == [gang]
    world.end(gang, Cause.error, None)
    assert world.schedule() == [first, second]


def test_room_that_nobody_waits_for_any_more_is_given_up(world: World) -> None:
    world.pool()
    long = runs(world)
    world.now_ms += RIPE_MS
    fresh = world.submit()
    assert stopped(world) == [long]
    world.ask(cmd.CancelJob(job=fresh, by="me"))
    assert world.facts.reserved == {}
    world.end(long, Cause.error, None)
    assert world.schedule() == [long]


def serve(world: World, work_ms: dict[str, int], step_ms: int) -> None:
    """One step of a cluster: what has done its work ends, what was stopped goes, and passes are made."""
    for name in list(world.facts.running):
        job = world.job(name)
        if job.state is JobState.starting:
            world.running(name)
        ran_ms = job.ran_before_ms + world.now_ms - (job.attempts[-1].started_ms or world.now_ms)
        if job.state is JobState.stopping:
            world.end(name, Cause.error, None)
        elif ran_ms >= work_ms[name]:
            world.end(name)
    world.schedule()
    for name in list(world.facts.running):
        if world.job(name).state is JobState.starting:
            world.running(name)
    world.now_ms += step_ms


def test_equals_take_turns_that_grow_and_are_never_stopped_often(world: World) -> None:
    world.pool()
    day_ms = limits.DAY_MS
    work_ms = {world.submit(checkpoint=SAVES): 2 * day_ms for _ in range(2)}
    while world.facts.running or len(world.state.queue):
        serve(world, work_ms, 5 * limits.MINUTE_MS)
    stops = [event for event in world.events if isinstance(event, ev.JobStopping)]
    assert 4 < len(stops) < 40
    times = [event.at_ms for event in stops]
    assert min(after - before for before, after in pairwise(times)) >= limits.QUANTUM_MS


def test_newcomers_never_starve_what_has_run_much(world: World) -> None:
    """As much short work comes as there is room for: the long job ends, and waits in proportion to its own length."""
    world.pool()
    length_ms, short_ms = 4 * limits.HOUR_MS, 15 * limits.MINUTE_MS
    long = world.submit(checkpoint=SAVES)
    work_ms = {long: length_ms}
    began_ms = world.now_ms
    while world.job(long).state is not JobState.succeeded:
        work_ms[world.submit(checkpoint=SAVES)] = short_ms
        for _ in range(3):
            serve(world, work_ms, short_ms // 3)
        assert world.now_ms - began_ms < (2 + limits.DEBT_FACTOR) * length_ms
    assert world.job(long).attempts_made > 1


def test_the_biggest_is_not_passed_over_for_ever(world: World) -> None:
    """Small work keeps coming and always fits somewhere; the gang needs everything at once."""
    world.pool(workers=4, max_workers=4)
    work_ms: dict[str, int] = {}
    for _ in range(4):
        work_ms[world.submit(checkpoint=SAVES)] = limits.HOUR_MS
    serve(world, work_ms, limits.MINUTE_MS)
    gang = world.submit(gang=4, checkpoint=SAVES)
    work_ms[gang] = limits.HOUR_MS
    while not world.job(gang).attempts_made:
        work_ms[world.submit(checkpoint=SAVES)] = 20 * limits.MINUTE_MS
        serve(world, work_ms, 5 * limits.MINUTE_MS)
        assert world.now_ms - world.job(gang).submitted_ms < 2 * limits.HOUR_MS


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_ends_and_its_stops_are_few(seed: int) -> None:
    dice = random.Random(seed)
    world = World()
    for name in ("a", "b", "c"):
        world.tenant(name, weight=dice.choice((50, 100, 200)))
    world.pool(workers=3, max_workers=3, cpus=4)
    work_ms: dict[str, int] = {}
    for _ in range(60):
        for _ in range(dice.randrange(4)):
            job = world.submit(
                dice.choice("abc"),
                cpus=dice.choice((1, 1, 2, 4)),
                gang=dice.choice((1, 1, 1, 2)),
                tier=dice.choice((Tier.standard, Tier.standard, Tier.batch)),
                checkpoint=dice.choice((SAVES, SAVES, None)),
                priority=dice.choice((50, 50, 80)),
            )
            work_ms[job] = int(limits.MINUTE_MS * 2 ** dice.uniform(0, 9))
        serve(world, work_ms, 5 * limits.MINUTE_MS)
    while world.facts.running or len(world.state.queue):
        serve(world, work_ms, 5 * limits.MINUTE_MS)
    world.assert_sound()
    assert Yielding(world.facts) == world.state.yielding
    for name, lasts_ms in work_ms.items():
        ended = world.job(name)
        assert ended.state is JobState.succeeded
        assert ended.attempts_made == 1 or ended.spec.checkpoint is not None
        if ended.spec.tier is not Tier.batch:
            assert ended.attempts_made <= 2 + lasts_ms // limits.QUANTUM_MS
