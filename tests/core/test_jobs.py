"""A job's life: submitted, refused, started, ended, retried, cancelled, changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentorch.core.explain import explain, reason
from agentorch.core.instruct import stops_to_repeat
from agentorch.core.plan import plan
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import JobStopping
from agentorch.model.jobs import (
    Cause,
    Checkpoint,
    Constraints,
    EntryPoint,
    JobSpec,
    JobState,
    Reason,
    Resources,
    RetryOn,
    RetryPolicy,
)
from tests.core.world import GIB, World, refold


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.pool()
    world.tenant()
    yield world
    world.assert_sound()


def why(world: World, job: str) -> Reason | None:
    found = reason(world.state, world.job(job), world.now_ms)
    return found[0] if found else None


def test_a_job_runs_to_its_end(world: World) -> None:
    job = world.submit()
    assert world.job(job).state is JobState.queued
    assert world.schedule() == [job]
    assert world.job(job).state is JobState.starting
    world.running(job)
    assert world.job(job).state is JobState.running
    world.end(job)
    assert world.job(job).state is JobState.succeeded
    assert world.facts.workers["cpu-0"].free_cpu_milli == 1000


def test_a_function_keeps_its_arguments_and_its_value_is_kept(world: World) -> None:
    entry = EntryPoint(call="m:f", args=(1, [2.5, None], {"deep": [True]}), kwargs={"k": "v"})
    job = world.submit(command=(), entry=entry)
    world.schedule()
    world.running(job)
    world.end(job, result='{"mean":0.5}')
    assert (world.job(job).spec.entry, world.job(job).attempts[-1].result) == (entry, '{"mean":0.5}')


def test_a_second_report_of_the_same_end_changes_nothing(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.running(job)
    world.end(job)
    count = len(world.events)
    world.end(job, Cause.error, 1)
    assert len(world.events) == count


def test_an_error_fails_and_is_not_retried_unless_asked(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.running(job)
    world.end(job, Cause.error, 3)
    assert world.job(job).state is JobState.failed
    assert world.job(job).attempts[-1].exit_code == 3


def test_retries_back_off_and_are_finite(world: World) -> None:
    job = world.submit(retry=RetryPolicy(on=(RetryOn.error,), attempts=3, backoff_ms=1000))
    for waited_s in (1, 2):
        assert world.schedule() == [job]
        world.running(job)
        world.end(job, Cause.error, 1)
        assert world.job(job).state is JobState.queued
        assert why(world, job) is Reason.backoff
        assert world.schedule() == []
        world.tick(waited_s)
    assert world.schedule() == [job]
    world.running(job)
    world.end(job, Cause.error, 1)
    assert world.job(job).state is JobState.failed
    assert world.job(job).attempts_made == 3


def test_an_oom_retry_gets_more_memory(world: World) -> None:
    spec = RetryPolicy(on=(RetryOn.oom,), attempts=2, oom_factor_percent=200)
    job = world.submit(retry=spec, resources=Resources(memory_bytes=GIB))
    world.schedule()
    world.running(job)
    world.end(job, Cause.oom, None)
    assert world.job(job).resources.memory_bytes == 2 * GIB


def test_a_lost_attempt_is_tried_again_and_a_poison_job_is_failed(world: World) -> None:
    job = world.submit(retry=RetryPolicy(attempts=20))
    for _ in range(3):
        world.tick(700)
        assert world.schedule() == [job]
        world.running(job)
        world.end(job, Cause.lost, None)
    assert (world.job(job).state, world.job(job).cause) == (JobState.failed, Cause.poison)


def test_a_start_that_the_runtime_never_made_costs_no_retry(world: World) -> None:
    job = world.submit(retry=RetryPolicy(attempts=1))
    for _ in range(6):
        assert world.schedule() == [job]
        world.end(job, Cause.requeued, None)
    assert world.job(job).state is JobState.queued
    assert not world.facts.pools["cpu"].paused


def test_cancel_of_queued_and_of_running_work(world: World) -> None:
    first, second = world.submit(), world.submit()
    assert world.schedule() == [first]
    assert world.ask(cmd.CancelJob(job=second, by="key")) is JobState.cancelled
    assert world.ask(cmd.CancelJob(job=first, by="key")) is JobState.stopping
    world.end(first, Cause.error, None, signal=15)
    assert (world.job(first).state, world.job(first).cause) == (JobState.cancelled, Cause.cancelled)


def test_a_cancel_that_came_too_late_does_not_lie(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.running(job)
    world.ask(cmd.CancelJob(job=job, by="key"))
    world.end(job, Cause.completed, 0)
    assert world.job(job).state is JobState.succeeded


@pytest.mark.parametrize("cause", [Cause.oom, Cause.exec_failed, Cause.no_capacity, Cause.lost])
def test_cancelled_work_is_never_queued_again(world: World, cause: Cause) -> None:
    job = world.submit(retry=RetryPolicy(on=tuple(RetryOn), attempts=5))
    world.schedule()
    world.ask(cmd.CancelJob(job=job, by="key"))
    world.end(job, cause, 1)
    assert (world.job(job).state, world.job(job).cause) == (JobState.cancelled, Cause.cancelled)


def test_a_stop_repeated_after_a_restart_has_the_same_grace(world: World) -> None:
    world.pool("second")
    plain, saving = world.submit(), world.submit(checkpoint=Checkpoint(grace_ms=45_000))
    world.schedule()
    for job in (plain, saving):
        world.ask(cmd.CancelJob(job=job, by="key"))
    ordered = [event.grace_ms for event in world.events if isinstance(event, JobStopping)]
    assert [stop.grace_ms for stop in stops_to_repeat(world.facts)] == ordered == [limits.STOP_GRACE_MS, 45_000]


def test_cancelling_what_has_ended_is_a_conflict(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.end(job)
    with pytest.raises(Refused, match="succeeded") as caught:
        world.ask(cmd.CancelJob(job=job, by="key"))
    assert caught.value.code == "conflict"


def test_another_tenant_s_job_is_not_found(world: World) -> None:
    job = world.submit()
    for command in (
        cmd.CancelJob(job=job, by="key", tenant="other"),
        cmd.PatchJob(job=job, by="key", tenant="other", priority=1),
        cmd.ReportProgress(job=job, by="key", tenant="other"),
    ):
        with pytest.raises(Refused) as caught:
            world.ask(command)
        assert caught.value.code == "not_found"


def test_the_same_key_makes_one_job_and_another_body_is_refused(world: World) -> None:
    spec = JobSpec(command=("true",))
    ask = cmd.SubmitJob(tenant="t", spec=spec, by="key", idempotency_key="k", body_sha256="a")
    first = world.ask(ask)
    assert first[1] is True
    assert world.ask(ask) == (first[0], False)
    with pytest.raises(Refused) as caught:
        world.ask(cmd.SubmitJob(tenant="t", spec=spec, by="key", idempotency_key="k", body_sha256="b"))
    assert caught.value.code == "idempotency_mismatch"


def test_a_key_is_forgotten_after_a_day_and_belongs_to_its_tenant(world: World) -> None:
    world.tenant("u")
    first = world.submit(key="k")
    assert world.submit("u", key="k") != first
    world.now_ms += 25 * 3600 * 1000
    assert world.submit(key="k") != first


def test_a_moved_world_is_refused(world: World) -> None:
    seq = world.facts.seq
    world.submit()
    with pytest.raises(Refused) as caught:
        world.ask(cmd.SubmitJob(tenant="t", spec=JobSpec(command=("true",)), by="key", judged_seq=seq))
    assert caught.value.code == "precondition_failed"


def test_dependencies_wait_and_a_failed_one_ends_those_that_wait(world: World) -> None:
    first = world.submit()
    second = world.submit(depends_on=(first,))
    third = world.submit(depends_on=(second,))
    assert why(world, second) is Reason.dependency
    assert world.schedule() == [first]
    world.end(first)
    assert world.schedule() == [second]
    world.end(second, Cause.error, 1)
    assert (world.job(third).state, world.job(third).cause) == (JobState.failed, Cause.dependency)


def test_holding_start_times_and_the_longest_wait(world: World) -> None:
    job = world.submit(max_queue_ms=60_000)
    world.ask(cmd.PatchJob(job=job, by="me", hold=True, reason="wait for data"))
    assert why(world, job) is Reason.held
    assert world.schedule() == []
    world.ask(cmd.PatchJob(job=job, by="me", hold=False))
    world.ask(cmd.PatchJob(job=job, by="me", not_before_ms=world.now_ms + 90_000))
    assert why(world, job) is Reason.start_time
    world.tick(61)
    assert (world.job(job).state, world.job(job).cause) == (JobState.failed, Cause.max_queue)


def test_who_loses_patience_is_known_after_a_restart_and_however_often_jobs_changed(world: World) -> None:
    names = [world.submit(max_queue_ms=60_000 + 1_000 * number) for number in range(3)]
    world.ask(cmd.PatchJob(job=names[1], by="me", hold=True))
    for number in range(2_000):
        world.ask(cmd.PatchJob(job=names[2], by="me", priority=number % 100))
    assert len(world.state.queue._patience) < 1_100
    world.state = refold(world.events)
    world.tick(60)
    assert [world.job(name).state for name in names] == [JobState.failed, JobState.held, JobState.queued]
    world.tick(2)
    assert {world.job(name).cause for name in names} == {Cause.max_queue}


def test_a_move_outside_the_constraints_is_denied_by_residency(world: World) -> None:
    world.pool("other", region="us")
    job = world.submit(constraints=Constraints(regions=("local",)))
    with pytest.raises(Refused, match="G9"):
        world.ask(cmd.PatchJob(job=job, by="me", pool="other"))


def test_a_running_job_that_asks_to_be_moved_is_requeued_there(world: World) -> None:
    world.pool("other")
    job = world.submit()
    world.schedule()
    world.running(job)
    world.ask(cmd.ReportProgress(job=job, by="job", percent=40.0, move_to="other"))
    assert world.job(job).state is JobState.stopping
    world.end(job, Cause.error, None, signal=15)
    assert world.schedule() == [job]
    assert world.job(job).attempts[-1].pool == "other"


def test_every_reason_is_explained_by_the_predicates_that_filter(world: World) -> None:
    big = world.submit(cpus=64)
    assert why(world, big) is Reason.infeasible
    first, second = world.submit(), world.submit()
    assert world.schedule() == [first]
    assert why(world, second) is Reason.no_capacity
    world.ask(cmd.PausePool(pool="cpu", paused=True, by="op", reason="repair"))
    assert why(world, second) is Reason.pool_paused
    told = explain(world.state, world.job(second), world.now_ms)
    assert [check.code for check in told.pools["cpu"] if not check.ok] == ["pool_paused", "room"]
    assert all(check.ok for check in told.checks)


def test_a_plan_says_what_would_happen_and_changes_nothing(world: World) -> None:
    world.pool("dear", price_usd_micros_per_hour=2_000_000)
    count = len(world.events)
    offers = plan(world.state, "t", JobSpec(command=("true",), max_duration_ms=1_800_000), world.now_ms)
    assert [(offer.pool, offer.feasible, offer.free_now) for offer in offers] == [
        ("cpu", True, True),
        ("dear", True, True),
    ]
    assert offers[1].max_cost_usd_micros == 1_000_000
    assert len(world.events) == count
    assert not plan(world.state, "t", JobSpec(command=("x",), resources=Resources(gpus=1)), world.now_ms)[0].feasible


def test_a_start_that_never_happened_costs_no_retry_ever_more_time_and_not_for_ever(world: World) -> None:
    job = world.submit(retry=RetryPolicy(attempts=1, backoff_ms=0))
    waits = []
    while world.job(job).state is JobState.queued:
        assert world.schedule() == [job]
        world.end(job, Cause.no_capacity, None)
        other = world.submit()
        world.schedule()
        world.running(other)  # the pool is well
        world.end(other)
        waits.append(world.job(job).not_before_ms - world.now_ms)
        world.tick(waits[-1] / 1000)
        for worker in world.facts.workers:
            world.ask(cmd.RepairWorker(worker=worker, by="ann"))
    assert waits[:5] == [1_000, 2_000, 4_000, 8_000, 16_000]
    assert waits[-2] == limits.RETRY_BACKOFF_CAP_MS
    found = world.job(job)
    assert (found.state, found.cause, found.retries_used) == (JobState.failed, Cause.no_capacity, 0)
    assert found.attempts_made == limits.STARTS_MISSED_MAX


def test_a_job_that_wants_no_retry_for_want_of_room_gets_none(world: World) -> None:
    job = world.submit(retry=RetryPolicy(on=(RetryOn.interruption,)))
    world.schedule()
    world.end(job, Cause.no_capacity, None)
    assert (world.job(job).state, world.job(job).cause) == (JobState.failed, Cause.no_capacity)
