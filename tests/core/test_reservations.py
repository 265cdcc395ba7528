"""Reservations: room of a pool that only a tenant's or a tier's work may take (G10)."""

from __future__ import annotations

import random

import msgspec
import pytest

from agentorch.core.explain import explain, reason
from agentorch.core.guardrails import preview
from agentorch.core.invariants import breaches
from agentorch.core.predicates import Reckoned
from agentorch.core.reservations import Kept
from agentorch.core.starts import foretell
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import Reservation
from agentorch.model.jobs import ON_WORKER, Cause, Constraints, Reason, Tier
from agentorch.model.proposals import Draft, Ruling
from tests.core.world import World


def world(*reserved: Reservation, workers: int = 4, gpus: int = 0) -> World:
    found = World()
    found.pool("a", workers=workers, max_workers=8, cpus=4, gpus=gpus, reservations=reserved)
    for tenant in ("mine", "other", "third"):
        found.tenant(tenant)
    return found


MINE = Reservation(tenant="mine", workers=2)


def test_nobody_else_takes_reserved_workers_and_the_reason_names_whose_they_are() -> None:
    one = world(MINE)
    jobs = [one.submit("other", cpus=4) for _ in range(4)]
    assert one.schedule() == jobs[:2]
    code, text = reason(one.state, one.job(jobs[2]), one.now_ms) or (None, "")
    assert (code, text) == (Reason.reserved, "a reserves 2 workers for tenant mine")
    checks = explain(one.state, one.job(jobs[2]), one.now_ms).pools["a"]
    assert (checks[-1].code, checks[-1].ok) == ("room", False)
    ours = [one.submit("mine", cpus=4) for _ in range(3)]
    assert one.schedule() == ours[:2]


def test_whoever_it_is_reserved_for_may_use_more_while_enough_stays_for_others() -> None:
    one = world(MINE, Reservation(tier="realtime", workers=1))
    jobs = [one.submit("mine", cpus=4) for _ in range(4)]
    assert one.schedule() == jobs[:3]
    urgent = one.submit("third", cpus=4, tier=Tier.realtime)
    assert one.schedule() == [urgent]


def test_reserved_workers_are_whole() -> None:
    one = world(MINE, workers=3)
    small = [one.submit("other", cpus=1), one.submit("other", cpus=1)]
    assert one.schedule() == small
    assert len({one.job(name).attempts[-1].worker for name in small}) == 1
    big = one.submit("other", cpus=4)
    assert one.schedule() == []
    assert (reason(one.state, one.job(big), one.now_ms) or ("", ""))[0] is Reason.reserved
    ours = one.submit("mine", cpus=4, gang=2)
    assert one.schedule() == [ours]


def test_small_work_of_whom_it_is_reserved_for_may_share_and_costs_it_nothing() -> None:
    one = world(MINE, workers=3)
    other = one.submit("other", cpus=1)
    one.schedule()
    ours = one.submit("mine", cpus=1)
    one.schedule()
    assert one.job(ours).attempts[-1].worker == one.job(other).attempts[-1].worker
    assert one.submit("other", cpus=4) not in one.schedule()
    whole = [one.submit("mine", cpus=4) for _ in range(2)]
    assert one.schedule() == whole


def test_gpus_are_reserved_wherever_they_are() -> None:
    one = world(Reservation(tenant="mine", gpus=8, cpu_milli=4_000), gpus=4)
    others = [one.submit("other", gpus=2, cpus=1) for _ in range(6)]
    assert one.schedule() == others[:4]
    assert one.schedule() == []
    ours = [one.submit("mine", gpus=4, cpus=2) for _ in range(2)]
    assert one.schedule() == ours
    one.running(others[0])
    one.end(others[0])
    assert one.schedule() == [others[4]]


def test_reserved_gpus_are_found_beside_reserved_workers() -> None:
    one = world(Reservation(tenant="mine", workers=2), Reservation(tier="realtime", gpus=4), gpus=4)
    others = [one.submit("other", gpus=4, cpus=1) for _ in range(4)]
    assert one.schedule() == others[:1]
    urgent = one.submit("third", gpus=4, cpus=1, tier=Tier.realtime)
    assert one.schedule() == [urgent]
    ours = [one.submit("mine", gpus=1, cpus=1) for _ in range(8)]
    assert one.schedule() == ours


def test_a_gang_takes_no_reserved_worker() -> None:
    one = world(MINE)
    three = one.submit("other", cpus=4, gang=3)
    assert one.schedule() == []
    assert (reason(one.state, one.job(three), one.now_ms) or ("", ""))[0] is Reason.reserved
    two = one.submit("other", cpus=4, gang=2)
    assert one.schedule() == [two]
    ours = one.submit("mine", cpus=4, gang=2)
    assert one.schedule() == [ours]


def test_room_that_is_kept_for_an_outsider_does_not_hold_up_those_it_is_reserved_for() -> None:
    one = world(MINE)
    small = [one.submit("other", cpus=2) for _ in range(4)]
    assert one.schedule() == small
    wide = one.submit("other", cpus=4, gang=4)
    one.tick(limits.RESERVE_AFTER_MS / 1000 + 1)
    assert one.schedule() == []
    ours = [one.submit("mine", cpus=4) for _ in range(2)]
    assert one.schedule() == ours
    assert one.job(wide).state not in ON_WORKER


def test_when_workers_are_missing_a_reservation_is_served_with_what_is_there() -> None:
    one = world(MINE, Reservation(tenant="third", workers=2))
    for name in ("a-0", "a-1", "a-2"):
        one.ask(cmd.CordonWorker(worker=name, cordoned=True, by="op", reason="broken"))
    other, ours = one.submit("other", cpus=4), one.submit("mine", cpus=4)
    assert one.schedule() == [ours]
    assert one.job(other).state not in ON_WORKER


def test_nothing_new_keeps_a_worker_from_becoming_empty_that_is_to_be_reserved() -> None:
    one = world(workers=2)
    first, filler, second = jobs = [one.submit("other", cpus=cpus) for cpus in (0.5, 3.5, 0.5)]
    assert one.schedule() == jobs
    for name in jobs:
        one.running(name)
    one.end(filler)
    spec = one.facts.pools["a"].spec
    ours = Reservation(tenant="mine", workers=1)
    one.ask(cmd.ConfigurePool(spec=msgspec.structs.replace(spec, reservations=(ours,))))
    one.tick(1)
    late = one.submit("other", cpus=0.5)
    assert one.schedule() == [], "there is room beside both, and one of them is to become empty"
    one.end(first)
    assert one.schedule() == [late]
    assert one.job(late).attempts[-1].worker == one.job(second).attempts[-1].worker
    urgent = one.submit("mine", cpus=4)
    assert one.schedule() == [urgent]
    one.assert_sound()


def test_a_new_reservation_and_a_worker_that_goes_leave_what_runs_alone() -> None:
    one = world()
    jobs = [one.submit("other", cpus=4) for _ in range(4)]
    one.schedule()
    spec = one.facts.pools["a"].spec
    one.now_ms += 1
    one.ask(cmd.ConfigurePool(spec=msgspec.structs.replace(spec, reservations=(MINE,))))
    assert breaches(one.state) == []
    one.running(jobs[0])
    one.end(jobs[0])
    more = one.submit("other", cpus=4)
    assert one.schedule() == []
    ours = one.submit("mine", cpus=4)
    assert one.schedule() == [ours]
    assert one.job(more).state not in ON_WORKER
    one.assert_sound()


@pytest.mark.parametrize(
    ("reserved", "text"),
    [
        ((Reservation(workers=1),), "a reservation names a tenant, a tier, or both"),
        ((Reservation(tenant="x"),), "the reservation for x is either of workers, or of gpus and cpus"),
        ((Reservation(tenant="x", workers=1, gpus=1),), "the reservation for x is either of workers"),
        (
            (Reservation(tenant="x", workers=5), Reservation(tier="flex", workers=4)),
            "9 workers are reserved; there are",
        ),
        ((Reservation(tenant="x", workers=7), Reservation(tier="flex", gpus=9)), "are reserved; there are at most"),
    ],
)
def test_what_can_not_be_kept_is_refused(reserved: tuple[Reservation, ...], text: str) -> None:
    with pytest.raises(Refused, match=text):
        world(*reserved, gpus=1)


def test_shrinking_leaves_what_is_reserved() -> None:
    one = world(MINE, workers=4)
    one.now_ms += limits.DAY_MS
    draft = Draft(action={"kind": "scale", "pool": "a", "workers": 3})
    assert not [note for note in preview(one.state, (draft,), one.now_ms)[0].notes if note.rule == "G10"]
    for _ in range(2):
        one.submit("other", cpus=4)
    one.schedule()
    notes = [note for note in preview(one.state, (draft,), one.now_ms)[0].notes if note.rule == "G10"]
    assert [note.ruling for note in notes] == [Ruling.deny]
    assert "reserves 2 workers for tenant mine" in notes[0].text


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_reserved_room_is_taken(seed: int) -> None:
    """`World.ask` checks the invariant after every command."""
    rng = random.Random(seed)
    one = world(
        Reservation(tenant="mine", workers=rng.randint(1, 2)),
        *([Reservation(tier="realtime", gpus=rng.choice([2, 4]), cpu_milli=2_000)] if rng.random() < 0.7 else []),
        workers=5,
        gpus=4,
    )
    for _ in range(150):
        match rng.randrange(6):
            case 0 | 1 | 2:
                one.submit(
                    rng.choice(["mine", "other", "third"]),
                    cpus=rng.choice([0.5, 1, 4]),
                    gpus=rng.choice([0, 1, 2, 4]),
                    gang=rng.choice([1, 1, 1, 2, 3]),
                    tier=rng.choice([Tier.realtime, Tier.standard, Tier.batch]),
                    max_duration_ms=rng.choice([None, 60_000]),
                    constraints=Constraints(),
                )
            case 3:
                for name in rng.sample(list(one.facts.running), min(2, len(one.facts.running))):
                    one.running(name)
                    one.end(name, rng.choice([Cause.completed, Cause.error]), 0)
            case 4:
                worker = rng.choice(list(one.facts.workers))
                one.ask(cmd.CordonWorker(worker=worker, cordoned=rng.random() < 0.3, by="op", reason="x"))
            case _:
                one.tick(rng.choice([1, 31, 400]))
        one.schedule()
    one.assert_sound()


def test_a_forecast_and_kept_room_leave_out_what_is_reserved_for_others() -> None:
    one = world(MINE, workers=3)
    hour = 3_600_000
    ours = one.submit("mine", cpus=4, max_duration_ms=hour // 4)
    other = one.submit("other", cpus=4, max_duration_ms=hour)
    assert sorted(one.schedule()) == [ours, other]
    for name in (ours, other):
        one.running(name)
    waits = one.submit("other", cpus=4)
    found = foretell(one.state, one.job(waits), one.now_ms)
    assert found.start_p50_ms is None or found.start_p50_ms > hour // 4
    one.tick(limits.RESERVE_AFTER_MS / 1000 + 1)
    one.schedule()
    assert one.facts.reserved.get(waits, []) in ([], [one.job(other).attempts[-1].worker])


def test_what_is_reckoned_for_a_pass_keeps_up_with_what_starts() -> None:
    """As if it were reckoned anew after each start."""
    dice = random.Random(3)
    found = world(Reservation(tenant="mine", workers=2), Reservation(tenant="other", cpu_milli=3_000), workers=6)
    reckoned = Reckoned(found.facts)
    pool = found.facts.pools["a"]
    for _ in range(30):
        reckoned.kept(pool)
        found.submit(dice.choice(("mine", "other", "third")), cpus=dice.choice((1, 2, 4)))
        for job in found.schedule():
            reckoned.started([found.facts.workers[found.job(job).attempts[-1].worker]])
        mine, fresh = reckoned.kept(pool), Kept(found.facts, pool)
        assert (mine.used, mine.alone, mine.of, mine.free, mine.empty) == (
            fresh.used,
            fresh.alone,
            fresh.of,
            fresh.free,
            fresh.empty,
        )
    found.assert_sound()
