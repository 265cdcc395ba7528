"""Gangs: all ranks or none, nobody starves behind small jobs, and where the ranks meet."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from agentorch.core import explain, gangs
from agentorch.core.demand import demand
from agentorch.core.plan import plan
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Job, JobSpec, JobState, Reason, Resources
from tests.core.world import World, refold

DOLLAR = 1_000_000


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()


def workers_of(world: World, job: str) -> list[str]:
    return [rank.worker for rank in world.job(job).attempts[-1].ranks]


# -- all or nothing


def test_all_ranks_start_in_one_event_or_none_does(world: World) -> None:
    world.pool(workers=4)
    small = world.submit()
    gang = world.submit(gang=4)
    assert world.schedule() == [small]
    assert world.job(gang).state is JobState.queued
    assert sum(worker.free_cpu_milli for worker in world.facts.workers.values()) == 3_000
    world.end(small)
    assert world.schedule() == [gang]
    (started,) = [event for event in world.events if isinstance(event, ev.JobStarted) and event.job == gang]
    assert len(started.ranks) == 3
    assert sorted(workers_of(world, gang)) == ["cpu-0", "cpu-1", "cpu-2", "cpu-3"]
    assert all(worker.free_cpu_milli == 0 for worker in world.facts.workers.values())


def test_two_gangs_that_would_deadlock_half_started_run_one_after_the_other(world: World) -> None:
    world.pool(workers=4)
    first, second = world.submit(gang=3), world.submit(gang=3)
    assert world.schedule() == [first]
    assert world.schedule() == []
    world.end(first)
    assert world.schedule() == [second]


def test_ranks_share_a_worker_where_they_fit_and_the_fullest_place_is_left_the_least(world: World) -> None:
    world.pool(workers=3, cpus=4)
    fills = world.submit(cpus=2)
    assert world.schedule() == [fills]
    gang = world.submit(gang=6)
    assert world.schedule() == [gang]
    assert workers_of(world, gang) == ["cpu-1"] * 4 + ["cpu-0"] * 2  # the half that was left, not a new worker


def test_each_rank_has_gpus_of_its_own(world: World) -> None:
    world.pool("gpu", workers=2, cpus=8, gpus=4)
    gang = world.submit(gang=6, gpus=1)
    assert world.schedule() == [gang]
    ranks = world.job(gang).attempts[-1].ranks
    assert len({device for rank in ranks for device in rank.devices}) == 6
    assert gangs.visible_devices(world.job(gang).attempts[-1], 0) == tuple(rank.devices[0] for rank in ranks)
    world.end(gang)
    assert all(len(worker.free_devices) == 4 for worker in world.facts.workers.values())


def test_a_gang_stays_in_one_pool(world: World) -> None:
    world.pool("a", workers=2, max_workers=2)
    world.pool("b", workers=3, max_workers=3)
    gang = world.submit(gang=3)
    assert world.schedule() == [gang]
    assert world.job(gang).attempts[-1].pool == "b"


def test_money_and_fair_share_are_those_of_all_ranks(world: World) -> None:
    world.pool(workers=4, price_usd_micros_per_hour=DOLLAR)
    world.ask(
        cmd.ConfigureTenant(spec=msgspec.structs.replace(world.facts.tenants["t"].spec, hard_cap_usd_micros=3 * DOLLAR))
    )
    dear = world.submit(gang=4, max_duration_ms=limits.HOUR_MS)
    assert world.schedule() == []
    found = explain.reason(world.state, world.job(dear), world.now_ms)
    assert found is not None
    assert found[0] is Reason.budget
    assert "$4.00" in found[1]
    gang = world.submit(gang=3, max_duration_ms=limits.HOUR_MS)
    assert world.schedule() == [gang]
    assert world.facts.tenants["t"].reserved_usd_micros == 3 * DOLLAR
    world.running(gang)
    world.now_ms += limits.HOUR_MS // 2
    world.end(gang)
    assert world.job(gang).cost_usd_micros == 3 * DOLLAR // 2
    tenant = world.facts.tenants["t"]
    assert (tenant.reserved_usd_micros, tenant.spent_usd_micros) == (0, 3 * DOLLAR // 2)
    assert tenant.usage == pytest.approx(3 * 1800 * 2**0.25)  # grown to the middle of half an hour, half-life one hour


def test_a_plan_says_what_a_gang_costs_and_that_it_fits(world: World) -> None:
    world.pool("few", workers=2, max_workers=2)
    world.pool("dear", workers=4, price_usd_micros_per_hour=DOLLAR)
    dear, few = plan(world.state, "t", JobSpec(command=("true",), gang=4), world.now_ms)
    assert (dear.pool, dear.feasible, dear.free_now) == ("dear", True, True)
    assert (dear.price_usd_micros_per_hour, dear.max_cost_usd_micros) == (4 * DOLLAR, 4 * DOLLAR)
    assert (few.feasible, few.text) == (
        False,
        "needs 4 x 1 cpu at once; a worker of few has 1 cpu, 8.0 GiB, and 2 at most hold 2",
    )


def test_explain_says_what_a_gang_lacks(world: World) -> None:
    world.pool(workers=4)
    for _ in range(2):
        world.submit()
    world.schedule()
    gang = world.submit(gang=4)
    found = explain.reason(world.state, world.job(gang), world.now_ms)
    assert found is not None
    assert found[0] is Reason.no_capacity
    assert "waits for 4 x 1 cpu at once in cpu" in found[1]
    assert "there is room for 2 of 4 ranks" in found[1]


def test_a_gang_that_waits_needs_as_many_workers_as_it_has_ranks(world: World) -> None:
    world.pool(workers=1, max_workers=8, cpus=2)
    world.submit(gang=6)
    assert demand(world.state, world.now_ms).need == {"cpu": 3}
    other = world.submit(gang=2)
    assert world.schedule() == [other]
    assert demand(world.state, world.now_ms).need == {"cpu": 4}


# -- nobody starves


def test_a_gang_does_not_starve_behind_small_jobs(world: World) -> None:
    """Small jobs keep coming, each as soon as another ends: without room kept for it the gang would never start."""
    world.pool(workers=4)
    for _ in range(4):
        world.submit()
    world.schedule()
    gang = world.submit(gang=4)
    started = False
    for turn in range(60):
        world.now_ms += 5_000
        world.submit(priority=60)
        small = [name for name in world.facts.running if name != gang]
        if small:
            world.end(small[turn % len(small)])
        started = gang in world.schedule() or started
        if started:
            break
    assert started
    assert world.facts.reserved == {}


def test_room_is_kept_on_as_many_workers_as_the_gang_needs_and_no_more(world: World) -> None:
    world.pool(workers=4, cpus=2, max_workers=4)
    lengths_ms = (90_000, 400_000, 120_000, 500_000)
    long = [world.submit(cpus=1.5, max_duration_ms=ms) for ms in lengths_ms]
    assert world.schedule() == long
    gang = world.submit(gang=4)
    world.now_ms += limits.RESERVE_AFTER_MS
    world.schedule()
    assert world.facts.reserved == {gang: ["cpu-0", "cpu-2"]}  # those that are free first
    assert [world.facts.workers[name].reserved_ranks for name in ("cpu-0", "cpu-2")] == [2, 2]
    world.end(long[0])
    gap, late = world.submit(max_duration_ms=30_000), world.submit(max_duration_ms=300_000)
    assert world.schedule() == [gap]  # done before the other worker is free
    found = explain.reason(world.state, world.job(late), world.now_ms)
    assert found is not None
    assert found[0] is Reason.reserved
    assert gang in found[1]
    world.end(gap)
    world.end(long[2])
    assert world.schedule()[0] == gang
    assert sorted(set(workers_of(world, gang))) == ["cpu-0", "cpu-2"]


def test_a_kept_worker_that_goes_is_replaced(world: World) -> None:
    world.pool(workers=3)
    busy = [world.submit(cpus=0.9) for _ in range(3)]
    world.schedule()
    gang = world.submit(gang=2)
    world.now_ms += limits.RESERVE_AFTER_MS
    world.schedule()
    kept = list(world.facts.reserved[gang])
    assert len(kept) == 2
    world.ask(cmd.CordonWorker(worker=kept[0], cordoned=True, by="x"))
    assert len(world.facts.reserved[gang]) == 1
    world.schedule()
    assert sorted(world.facts.reserved[gang]) == sorted({"cpu-0", "cpu-1", "cpu-2"} - {kept[0]})
    for job in busy:
        world.end(job)
    assert world.schedule() == [gang]


def test_a_pool_that_is_too_small_as_it_stands_keeps_nothing_idle(world: World) -> None:
    world.pool(workers=2, max_workers=8)
    world.submit()
    world.schedule()
    world.submit(gang=4)
    world.now_ms += limits.RESERVE_AFTER_MS
    world.schedule()
    assert world.facts.reserved == {}
    small = world.submit()
    assert world.schedule() == [small]


# -- where they meet


def test_gangs_that_live_on_a_node_never_meet_at_the_same_port(world: World) -> None:
    world.pool(workers=8)
    names = [world.submit(gang=2) for _ in range(4)]
    assert world.schedule() == names
    ports = [world.job(name).attempts[-1].port for name in names]
    assert ports == [limits.GANG_PORT_FIRST + index for index in range(4)]
    world.end(names[0])
    again = world.submit(gang=2)
    assert world.schedule() == [again]
    assert world.job(again).attempts[-1].port == limits.GANG_PORT_FIRST + 4  # not the one that was just left
    assert sorted(world.facts.ports["local"]) == [limits.GANG_PORT_FIRST + index for index in (1, 2, 3, 4)]
    for name in (*names[1:], again):
        world.end(name)
    assert world.facts.ports == {}


def test_ports_go_round_and_none_is_given_twice(world: World) -> None:
    facts = world.facts
    facts.last_port = limits.GANG_PORT_FIRST + limits.GANG_PORTS - 1
    facts.ports["n"] = [limits.GANG_PORT_FIRST]
    assert gangs.free_port(facts, "n") == limits.GANG_PORT_FIRST + 1
    assert gangs.free_port(facts, "m") == limits.GANG_PORT_FIRST
    facts.ports["n"] = list(range(limits.GANG_PORT_FIRST, limits.GANG_PORT_FIRST + limits.GANG_PORTS))
    assert gangs.free_port(facts, "n") == 0
    facts.last_port = 0  # as the ledger has it
    facts.ports.clear()


def test_every_rank_is_told_where_the_others_are(world: World) -> None:
    world.pool(workers=3)
    gang = world.submit(gang=3)
    assert world.schedule() == [gang]
    told = gangs.environments(world.facts, world.job(gang).attempts[-1])
    assert [one["AGENTORCH_RANK"] for one in told] == [one["RANK"] for one in told] == ["0", "1", "2"]
    assert [one["LOCAL_RANK"] for one in told] == ["0", "1", "2"]
    assert told[2] | {"x": ""} == {
        "AGENTORCH_RANK": "2",
        "AGENTORCH_WORLD_SIZE": "3",
        "AGENTORCH_GANG_NODES": "local,local,local",
        "AGENTORCH_GANG_ADDRESSES": "127.0.0.1,127.0.0.1,127.0.0.1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(limits.GANG_PORT_FIRST),
        "WORLD_SIZE": "3",
        "RANK": "2",
        "LOCAL_RANK": "2",
        "LOCAL_WORLD_SIZE": "3",
        "NODE_RANK": "0",
        "GROUP_RANK": "0",
        "x": "",
    }


def test_an_old_ledger_knows_no_gangs_and_folds_as_before() -> None:
    """A reservation and a start as they were written before there were ranks."""
    world = World()
    world.tenant()
    world.pool()
    job = world.submit()
    old = [
        {"event": "worker-reserved", "at_ms": world.now_ms, "worker": "cpu-0", "job": job},
        {
            "event": "job-started",
            "at_ms": world.now_ms,
            "job": job,
            "attempt": 1,
            "worker": "cpu-0",
            "pool": "cpu",
            "resources": {},
        },
    ]
    events = msgspec.convert(old, list[ev.Event])
    state = refold([*world.events, events[0]])
    assert state.facts.reserved == {job: ["cpu-0"]}
    state = refold([*world.events, *events])
    found: Job = state.facts.jobs[job]
    assert (found.state, found.attempts[-1].members, found.resources) == (
        JobState.starting,
        (found.attempts[-1],),
        Resources(),
    )
    assert state.facts.reserved == {}
