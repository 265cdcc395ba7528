"""What executors saw of attempts, and what becomes of a job whose attempt ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from agentorch.core import fairshare, money
from agentorch.core.decide import ranks
from agentorch.core.decide.jobs import end
from agentorch.core.decide.ranks import true_cause
from agentorch.core.turn import Turn
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import (
    CAUSES_OF,
    NOT_THE_JOBS_FAULT,
    ON_WORKER,
    RETRYABLE,
    Attempt,
    Cause,
    Job,
    JobState,
    Resources,
    RetryOn,
)


def _live(turn: Turn, job_id: str, attempt: int, rank: int) -> tuple[Job, Attempt] | None:
    """The job and its live attempt, if the report is about that one: reports may come twice, or late."""
    job = turn.facts.jobs.get(job_id)
    if job is None or job.state not in ON_WORKER or job.attempts_made != attempt or rank >= job.spec.gang:
        return None
    return job, job.attempts[-1]


def report_running(turn: Turn, command: cmd.ReportRunning) -> None:
    found = _live(turn, command.job, command.attempt, command.rank)
    if found is None or found[1].started_ms is not None:
        return
    if not found[1].ranks or ranks.runs(turn, found[0], command.rank):
        turn.emit(ev.AttemptRunning(at_ms=turn.now_ms, job=command.job, attempt=command.attempt))


def report_ended(turn: Turn, command: cmd.ReportEnded) -> None:
    found = _live(turn, command.job, command.attempt, command.rank)
    if found is None:
        return
    job, attempt = found
    if attempt.ranks:
        whole = ranks.ended(turn, job, command)
        if whole is None:
            return
        command, cause, started_ms = whole, whole.cause, whole.started_ms
    else:
        cause, started_ms = true_cause(job, command), attempt.started_ms or command.started_ms
    ran_ms = max(0, command.ended_ms - started_ms) if started_ms is not None else 0
    turn.emit(
        ev.AttemptEnded(
            at_ms=turn.now_ms,
            job=job.id,
            attempt=attempt.number,
            cause=cause,
            started_ms=command.started_ms,
            ended_ms=command.ended_ms,
            exit_code=command.exit_code,
            signal=command.signal,
            message=command.message[: limits.REASON_MAX_CHARS],
            usage=command.usage,
            cost_usd_micros=_cost(attempt, ran_ms),
            charge=fairshare.settlement(turn.facts, attempt, command.ended_ms),
            result=command.result,
        )
    )
    after(turn, job, cause)
    _pause_broken_pool(turn, attempt.pool)


def _cost(attempt: Attempt, ran_ms: int) -> int:
    """What the attempt cost, rounded up. An unknown price costs what is known: nothing is invented."""
    return money.cost_of(attempt.price_usd_micros_per_hour, ran_ms) or 0


def after(turn: Turn, job: Job, cause: Cause) -> None:
    """Decide what follows an attempt's end: success, another try, or the end."""
    if cause is Cause.completed:
        end(turn, job, JobState.succeeded, cause)
    elif Cause.cancelled in (cause, job.stop_cause):
        # However it ended: whoever cancelled it was told that it is over.
        end(turn, job, JobState.cancelled, Cause.cancelled, job.stop_by)
    elif job.workers_lost >= turn.facts.settings.poison_workers:
        end(turn, job, JobState.failed, Cause.poison)
    elif cause in NOT_THE_JOBS_FAULT:
        turn.emit(ev.JobRequeued(at_ms=turn.now_ms, job=job.id, cause=cause, counts=False))
    elif cause is Cause.no_capacity and job.attempts[-1].started_ms is None:
        _missed(turn, job)
    elif cause in RETRYABLE and _may_retry(job, cause):
        turn.emit(
            ev.JobRequeued(
                at_ms=turn.now_ms,
                job=job.id,
                cause=cause,
                not_before_ms=turn.now_ms + backoff_ms(job),
                resources=_grown(job) if cause is Cause.oom else None,
            )
        )
    else:
        end(turn, job, JobState.failed, cause)


def _missed(turn: Turn, job: Job) -> None:
    """A start that never happened was no try of the job: it costs none, only ever more time, and not for ever."""
    missed = 0
    for attempt in reversed(job.attempts):
        if attempt.cause is not Cause.no_capacity or attempt.started_ms is not None:
            break
        missed += 1
    if RetryOn.no_capacity not in job.spec.retry.on or missed >= limits.STARTS_MISSED_MAX:
        end(turn, job, JobState.failed, Cause.no_capacity)
        return
    pause_ms = max(limits.SECOND_MS, job.spec.retry.backoff_ms) << (missed - 1)
    turn.emit(
        ev.JobRequeued(
            at_ms=turn.now_ms,
            job=job.id,
            cause=Cause.no_capacity,
            counts=False,
            not_before_ms=turn.now_ms + min(pause_ms, limits.RETRY_BACKOFF_CAP_MS),
        )
    )


def _may_retry(job: Job, cause: Cause) -> bool:
    policy = job.spec.retry
    return job.retries_used + 1 < policy.attempts and any(cause in CAUSES_OF[word] for word in policy.on)


def backoff_ms(job: Job) -> int:
    """Doubles with each retry, up to a cap. Without jitter: the scheduler spreads starts, not the clock."""
    doubled = job.spec.retry.backoff_ms << min(job.retries_used, 20)
    return min(doubled, limits.RETRY_BACKOFF_CAP_MS)


def _grown(job: Job) -> Resources:
    memory = job.resources.memory_bytes * job.spec.retry.oom_factor_percent // 100
    return msgspec.structs.replace(job.resources, memory_bytes=memory)


def _pause_broken_pool(turn: Turn, name: str) -> None:
    """G12: a pool whose starts fail again and again is paused for a person to look at."""
    pool = turn.facts.pools.get(name)
    if pool is None or pool.paused or pool.failed_starts < turn.facts.settings.pool_failed_starts_pause:
        return
    reason = f"G12: {pool.failed_starts} starts in a row failed"
    turn.emit(ev.PoolPaused(at_ms=turn.now_ms, pool=name, paused=True, by="guardrail", reason=reason))
    turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="pool-paused", text=f"{name} is paused. {reason}", by="guardrail"))


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.ReportRunning: report_running,
    cmd.ReportEnded: report_ended,
}
