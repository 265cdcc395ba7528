"""What is lent comes back: at a cost that does not grow with the pool, also beside reservations, and not for ever."""

from __future__ import annotations

import random

import pytest

from agentorch.core.explain import explain
from agentorch.core.lending import borrowers_of
from agentorch.core.takeback import Takeback
from agentorch.core.turn import Turn
from agentorch.model.fleet import Reservation
from agentorch.model.jobs import WAITING, Cause, Checkpoint, Tier
from tests.core.test_lending import LEAVE, MIN_RUN_S, OWNER, live_on, obey, run_all, stops, world
from tests.core.world import World


def all_borrowed(workers: int, **far: object) -> World:
    one = world(home=0, far=workers, max_workers=workers, **far)
    for _ in range(workers):
        one.submit(cpus=4, constraints=LEAVE)
    while run_all(one):
        pass
    return one


def looks(one: World, owners: list[str]) -> tuple[int, list[bool]]:
    pool = one.facts.pools["far"]
    taking = Takeback(Turn(one.state, one.now_ms), pool, list(borrowers_of(one.facts, "far")))
    made = [taking.make(one.job(name)) for name in owners]
    return taking.looks, made


@pytest.mark.parametrize("gang", [1, 3])
def test_taking_back_looks_at_what_is_taken_back_however_big_the_pool_is(gang: int) -> None:
    counts = []
    for workers in (20, 120):
        one = all_borrowed(workers)
        one.tick(MIN_RUN_S)
        owners = [one.submit("owner", cpus=4, gang=gang, constraints=OWNER) for _ in range(5)]
        found, made = looks(one, owners)
        assert all(made)
        counts.append(found)
    assert counts[0] == counts[1]


def test_a_long_line_of_owners_has_its_pool_back_in_one_pass() -> None:
    one = all_borrowed(40)
    one.tick(MIN_RUN_S)
    for _ in range(40):
        one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    assert len(stops(one)) == 40


def test_owners_that_wait_for_young_borrowers_are_not_searched_for_one_by_one() -> None:
    one = all_borrowed(60)
    sizes = [2 + at / 100 for at in range(30)]
    fitting = [one.submit("owner", cpus=size, constraints=OWNER) for size in sizes]
    found, made = looks(one, fitting)
    assert all(made)
    assert found <= len(fitting) ** 2
    one.tick(MIN_RUN_S)
    too_big = [one.submit("owner", cpus=4, gang=61 + at, constraints=OWNER) for at in range(30)]
    found, made = looks(one, too_big)
    assert not any(made)
    assert found <= 60


def test_with_room_reserved_for_others_as_much_is_taken_back_as_owners_need() -> None:
    one = all_borrowed(6, reservations=(Reservation(tenant="somebody", workers=2),))
    assert len(one.facts.borrowed) == 4
    one.tick(MIN_RUN_S)
    owners = [one.submit("owner", cpus=4, constraints=OWNER) for _ in range(3)]
    run_all(one)
    assert len(stops(one)) == 3
    obey(one)
    assert sorted(run_all(one)) == owners
    one.assert_sound()


def test_whom_room_is_reserved_for_borrows_what_it_has_beyond_that_and_gives_it_back() -> None:
    one = world(home=0, far=4, reservations=(Reservation(tenant="t", cpu_milli=4_000),))
    jobs = [one.submit(cpus=4, constraints=LEAVE) for _ in range(4)]
    while run_all(one):
        pass
    assert sum(one.job(name).attempts[-1].borrowed for name in jobs) == 3
    one.tick(MIN_RUN_S)
    owners = [one.submit("owner", cpus=4, constraints=OWNER) for _ in range(4)]
    run_all(one)
    assert len(stops(one)) == 3
    obey(one)
    assert len(run_all(one)) == 3
    assert sum(one.job(name).state in WAITING for name in owners) == 1
    one.assert_sound()


def test_what_is_reserved_for_a_job_is_its_own_while_owners_wait_for_the_rest() -> None:
    one = all_borrowed(4, reservations=(Reservation(tenant="ours", workers=1),))
    one.tenant("ours")
    one.submit("owner", cpus=4, constraints=OWNER)
    ours = [one.submit("ours", cpus=4, constraints=LEAVE) for _ in range(2)]
    assert run_all(one) == ours[:1]
    assert not one.job(ours[0]).attempts[-1].borrowed
    one.assert_sound()


@pytest.mark.parametrize("saves", [True, False])
def test_work_that_saves_nothing_does_not_begin_again_for_ever(saves: bool) -> None:
    """An owner comes every two minutes, and stays for ten seconds."""
    one = world(home=0, far=1)
    borrower = one.submit(cpus=4, constraints=LEAVE, checkpoint=Checkpoint() if saves else None)
    for _ in range(60):
        run_all(one)
        one.tick(120)
        owner = one.submit("owner", cpus=4, constraints=OWNER)
        run_all(one)
        obey(one)
        run_all(one)
        one.tick(10)
        one.end(owner)
    attempts = one.job(borrower).attempts_made
    assert attempts == 60 if saves else attempts <= 7


def test_one_that_must_wait_before_it_borrows_again_is_not_in_the_way_of_those_behind_it() -> None:
    one = world(home=0, far=1)
    first = one.submit(cpus=4, constraints=LEAVE)
    run_all(one)
    one.tick(MIN_RUN_S)
    owner = one.submit("owner", cpus=4, constraints=OWNER)
    run_all(one)
    obey(one)
    assert run_all(one) == [owner]
    second = one.submit(cpus=4, constraints=LEAVE)
    one.end(owner)
    assert run_all(one) == [second]
    one.end(second)
    assert run_all(one) == []
    text = explain(one.state, one.job(first), one.now_ms).pools["far"][0].text
    assert text.endswith("it may borrow what idles here once it has waited 2 min: it saves nothing")
    one.tick(120)
    assert run_all(one) == [first]


def would_fit(one: World, name: str) -> bool:
    """Whether an owner of a whole worker would have one if nobody borrowed: plainly counted."""
    free = ours = 0
    for worker in (one.facts.workers[each] for each in one.facts.pools["far"].workers):
        jobs = [one.job(other) for other in worker.running if not one.job(other).attempts[-1].borrowed]
        ours += any(job.tenant == "ours" for job in jobs)
        free += not jobs and worker.reserved_for in ("", name)
    return free > max(0, 1 - ours)


@pytest.mark.parametrize("seed", range(6))
def test_beside_a_reservation_borrowers_keep_an_owner_waiting_no_longer_than_promised(seed: int) -> None:
    rng = random.Random(seed)
    one = world(home=1, far=5, reservations=(Reservation(tenant="ours", workers=1),))
    one.tenant("ours")
    owners: list[str] = []
    since_ms: dict[str, int] = {}
    for _ in range(120):
        for _ in range(rng.randrange(3)):
            if rng.random() < 0.35:
                owners.append(one.submit("owner", cpus=4, constraints=OWNER))
            else:
                one.submit(rng.choice(["t", "t", "ours"]), cpus=4, constraints=LEAVE, checkpoint=Checkpoint())
        live_on(one, rng, owners, since_ms, would_fit)
    assert stops(one)
    one.assert_sound()


def test_what_gives_way_within_a_pass_for_other_reasons_is_not_stopped_twice() -> None:
    one = world(home=0, far=2)
    saving = one.submit(cpus=4, constraints=LEAVE, checkpoint=Checkpoint(), tier=Tier.batch)
    own = one.submit("owner", cpus=4, constraints=OWNER, checkpoint=Checkpoint(), tier=Tier.batch)
    assert sorted(run_all(one)) == sorted([saving, own])
    one.tick(3600)
    one.submit("owner", cpus=4, gang=2, constraints=OWNER)
    one.submit("owner", cpus=2, constraints=OWNER)
    run_all(one)
    names = [stop.job for stop in stops(one)]
    assert len(names) == len(set(names))
    assert {stop.cause for stop in stops(one)} == {Cause.preempted}
