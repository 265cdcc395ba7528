"""What came of a stretch of time, as the facts can tell it exactly. The twin's forks are measured by the same code."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.money import cost_of
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.jobs import Job
from agentorch.model.twin import Watched


def overdue(job: Job, now_ms: int) -> bool:
    return job.deadline_ms is not None and job.deadline_ms <= now_ms


def misses(facts: Facts, now_ms: int) -> int:
    """Deadlines missed ever: by jobs that have ended, and by those that have not."""
    return facts.late + sum(1 for name in facts.dated if overdue(facts.jobs[name], now_ms))


def spent_usd_micros(facts: Facts, now_ms: int) -> int:
    """Spent ever, what runs now included as far as it has run."""
    running = 0
    for name in facts.running:
        attempt = facts.jobs[name].attempts[-1]
        if attempt.price_usd_micros_per_hour and attempt.started_ms is not None:
            running += cost_of(attempt.price_usd_micros_per_hour, now_ms - attempt.started_ms) or 0
    return facts.spent_usd_micros + running


def ended(facts: Facts) -> int:
    return sum(facts.ended_by_state.values())


def watch(state: State, horizon_ms: int, now_ms: int) -> Watched:
    """How it stands now, to be compared with how it stands at the horizon."""
    facts = state.facts
    return Watched(
        at_ms=now_ms,
        until_ms=now_ms + horizon_ms,
        ended=ended(facts),
        misses=misses(facts, now_ms),
        cost_usd_micros=spent_usd_micros(facts, now_ms),
        preempted=facts.preempted,
    )


def measured(state: State, since: Watched, now_ms: int) -> dict[str, float]:
    """What is now, and what has happened since, by the names of `model.twin.Course`."""
    facts = state.facts
    found: dict[str, float] = {
        "queued": len(state.queue),
        "ended": ended(facts) - since.ended,
        "misses": misses(facts, now_ms) - since.misses,
        "cost_usd_micros": spent_usd_micros(facts, now_ms) - since.cost_usd_micros,
        "preempted": facts.preempted - since.preempted,
    }
    waits = _waits_ms(state, since.at_ms, now_ms)
    if waits:
        found["wait_p95_s"] = waits[-(-95 * len(waits) // 100) - 1] / 1000
    return found


def _waits_ms(state: State, since_ms: int, now_ms: int) -> list[int]:
    """Of all who waited since then, in order; none where a pool has forgotten some, or too many wait to look at."""
    if len(state.queue) > limits.TWIN_JOBS_MAX:
        return []
    waits = [
        now_ms - max(job.queued_ms, job.not_before_ms)
        for job in state.queue.waiting_jobs(limits.TWIN_JOBS_MAX)
        if not job.waiting_on and max(job.queued_ms, job.not_before_ms) < now_ms
    ]
    for pool in state.facts.pools.values():
        if len(pool.waits) >= limits.POOL_WAITS_KEPT and pool.waits[0][0] > since_ms:
            return []
        waits += [wait_ms for at_ms, wait_ms in pool.waits if at_ms > since_ms]
    return sorted(waits)
