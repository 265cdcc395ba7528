"""Lending: what idles in a pool that lends is borrowed, and given back as soon as an owner waits for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import pytest

from agentorch.core.explain import explain
from agentorch.core.fit import takes_work, times
from agentorch.core.guardrails import preview
from agentorch.core.lending import borrowers_of
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import JobStarted, JobStopping
from agentorch.model.fleet import Reservation
from agentorch.model.jobs import ON_WORKER, WAITING, Cause, Checkpoint, Constraints, Tier
from agentorch.model.proposals import Draft, Ruling
from tests.core.world import World

MIN_RUN_S = limits.PREEMPT_MIN_RUN_MS / 1000
AT_HOME = Constraints(pools=("home",))
LEAVE = Constraints(pools=("home",), borrow=True)
OWNER = Constraints(pools=("far",))


def world(home: int = 1, far: int = 2, **far_spec: object) -> World:
    found = World()
    found.pool("home", workers=home, cpus=4, gpus=2)
    found.pool("far", **{"workers": far, "cpus": 4, "gpus": 2, "lends": True, **far_spec})
    for tenant in ("t", "owner"):
        found.tenant(tenant)
    return found


def run_all(world: World) -> list[str]:
    started = world.schedule()
    for name in started:
        world.running(name)
    return started


def stops(world: World) -> list[JobStopping]:
    return [event for event in world.events if isinstance(event, JobStopping)]


def obey(world: World) -> None:
    """What was told to stop has gone."""
    for name in list(world.facts.running):
        if world.job(name).stop_cause is not None:
            world.end(name, Cause.error, None, signal=15)


def test_a_job_with_leave_borrows_what_idles_and_home_goes_first() -> None:
    one = world()
    jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(4)]
    assert one.schedule() == jobs[:3]
    attempts = [one.job(name).attempts[-1] for name in jobs[:3]]
    assert [(attempt.pool, attempt.borrowed) for attempt in attempts] == [
        ("home", False),
        ("far", True),
        ("far", True),
    ]
    assert [event.borrowed for event in one.events if isinstance(event, JobStarted)] == [False, True, True]
    assert [job.id for job in borrowers_of(one.facts, "far")] == jobs[1:3]
    one.assert_sound()


@pytest.mark.parametrize("within", [AT_HOME, Constraints(pools=("home",), borrow=True, regions=("moon",))])
def test_without_leave_or_beyond_its_regions_nothing_is_borrowed(within: Constraints) -> None:
    one = World()
    one.pool("home", cpus=4, region="moon")
    one.pool("far", cpus=4, lends=True)
    one.tenant()
    jobs = [one.submit(cpus=4, constraints=within) for _ in range(2)]
    assert one.schedule() == jobs[:1]


def test_nothing_is_borrowed_of_a_pool_that_does_not_lend_or_is_paused() -> None:
    for spec in ({"lends": False}, {"lends": True}):
        one = world(**spec)
        if spec["lends"]:
            one.ask(cmd.PausePool(pool="far", paused=True, by="op"))
        jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(2)]
        assert one.schedule() == jobs[:1]


def test_an_owner_goes_before_borrowers_whoever_came_first() -> None:
    one = world()
    jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(3)]
    owners = [one.submit("owner", cpus=4, constraints=OWNER, tier=Tier.batch) for _ in range(2)]
    assert sorted(one.schedule()) == sorted([jobs[0], *owners])


def test_borrowers_give_way_after_their_minimum_run_and_wait_at_home() -> None:
    one = world()
    jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(3)]
    run_all(one)
    owner = one.submit("owner", cpus=4, constraints=OWNER)
    assert run_all(one) == []
    assert stops(one) == []
    one.tick(MIN_RUN_S)
    assert run_all(one) == []
    (stop,) = stops(one)
    assert (stop.job in jobs[1:], stop.cause, stop.by) == (True, Cause.preempted, "scheduler")
    assert one.schedule() == []
    assert len(stops(one)) == 1
    obey(one)
    assert run_all(one) == [owner]
    found = one.job(stop.job)
    assert (found.state, found.retries_used, found.was_preempted) == ("queued", 0, True)
    assert not one.job(owner).attempts[-1].borrowed
    one.assert_sound()


def test_those_that_lose_least_give_way_and_no_more_than_must() -> None:
    one = world(far=3)
    homely = one.submit(cpus=4, constraints=AT_HOME)
    old = one.submit(cpus=4, constraints=LEAVE)
    assert run_all(one) == [homely, old]
    one.tick(600)
    saving = one.submit(cpus=4, constraints=LEAVE, checkpoint=Checkpoint(path="/c"))
    assert run_all(one) == [saving]
    one.tick(600)
    young = one.submit(cpus=4, constraints=LEAVE)
    assert run_all(one) == [young]
    one.tick(600)
    one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    assert [stop.job for stop in stops(one)] == [saving]
    one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    assert [stop.job for stop in stops(one)] == [saving, young]
    one.ask(cmd.ReportProgress(job=old, by="job", checkpointed=True))


def test_one_big_borrower_gives_way_rather_than_two_that_lose_more_together() -> None:
    one = world(far=2)
    one.submit(cpus=4, constraints=AT_HOME)
    halves = [one.submit(cpus=2, constraints=LEAVE) for _ in range(2)]
    run_all(one)
    one.tick(90)
    whole = one.submit(cpus=4, constraints=LEAVE)
    assert run_all(one) == [whole]
    one.tick(90)
    one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    assert [stop.job for stop in stops(one)] == [whole]
    assert all(one.job(name).stop_cause is None for name in halves)


def test_for_a_gang_borrowers_give_way_anywhere_and_a_gang_that_borrows_goes_whole() -> None:
    one = world(far=3)
    one.submit(cpus=4, constraints=AT_HOME)
    wide = one.submit(cpus=4, gang=2, constraints=LEAVE)
    single = one.submit(cpus=4, constraints=LEAVE)
    assert len(run_all(one)) == 3
    one.tick(MIN_RUN_S)
    owner = one.submit("owner", cpus=4, gang=2, constraints=OWNER)
    run_all(one)
    assert {stop.job for stop in stops(one)} == {wide}
    obey(one)
    assert run_all(one) == [owner]
    assert one.job(single).state in ON_WORKER
    one.assert_sound()


def test_nothing_is_lent_while_an_owner_waits_for_what_borrowers_hold() -> None:
    one = world(far=2)
    one.submit(cpus=4, constraints=AT_HOME)
    half = one.submit(cpus=2, constraints=LEAVE)
    run_all(one)
    other = one.submit(cpus=2, constraints=AT_HOME)
    owner = one.submit("owner", cpus=4, gang=2, constraints=OWNER)
    late = one.submit(cpus=4, constraints=LEAVE)
    assert run_all(one) == []
    one.tick(MIN_RUN_S)
    run_all(one)
    assert [stop.job for stop in stops(one)] == [half]
    obey(one)
    assert run_all(one) == [owner]
    assert {one.job(name).state for name in (half, other, late)} == {"queued"}


def test_what_an_owner_could_not_use_anyway_is_lent_meanwhile() -> None:
    one = world(far=2)
    one.submit(cpus=4, constraints=AT_HOME)
    first = one.submit("owner", cpus=4, constraints=OWNER)
    wide = one.submit("owner", cpus=4, gang=2, constraints=OWNER)
    borrower = one.submit(cpus=4, constraints=LEAVE)
    assert borrower in run_all(one)
    one.tick(MIN_RUN_S)
    run_all(one)
    assert stops(one) == []
    one.end(first)
    run_all(one)
    assert [stop.job for stop in stops(one)] == [borrower]
    obey(one)
    assert run_all(one) == [wide]


def test_borrowed_room_costs_the_borrower_the_pools_price_and_a_cap_holds() -> None:
    one = world(price_usd_micros_per_hour=4_000_000)
    one.tenant("poor", hard_cap_usd_micros=1_000_000)
    one.submit(cpus=4, constraints=AT_HOME)
    run_all(one)
    rich, poor = one.submit(cpus=2, constraints=LEAVE), one.submit("poor", cpus=2, constraints=LEAVE)
    started = run_all(one)
    assert rich in started
    assert poor not in started
    assert one.job(rich).attempts[-1].price_usd_micros_per_hour == 2_000_000
    assert one.facts.tenants["t"].reserved_usd_micros == 2_000_000


def test_what_is_reserved_is_not_lent_and_for_whom_it_is_reserved_does_not_borrow() -> None:
    one = world(reservations=(Reservation(tenant="owner", workers=1),))
    one.submit(cpus=4, constraints=AT_HOME)
    run_all(one)
    jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(2)]
    (borrower,) = run_all(one)
    assert borrower in jobs
    ours = one.submit("owner", cpus=4, constraints=LEAVE)
    assert run_all(one) == [ours]
    assert [one.job(name).attempts[-1].borrowed for name in (borrower, ours)] == [True, False]


def test_leave_to_borrow_needs_a_home_and_work_that_may_be_stopped() -> None:
    one = world()
    for spec, text in (
        ({"constraints": Constraints(borrow=True)}, "name the job's own pools"),
        ({"constraints": LEAVE, "tier": Tier.realtime}, "preemptible, and not realtime"),
        ({"constraints": LEAVE, "preemptible": False}, "preemptible, and not realtime"),
    ):
        with pytest.raises(Refused, match=text):
            one.submit(**spec)


def test_a_job_that_was_sent_to_a_pool_stays_there_and_nobody_sends_one_to_a_pool_that_it_could_only_borrow() -> None:
    one = world()
    one.pool("second", cpus=4)
    both = Constraints(pools=("home", "second"), borrow=True)
    one.submit(cpus=4, constraints=AT_HOME)
    routed = one.submit(cpus=4, constraints=both)
    one.ask(cmd.PatchJob(job=routed, by="op", pool="home"))
    assert routed not in run_all(one)
    draft = Draft(action={"kind": "reroute", "pool": "far", "job": routed})
    assert preview(one.state, (draft,), one.now_ms)[0].ruling is Ruling.deny


def test_an_owner_behind_work_that_is_no_borrower_takes_nothing_back() -> None:
    one = world(far=1)
    one.submit(cpus=4, constraints=AT_HOME)
    owner = one.submit("owner", cpus=3, constraints=OWNER)
    run_all(one)
    borrower = one.submit(cpus=1, constraints=LEAVE)
    assert run_all(one) == [borrower]
    one.tick(MIN_RUN_S)
    one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    assert stops(one) == []
    assert one.job(owner).state in ON_WORKER


def test_while_too_much_is_sick_nothing_is_taken_back_and_nothing_lent() -> None:
    one = world(home=1, far=2)
    one.submit(cpus=4, constraints=AT_HOME)
    one.submit(cpus=4, constraints=LEAVE)
    run_all(one)
    one.tick(MIN_RUN_S)
    one.facts.health_halt = "half of the workers are sick"
    owner = one.submit("owner", cpus=4, gang=2, constraints=OWNER)
    one.submit(cpus=4, constraints=LEAVE)
    assert run_all(one) == []
    assert stops(one) == []
    one.facts.health_halt = ""
    run_all(one)
    assert len(stops(one)) == 1
    obey(one)
    assert run_all(one) == [owner]


def test_why_says_where_a_job_may_borrow() -> None:
    one = world()
    name = one.submit(cpus=4, constraints=LEAVE)
    found = explain(one.state, one.job(name), one.now_ms)
    assert found.pools["far"][0].text == "allowed pools are home; it may borrow what idles here"


def would_fit(world: World, name: str) -> bool:
    """Whether an owner would have room if nobody borrowed: plainly counted."""
    job, rooms = world.job(name), 0
    for worker in (world.facts.workers[one] for one in world.facts.pools["far"].workers):
        if not takes_work(worker) or worker.reserved_for not in ("", name):
            continue
        cpu, memory, gpus = worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices)
        for other in (world.job(one) for one in worker.running):
            if other.attempts[-1].borrowed:
                cpu += other.resources.cpu_milli * other.attempts[-1].ranks_on(worker.id)
        rooms += times(cpu, memory, gpus, job.resources)
    return rooms >= job.spec.gang


def live_on(
    one: World,
    rng: random.Random,
    owners: Collection[str],
    since_ms: dict[str, int],
    fits: Callable[[World, str], bool] = would_fit,
) -> None:
    """Some jobs end, twenty seconds pass; no owner waits for borrowers for longer than their minimum run.

    `since_ms` keeps since when owners wait that would fit, says `fits`, if nobody borrowed.
    """
    for name in list(one.facts.running):
        if one.job(name).stop_cause is None and rng.random() < 0.1:
            one.end(name)
    one.tick(20)
    started = run_all(one)
    while any(one.job(name).stop_cause is not None for name in one.facts.running):
        obey(one)
        started += run_all(one)
    for name in [name for name in owners if one.job(name).state in WAITING]:
        if not fits(one, name) or any(other in owners for other in started):
            since_ms.pop(name, None)
        waited_ms = one.now_ms - since_ms.setdefault(name, one.now_ms)
        assert waited_ms <= limits.PREEMPT_MIN_RUN_MS, name


@pytest.mark.parametrize("seed", range(10))
def test_however_it_goes_borrowers_keep_an_owner_waiting_no_longer_than_promised(seed: int) -> None:
    """An owner for whom there would be room without borrowers has it after their minimum run time, unless another
    owner goes first; here work that is stopped goes at once, and time passes in steps of 20 s."""
    rng = random.Random(seed)
    one = world(home=1, far=4)
    owners: list[str] = []
    since_ms: dict[str, int] = {}
    for _ in range(150):
        for _ in range(rng.randrange(3)):
            cpus, gang = rng.choice([1, 2, 4]), rng.choice([1, 1, 1, 2, 3])
            if rng.random() < 0.35:
                owners.append(one.submit("owner", cpus=cpus, gang=gang, constraints=OWNER))
            else:
                one.submit(cpus=cpus, gang=gang, constraints=LEAVE)
        live_on(one, rng, owners, since_ms)
    assert any(event.borrowed for event in one.events if isinstance(event, JobStarted))
    assert stops(one)
    one.assert_sound()
