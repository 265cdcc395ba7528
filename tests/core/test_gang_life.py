"""The life of a gang: its ranks run, fail, are stopped, tried again and found again as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentorch.core.instruct import stops_to_repeat, unfinished
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.jobs import Cause, Checkpoint, JobState, RetryOn, RetryPolicy
from tests.core.world import World, refold

DOLLAR = 1_000_000


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()


def rank_runs(world: World, job: str, rank: int) -> None:
    world.ask(cmd.ReportRunning(job=job, attempt=world.job(job).attempts_made, rank=rank))


def rank_ends(world: World, job: str, rank: int, cause: Cause = Cause.completed, **report: Any) -> None:
    world.end_rank(job, rank, cause, **({"exit_code": 0} if cause is Cause.completed and not report else report))


def workers_of(world: World, job: str) -> list[str]:
    return [rank.worker for rank in world.job(job).attempts[-1].ranks]


def started(world: World, workers: int = 3, **spec: Any) -> str:
    world.pool(workers=workers)
    gang = world.submit(gang=workers, **spec)
    assert world.schedule() == [gang]
    return gang


def test_it_runs_when_all_run_and_succeeds_when_all_have(world: World) -> None:
    gang = started(world)
    rank_runs(world, gang, 1)
    rank_runs(world, gang, 1)
    rank_runs(world, gang, 0)
    assert world.job(gang).state is JobState.starting
    rank_runs(world, gang, 2)
    assert world.job(gang).state is JobState.running
    rank_ends(world, gang, 0, result="[1]")
    rank_ends(world, gang, 0)
    rank_ends(world, gang, 2)
    assert world.job(gang).state is JobState.running
    assert world.facts.workers["cpu-0"].free_cpu_milli == 0  # held until the last has ended
    rank_ends(world, gang, 1)
    job = world.job(gang)
    assert (job.state, job.attempts[-1].exit_code, job.attempts[-1].result) == (JobState.succeeded, None, "[1]")
    assert all(worker.free_cpu_milli == 1_000 and not worker.running for worker in world.facts.workers.values())
    assert sum(isinstance(event, ev.RankRunning) for event in world.events) == 3
    assert sum(isinstance(event, ev.RankEnded) for event in world.events) == 3


def test_the_first_rank_that_fails_takes_the_others_with_it_and_is_why(world: World) -> None:
    gang = started(world, checkpoint=Checkpoint(grace_ms=7_000))
    world.running(gang)
    rank_ends(world, gang, 2, Cause.error, exit_code=3, message="out of luck")
    job = world.job(gang)
    assert (job.state, job.stop_cause, job.stop_by) == (JobState.stopping, Cause.gang, "rank 2")
    (stop,) = stops_to_repeat(world.facts)
    assert (stop.job, stop.grace_ms) == (gang, 7_000)
    assert unfinished(world.facts) == [(gang, 1, 0), (gang, 1, 1)]
    rank_ends(world, gang, 0, Cause.error, signal=15)
    rank_ends(world, gang, 1, Cause.oom, exit_code=None, signal=9)
    job = world.job(gang)
    attempt = job.attempts[-1]
    assert (job.state, job.cause) == (JobState.failed, Cause.error)
    assert (attempt.exit_code, attempt.signal, attempt.failed_rank) == (3, None, 2)
    assert attempt.message == "rank 2: out of luck"
    assert [rank.cause for rank in attempt.ranks] == [Cause.gang, Cause.oom, Cause.error]


def test_the_whole_is_tried_again_and_only_when_every_rank_has_ended(world: World) -> None:
    gang = started(world, retry=RetryPolicy(on=(RetryOn.interruption,), attempts=2, backoff_ms=0))
    world.running(gang)
    rank_ends(world, gang, 0, Cause.lost)
    rank_ends(world, gang, 1, Cause.error, signal=15)
    assert world.schedule() == []
    assert world.job(gang).state is JobState.stopping
    rank_ends(world, gang, 2)  # done before its stop came
    job = world.job(gang)
    assert (job.state, job.retries_used, job.workers_lost) == (JobState.queued, 1, 1)
    assert world.schedule() == [gang]
    assert world.job(gang).attempts_made == 2
    world.running(gang)
    world.end(gang)
    assert world.job(gang).state is JobState.succeeded


def test_a_rank_that_can_not_be_launched_ends_the_attempt_of_all(world: World) -> None:
    gang = started(world, retry=RetryPolicy(on=(RetryOn.no_capacity,), backoff_ms=0))
    rank_runs(world, gang, 0)
    rank_ends(world, gang, 1, Cause.no_capacity)
    rank_ends(world, gang, 2, Cause.error, signal=15)
    assert world.job(gang).state is JobState.stopping
    rank_ends(world, gang, 0, Cause.error, signal=15)
    job = world.job(gang)
    assert (job.state, job.attempts[-1].cause) == (JobState.queued, Cause.no_capacity)
    assert [world.facts.workers[name].failures for name in workers_of(world, gang)] == [0, 1, 0]


def test_cancel_reaches_all_ranks_and_stands_above_a_failure(world: World) -> None:
    gang = started(world, retry=RetryPolicy(on=tuple(RetryOn), attempts=5))
    world.running(gang)
    rank_ends(world, gang, 0, Cause.error, exit_code=1)
    world.ask(cmd.CancelJob(job=gang, by="x"))
    rank_ends(world, gang, 1, Cause.error, signal=15)
    rank_ends(world, gang, 2, Cause.error, signal=15)
    assert (world.job(gang).state, world.job(gang).cause) == (JobState.cancelled, Cause.cancelled)


def test_money_that_runs_out_stops_all_ranks(world: World) -> None:
    world.pool(workers=2, price_usd_micros_per_hour=DOLLAR)
    gang = world.submit(gang=2, max_cost_usd_micros=DOLLAR)
    assert world.schedule() == [gang]
    world.running(gang)
    for _ in range(200):
        world.tick(10)
        if world.job(gang).stop_cause is not None:
            break
    assert world.job(gang).stop_cause is Cause.budget
    world.end(gang, Cause.error, None, signal=15)
    assert (world.job(gang).state, world.job(gang).cause) == (JobState.failed, Cause.budget)
    assert world.job(gang).cost_usd_micros <= DOLLAR


def test_ranks_that_were_never_there_are_not_believed(world: World) -> None:
    gang = started(world)
    world.ask(cmd.ReportRunning(job=gang, attempt=1, rank=3))
    single = world.submit()
    world.ask(cmd.ReportEnded(job=single, attempt=0, rank=1, cause=Cause.lost, started_ms=None, ended_ms=1))
    assert not any(isinstance(event, ev.RankRunning) for event in world.events)
    assert world.job(gang).state is JobState.starting


def test_a_restart_in_the_middle_knows_every_rank(world: World) -> None:
    gang = started(world)
    rank_runs(world, gang, 1)
    rank_ends(world, gang, 2, Cause.error, exit_code=9)
    again = refold(world.events)
    assert unfinished(again.facts) == [(gang, 1, 0), (gang, 1, 1)]
    assert [stop.job for stop in stops_to_repeat(again.facts)] == [gang]
    assert again.facts.ports == world.facts.ports
