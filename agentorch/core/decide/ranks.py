"""The ranks of a gang: they run when all run, the first that fails takes the others with it, and all end as one."""

from __future__ import annotations

import msgspec

from agentorch.core.decide.jobs import stop
from agentorch.core.turn import Turn
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Cause, Job, Rank, Usage


def true_cause(job: Job, command: cmd.ReportEnded) -> Cause:
    """Work that completed was not stopped, however late a stop came; else the stop that we ordered is why it ended.

    A program may handle the stop signal and exit with a code of its own: that is still our stop.
    """
    if job.stop_cause is None or command.cause in (Cause.completed, Cause.exec_failed, Cause.timeout, Cause.oom):
        return command.cause
    return job.stop_cause


def runs(turn: Turn, job: Job, number: int) -> bool:
    """A rank runs; returns whether all do, or did, now."""
    attempt = job.attempts[-1]
    rank = attempt.ranks[number]
    if rank.started_ms is None and rank.ended_ms is None:
        turn.emit(ev.RankRunning(at_ms=turn.now_ms, job=job.id, attempt=attempt.number, rank=number))
    return all(rank.started_ms is not None for rank in attempt.ranks)


def ended(turn: Turn, job: Job, command: cmd.ReportEnded) -> cmd.ReportEnded | None:
    """A rank ended. Returns the report of the whole gang once the last has ended, with its true cause; else None."""
    attempt = job.attempts[-1]
    if attempt.ranks[command.rank].ended_ms is not None:
        return None
    cause = true_cause(job, command)
    turn.emit(
        ev.RankEnded(
            at_ms=turn.now_ms,
            job=job.id,
            attempt=attempt.number,
            rank=command.rank,
            cause=cause,
            started_ms=command.started_ms,
            ended_ms=command.ended_ms,
            exit_code=command.exit_code,
            signal=command.signal,
            message=command.message[: limits.REASON_MAX_CHARS],
            usage=command.usage,
            result=command.result,
        )
    )
    if any(rank.ended_ms is None for rank in attempt.ranks):
        if cause is not Cause.completed and job.stop_cause is None:
            stop(turn, job.id, Cause.gang, f"rank {command.rank}")
        return None
    return _whole(job, command)


def _whole(job: Job, command: cmd.ReportEnded) -> cmd.ReportEnded:
    """As the rank that failed first ended, else as all did; from the first start to the last end."""
    attempt = job.attempts[-1]
    shown = attempt.ranks[attempt.failed_rank or 0]
    cause, message = shown.cause or Cause.lost, shown.message
    if attempt.failed_rank is not None:
        # A person's no stands above whatever made the gang stop before.
        cause = Cause.cancelled if job.stop_cause is Cause.cancelled else cause
        message = f"rank {attempt.failed_rank}: {message or cause}"
    return msgspec.structs.replace(
        command,
        cause=cause,
        started_ms=min((one.started_ms for one in attempt.ranks if one.started_ms is not None), default=None),
        ended_ms=max(one.ended_ms or 0 for one in attempt.ranks),
        exit_code=shown.exit_code,
        signal=shown.signal,
        message=message,
        usage=_sum(attempt.ranks),
        result=attempt.result,
    )


def _sum(ranks: tuple[Rank, ...]) -> Usage:
    """Time of all, and the highest peak of one: peaks of different times and nodes add up to nothing."""
    energies = [rank.usage.energy_mj for rank in ranks if rank.usage.energy_mj is not None]
    return Usage(
        cpu_ms=sum(rank.usage.cpu_ms for rank in ranks),
        memory_peak_bytes=max(rank.usage.memory_peak_bytes for rank in ranks),
        energy_mj=sum(energies) if len(energies) == len(ranks) else None,
    )
