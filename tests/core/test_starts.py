"""When a job that waits is expected to start: as it comes about where run times stay as before, else unknown."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from agentorch.core.plan import unsubmitted
from agentorch.core.prospect import prospect
from agentorch.core.starts import StartForecast, foretell
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import ON_WORKER, JobSpec, Resources, Tier
from tests.core import test_random
from tests.core.world import World, facts_bytes

MINUTE = 60_000


def fleet(workers: int = 1, *, cpus: int = 1, history: bool = True, **tenant: Any) -> World:
    """Every job has run for a minute so far."""
    world = World()
    world.pool(workers=workers, cpus=cpus)
    world.tenant(**tenant)
    world.tenant("u")
    for _ in range(10 if history else 0):
        world.submit()
        run_all(world)
    return world


def run_all(world: World) -> dict[str, int]:
    """Until nothing waits, every job for a minute; when each started, from now on."""
    began_ms, started = world.now_ms, {}
    while True:
        world.schedule()
        for name in world.facts.running:
            if name not in started:
                world.running(name)
                started[name] = world.now_ms - began_ms
        if not world.facts.running:
            return started
        first = min(
            world.facts.running, key=lambda name: (world.job(name).attempts[-1].ordered_ms, world.job(name).number)
        )
        world.now_ms = world.job(first).attempts[-1].ordered_ms + MINUTE
        world.end(first)


def told(world: World, name: str) -> StartForecast:
    before = facts_bytes(world.state)
    found = foretell(world.state, world.job(name), world.now_ms)
    assert found == foretell(world.state, world.job(name), world.now_ms)
    assert facts_bytes(world.state) == before
    return found


def begin(world: World) -> None:
    """Everything that may start has, just now."""
    for name in world.schedule():
        world.running(name)


def test_a_job_for_which_there_is_room_starts_now() -> None:
    world = fleet()
    found = told(world, world.submit())
    assert (found.start_p50_ms, found.start_p90_ms) == (0, 0)
    assert (found.end_p50_ms, found.end_p90_ms) == (MINUTE, MINUTE)
    assert not found.stopped_early


@pytest.mark.parametrize("workers", [1, 3])
def test_starts_come_about_where_run_times_are_as_before(workers: int) -> None:
    world = fleet(workers, cpus=2)
    names = [world.submit(("t", "u")[at % 2], cpus=1 + at % 2, tier=list(Tier)[1 + at % 3]) for at in range(14)]
    begin(world)
    waiting = [name for name in names if name in world.state.queue.standing()]
    foretold = {name: told(world, name).start_p50_ms for name in waiting}
    came = run_all(world)
    assert foretold == {name: came[name] for name in waiting}


def test_of_what_runs_only_the_rest_is_waited_for() -> None:
    world = fleet()
    world.submit()
    begin(world)
    world.now_ms += 45_000
    assert told(world, world.submit()).start_p50_ms == 15_000


def test_a_gang_waits_for_room_for_all_of_it() -> None:
    world = fleet(2)
    world.submit()
    begin(world)
    world.now_ms += 20_000
    world.submit()
    begin(world)
    gang = world.submit(gang=2)
    assert told(world, gang).start_p50_ms == MINUTE
    behind = world.submit()  # room is kept for the gang by then
    assert told(world, behind).start_p50_ms == 2 * MINUTE
    came = run_all(world)
    assert (came[gang], came[behind]) == (MINUTE, 2 * MINUTE)


def test_a_quota_is_waited_for() -> None:
    world = fleet(4, max_running=1)
    world.submit()
    begin(world)
    assert told(world, world.submit()).start_p50_ms == MINUTE
    assert told(world, world.submit("u")).start_p50_ms == 0


def test_a_start_time_is_waited_for() -> None:
    world = fleet()
    assert told(world, world.submit(not_before_ms=world.now_ms + 5_000)).start_p50_ms == 5_000


def test_without_history_nobody_knows_and_a_longest_duration_helps() -> None:
    world = fleet(history=False)
    world.submit()
    begin(world)
    found = told(world, world.submit())
    assert (found.start_p50_ms, found.end_p50_ms) == (None, None)
    assert found.text == "1 of the jobs that run have no history to tell when they end"
    world = fleet(history=False)
    world.submit(max_duration_ms=MINUTE)
    begin(world)
    found = told(world, world.submit())
    assert (found.start_p50_ms, found.end_p50_ms) == (MINUTE, None)


def test_why_it_is_unknown_is_said() -> None:
    world = fleet()
    held = world.submit()
    world.ask(cmd.PatchJob(job=held, by="ann", hold=True))
    assert told(world, held).text == "nobody knows how long it will be held"
    first = world.submit()
    assert told(world, world.submit(depends_on=(first,))).text == "it waits for the end of other jobs first"
    assert told(world, world.submit(cpus=64)).text == "no worker of a pool that may take it now is big enough"


def test_looking_ahead_ends_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    world = fleet()
    names = [world.submit() for _ in range(30)]
    begin(world)
    whole = told(world, names[-1])
    assert whole.start_p90_ms is not None
    monkeypatch.setattr(limits, "FORECAST_STEPS", 900)
    some = told(world, names[-1])
    assert (some.start_p50_ms, some.start_p90_ms, some.stopped_early) == (whole.start_p50_ms, whole.start_p90_ms, True)
    assert "from 3 of 9 looks ahead" in some.text
    monkeypatch.setattr(limits, "FORECAST_STEPS", 400)
    some = told(world, names[-1])
    assert (some.start_p50_ms, some.start_p90_ms, some.stopped_early) == (whole.start_p50_ms, None, True)
    assert "from 1 of 9 looks ahead" in some.text
    monkeypatch.setattr(limits, "FORECAST_STEPS", 100)
    none = told(world, names[-1])
    assert (none.start_p50_ms, none.stopped_early) == (None, True)
    assert "it starts later than that" in none.text
    monkeypatch.setattr(limits, "FORECAST_STEPS", 5)
    assert told(world, names[-1]).text == "1 jobs run, too many to look ahead over their ends"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_a_forecast_can_be_made_and_is_in_order(seed: int) -> None:
    world, rng = test_random.fleet(), random.Random(seed)
    known = 0
    for number in range(500):
        with suppress(Refused):
            rng.choice(test_random.STEPS)(world, rng)
        if number % 10:
            continue
        before = facts_bytes(world.state)
        for job in world.facts.jobs.values():
            found = prospect(world.state, job, world.now_ms)
            if found is None:
                continue
            for middle, most in (
                (found.duration_p50_ms, found.duration_p90_ms),
                (found.start_p50_ms, found.start_p90_ms),
                (found.end_p50_ms, found.end_p90_ms),
            ):
                known += middle is not None
                assert most is None or (middle is not None and 0 <= middle <= most)
            assert found.duration_text
            assert found.start_text or job.state in ON_WORKER
        assert facts_bytes(world.state) == before
    assert known > 100


def test_a_plan_waits_behind_what_waits() -> None:
    world = fleet()
    for _ in range(3):
        world.submit()
    begin(world)
    spec = JobSpec(command=("true",), resources=Resources())
    found = prospect(world.state, unsubmitted(world.state, "t", spec, world.now_ms), world.now_ms)
    assert found is not None
    assert (found.start_p50_ms, found.end_p50_ms, found.duration_p50_ms) == (3 * MINUTE, 4 * MINUTE, MINUTE)
    assert found.duration_text == "from 10 runs of work of t, 1 cpu"


def test_a_job_that_runs_ends_and_one_that_has_ended_does_not() -> None:
    world = fleet()
    name = world.submit()
    begin(world)
    world.now_ms += 15_000
    found = prospect(world.state, world.job(name), world.now_ms)
    assert found is not None
    assert (found.start_p50_ms, found.end_p50_ms, found.duration_p90_ms) == (None, 45_000, 45_000)
    world.end(name)
    assert prospect(world.state, world.job(name), world.now_ms) is None
