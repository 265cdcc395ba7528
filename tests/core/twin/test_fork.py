"""A fork runs ahead on its own: whatever happens there, nothing happens here."""

from __future__ import annotations

import random

import pytest

from agentorch.core.decide import decide
from agentorch.core.invariants import breaches
from agentorch.core.twin.chance import Dice
from agentorch.core.twin.fork import fork, left_out
from agentorch.core.twin.lives import Comers, Lives
from agentorch.core.twin.running import Run
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import Cause, Checkpoint, RetryPolicy, Tier
from tests.core.cluster import Cluster, grown
from tests.core.twin.town import SAVES, Town
from tests.core.world import World, facts_bytes


def random_town(seed: int) -> World:
    """Pools of several kinds, and jobs in every state that a job may be in."""
    stream = random.Random(seed)
    world = World()
    world.tenant("ann", weight=200)
    world.tenant("bob", max_running=3)
    world.pool("cpu", workers=3, cpus=2, max_workers=6)
    world.pool("gpu", workers=2, cpus=4, gpus=2, price_usd_micros_per_hour=2_000_000)
    cluster = Cluster(world)
    cluster.pool("far", workers=2)
    cluster.node("n1")
    cluster.report()
    for step in range(120):
        world.now_ms += stream.randrange(1_000, 60_000)
        deed = stream.choice(("submit", "submit", "end", "stop", "hold", "schedule", "tick"))
        live = list(world.facts.running)
        if deed == "submit":
            _submit(world, stream)
        elif deed == "end" and live:
            world.end(stream.choice(live), stream.choice((Cause.completed, Cause.error, Cause.lost)), None)
        elif deed == "stop" and live:
            world.ask(cmd.PatchJob(job=stream.choice(live), by="op", pool=stream.choice(("", "cpu"))))
        elif deed == "hold" and len(world.state.queue):
            job = world.state.queue.waiting_jobs(5)[0]
            world.ask(cmd.PatchJob(job=job.id, by="op", hold=True))
        elif deed == "tick":
            world.tick(1)
        for name in world.schedule():
            if stream.random() < 0.8:
                world.running(name)
        if step == 80:
            world.ask(cmd.ScalePool(pool="far", workers=4, by="op"))
    return world


def _submit(world: World, stream: random.Random) -> str:
    tenant = stream.choice(("ann", "bob"))
    live = [name for name in world.facts.running if world.job(name).tenant == tenant]
    return world.submit(
        tenant=tenant,
        name=stream.choice(("train", "eval", "")),
        cpus=stream.choice((0.5, 1, 2)),
        gpus=stream.choice((0, 0, 0, 1)),
        gang=stream.choice((1, 1, 1, 2)),
        tier=stream.choice(tuple(Tier)),
        checkpoint=stream.choice((None, Checkpoint(path="c"))),
        max_duration_ms=stream.choice((None, 600_000)),
        max_queue_ms=stream.choice((None, None, 300_000)),
        deadline_ms=stream.choice((None, world.now_ms + 900_000)),
        depends_on=tuple(live[:1]) if stream.random() < 0.1 else (),
        retry=RetryPolicy(attempts=3),
    )


def runs_of(world: World, draws: int = 3) -> list[Run]:
    """The draws of the idle course, not begun."""
    base = fork(world.state)
    lives, comers = Lives(base.facts, world.now_ms), Comers(world.facts, world.now_ms)
    for job in base.facts.jobs.values():
        lives.look(job)
    dice = [Dice(7, draw, draws) for draw in range(draws)]
    return [Run(fork(base), lives, one, [*comers.drawn(one, limits.HOUR_MS)], limits.HOUR_MS) for one in dice]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_in_a_fork_nothing_happens_here_and_no_invariant_breaks_there(seed: int) -> None:
    world = random_town(seed)
    before = facts_bytes(world.state)
    for run in runs_of(world):
        assert breaches(run.state) == []
        for _ in run.go():
            assert breaches(run.state) == []
        assert run.now_ms == run.end_ms
        assert run.record.outcome is not None
    assert facts_bytes(world.state) == before


@pytest.mark.parametrize("seed", range(4))
def test_a_fork_of_a_fork_is_the_same_again(seed: int) -> None:
    world = random_town(seed)
    once = fork(world.state)
    assert facts_bytes(fork(once)) == facts_bytes(once)


def test_a_fork_forgets_what_has_ended() -> None:
    town = Town()
    assert len(town.facts.jobs) == 10
    assert fork(town.state).facts.jobs == {}


def test_a_fork_decides_as_the_state_does() -> None:
    town = Town(workers=2)
    town.crowd(8)
    twin = fork(town.state)
    ended = town.facts.running
    first = next(iter(ended))
    for state in (town.state, twin):
        attempt = state.facts.jobs[first].attempts[-1]
        report = cmd.ReportEnded(
            job=first,
            attempt=attempt.number,
            cause=Cause.completed,
            started_ms=attempt.started_ms,
            ended_ms=town.now_ms + 1000,
        )
        decide(state, report, town.now_ms + 1000)
    here, _ = decide(town.state, cmd.Schedule(), town.now_ms + 1000)
    there, _ = decide(twin, cmd.Schedule(), town.now_ms + 1000)
    assert here == there != []


def test_of_a_very_long_queue_those_go_along_who_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TWIN_JOBS_MAX", 10)
    town = Town(workers=1)
    names = town.crowd(41)
    town.ask(cmd.PatchJob(job=names[-1], by="op", priority=100))
    twin = fork(town.state)
    assert left_out(town.state) == 30
    assert len(twin.queue) == 10
    assert names[-1] in twin.facts.jobs
    found = town.ahead()
    assert "30 jobs far back in the queue are left out" in found.text
    assert found.idle.queue[0] >= 38


def test_what_was_asked_for_before_comes_in_the_fork() -> None:
    world = World()
    world.tenant()
    cluster = Cluster(world)
    grown(cluster, 2)
    cluster.scale(4)
    assert len(world.facts.pools["cpu"].workers) == 2
    (run, *_) = runs_of(world)
    for _ in run.go():
        pass
    assert len(run.state.facts.pools["cpu"].workers) == 4


def test_a_stopped_job_that_saves_goes_on_where_it_was() -> None:
    town = Town(workers=1)
    (name,) = town.crowd(1, checkpoint=SAVES, max_duration_ms=3_600_000)
    town.now_ms += 50_000
    found = town.impact({"kind": "reschedule", "job": name, "change": "requeue"})
    assert found.acted is not None
    assert found.acted.preempted.mid == 1
    assert found.acted.lost_s.high == 0
