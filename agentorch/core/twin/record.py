"""What one draw of one course came to: waits, ends, money, use."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from agentorch.core.demand import first_pool
from agentorch.core.facts import Facts
from agentorch.core.fit import takes_work
from agentorch.core.outcomes import ended, misses, spent_usd_micros, watch
from agentorch.core.queue import LineKey, line_key
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Cause, JobState

#: Starts of so long count towards what a pool's jobs wait at a time, as in observations.
WAIT_WINDOW_MS = 5 * limits.MINUTE_MS


class Wait(NamedTuple):
    """Of one job for one start."""

    since_ms: int
    until_ms: float  # inf: it waits still


class Outcome(NamedTuple):
    """Of one draw, at the horizon. Names are those of `model.twin.Course`."""

    wait_p50_s: float
    wait_p95_s: float
    queued: int
    ended: int
    misses: int
    cost_usd_micros: int
    utilization_percent: float
    preempted: int
    lost_s: float
    waits: dict[tuple[str, str], tuple[float, float]]
    queue: list[int]
    pool_waited_s: dict[str, list[float]]  # empty where it was not asked for
    waited_for_s: float  # all jobs' waiting time together
    started: dict[str, int]  # when each job started first


class Record:
    """Is told every event, and looks at the fork now and then and at the end."""

    def __init__(self, state: State, begin_ms: int, *, series: bool) -> None:
        self.state = state
        self.series = series
        self.facts: Facts = state.facts
        self.begin_ms = begin_ms
        self.waits: dict[tuple[str, str], list[Wait]] = {}  # by pool and tier
        self.started: dict[str, int] = {}  # first start of each job here
        self.samples: list[tuple[int, int]] = []  # (time, queued)
        self.use: list[float] = []
        self.lost_s = 0.0
        self.before = watch(state, 0, begin_ms)
        self.left_out = 0  # jobs that wait and are not in the fork
        self.outcome: Outcome | None = None

    def note(self, event: ev.Event) -> None:
        if isinstance(event, ev.JobStarted):
            job = self.facts.jobs[event.job]
            since_ms = max(job.queued_ms, job.not_before_ms)
            self.waits.setdefault((event.pool, job.spec.tier), []).append(Wait(since_ms, event.at_ms))
            self.started.setdefault(event.job, event.at_ms)
        elif isinstance(event, ev.JobStopping):
            self._stopped(event)

    def _stopped(self, event: ev.JobStopping) -> None:
        job = self.facts.jobs[event.job]
        attempt = job.attempts[-1]
        if job.spec.checkpoint is None and event.cause is not Cause.cancelled:
            began_ms = attempt.started_ms if attempt.started_ms is not None else event.at_ms
            self.lost_s += (event.at_ms - began_ms) / 1000 * len(attempt.members)

    def sample(self, now_ms: int) -> None:
        self.samples.append((now_ms, len(self.state.queue) + self.left_out))
        self.use.append(utilization_percent(self.facts))

    def close(self, now_ms: int) -> None:
        """The horizon is reached."""
        facts = self.facts
        pools: dict[LineKey, str] = {}
        for job in facts.jobs.values():
            if job.state is not JobState.queued or job.waiting_on:
                continue
            since_ms = max(job.queued_ms, job.not_before_ms)
            if since_ms >= now_ms:
                continue
            key = line_key(job)
            if key not in pools:
                pools[key] = first_pool(facts, job)
            self.waits.setdefault((pools[key], job.spec.tier), []).append(Wait(since_ms, inf))
        everything = [wait for waits in self.waits.values() for wait in waits]
        p50, p95 = _lengths_s(everything, now_ms)
        self.outcome = Outcome(
            wait_p50_s=p50,
            wait_p95_s=p95,
            queued=len(self.state.queue) + self.left_out,
            ended=ended(facts) - self.before.ended,
            misses=misses(facts, now_ms) - self.before.misses,
            cost_usd_micros=spent_usd_micros(facts, now_ms) - self.before.cost_usd_micros,
            utilization_percent=sum(self.use) / len(self.use) if self.use else 0.0,
            preempted=facts.preempted - self.before.preempted,
            lost_s=self.lost_s,
            waits={key: _lengths_s(waits, now_ms) for key, waits in self.waits.items()},
            queue=[queued for _, queued in self.samples],
            pool_waited_s=self._series(),
            waited_for_s=sum(min(one.until_ms, now_ms) - max(one.since_ms, self.begin_ms) for one in everything) / 1000,
            started=self.started,
        )

    def _series(self) -> dict[str, list[float]]:
        if not self.series:
            return {}
        pools: dict[str, list[Wait]] = {}
        for (pool, _), waits in self.waits.items():
            pools.setdefault(pool, []).extend(waits)
        return {pool: [waited_s(waits, at_ms) for at_ms, _ in self.samples] for pool, waits in pools.items()}


def waited_s(waits: list[Wait], at_ms: int) -> float:
    """What nineteen of twenty of those that wait then, or started a moment before, have not waited longer than."""
    recent_ms = at_ms - WAIT_WINDOW_MS
    lengths = [
        (until_ms if until_ms < at_ms else at_ms) - since_ms
        for since_ms, until_ms in waits
        if since_ms < at_ms and until_ms > recent_ms
    ]
    lengths.sort()
    if not lengths:
        return 0.0
    return lengths[max(0, -(-95 * len(lengths) // 100) - 1)] / 1000


def _lengths_s(waits: list[Wait], now_ms: int) -> tuple[float, float]:
    """Median and p95, by nearest rank."""
    lengths = sorted(min(one.until_ms, now_ms) - one.since_ms for one in waits)
    if not lengths:
        return 0.0, 0.0
    count = len(lengths)
    return lengths[-(-count // 2) - 1] / 1000, lengths[-(-95 * count // 100) - 1] / 1000


def utilization_percent(facts: Facts) -> float:
    """Of the workers that take work, or still run some: their GPUs where they have any, else their cores."""
    shares = [
        1 - len(one.free_devices) / len(one.devices)
        if one.devices
        else 1 - one.free_cpu_milli / max(1, one.shape.cpu_milli)
        for one in facts.workers.values()
        if takes_work(one) or one.running
    ]
    return 100 * sum(shares) / len(shares) if shares else 0.0
