"""What a simulation yields, and how it is summed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from agentorch.simulation.traces import TraceJob

#: Told how many jobs have ended, every `TELL_EVERY` steps.
Tell = Callable[[int], None]
TELL_EVERY = 256
#: A job shorter than this counts as this long in the slowdown, seconds.
SLOWDOWN_BOUND_S = 10


class Moment(NamedTuple):
    """How it stood after everything that happened at one time."""

    at_s: float
    queued: int
    gpus_busy: int


class Run(msgspec.Struct, kw_only=True):
    """Of one policy on one trace: when each job ended, in the trace's order."""

    gpus: int
    ends_s: list[float]
    preemptions: int = 0
    moments: list[Moment] = []


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a run. All times in seconds; `utilization` of all GPUs from the first submit to the last end."""

    jobs: int
    avg_jct_s: float
    p50_jct_s: float
    p99_jct_s: float
    avg_queue_s: float
    p99_queue_s: float
    bounded_slowdown: float
    utilization: float
    preemptions: int
    sim_wall_s: float


def summarise(jobs: Sequence[TraceJob], run: Run, wall_s: float) -> Report:
    """JCT is from submit to end, queue time what of it was not the job's duration. Bounded slowdown is the mean of
    max(1, JCT / max(duration, 10 s)) (Feitelson and Rudolph, JSSPP 1998)."""
    jcts = [end_s - job.submit_s for job, end_s in zip(jobs, run.ends_s, strict=True)]
    queues = [jct - job.duration_s for job, jct in zip(jobs, jcts, strict=True)]
    slowdowns = [max(1.0, jct / max(job.duration_s, SLOWDOWN_BOUND_S)) for job, jct in zip(jobs, jcts, strict=True)]
    makespan_s = max(run.ends_s) - jobs[0].submit_s
    work = sum(job.gpus * job.duration_s for job in jobs)
    count = len(jobs)
    return Report(
        jobs=count,
        avg_jct_s=sum(jcts) / count,
        p50_jct_s=percentile(jcts, 50),
        p99_jct_s=percentile(jcts, 99),
        avg_queue_s=sum(queues) / count,
        p99_queue_s=percentile(queues, 99),
        bounded_slowdown=sum(slowdowns) / count,
        utilization=work / (run.gpus * makespan_s) if makespan_s else 0.0,
        preemptions=run.preemptions,
        sim_wall_s=wall_s,
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank: the least value that so many percent of all do not exceed."""
    rank = -(-percent * len(values) // 100)
    return float(sorted(values)[max(0, rank - 1)])


def together(runs: Sequence[Run]) -> list[Moment]:
    """Of several clusters beside each other, as one."""
    changes = sorted((moment.at_s, which, moment) for which, run in enumerate(runs) for moment in run.moments)
    queued, busy = [0] * len(runs), [0] * len(runs)
    out: list[Moment] = []
    for at_s, which, moment in changes:
        queued[which], busy[which] = moment.queued, moment.gpus_busy
        if out and out[-1].at_s == at_s:
            out.pop()
        out.append(Moment(at_s, sum(queued), sum(busy)))
    return out
