"""Whose claim is better: work that has run little goes before work that has run much, and waiting makes up for it.

Run times of jobs are heavy-tailed: what has lasted long will last long (Gott, Nature 363, 1993, and measured in
docs/scheduling.md), so that what a job has run already is the best guess at what it still will, and least attained
service first comes near to shortest remaining time first (Rai, Urvoy-Keller and Biersack, SIGMETRICS 2003; Gu et al.,
"Tiresias", NSDI 2019). A job's debt, in ms, is `DEBT_FACTOR` times what it has run, at least `QUANTUM_MS`, less what it
has waited. So nobody waits for newcomers much longer than that factor times its own run time.
"""

from __future__ import annotations

from agentorch.core.forecast.memory import carried_ms
from agentorch.model import limits
from agentorch.model.jobs import TIER_RANK, Job, Tier

#: After waiting this long in all, work of a lower tier competes as standard work, so that no tier starves another.
PATIENCE_MS: dict[int, int] = {
    TIER_RANK[Tier.flex]: 30 * limits.MINUTE_MS,
    TIER_RANK[Tier.batch]: 4 * limits.HOUR_MS,
}

#: Nobody owes less: everything that ran no longer than the quantum counts alike.
LEAST_DEBT_MS = limits.DEBT_FACTOR * limits.QUANTUM_MS


def rank_waiting(job: Job, now_ms: int) -> int:
    """The rank of the tier in which a job that waits competes: the standard one's if it has lost its patience."""
    rank = TIER_RANK[job.spec.tier]
    patience_ms = PATIENCE_MS.get(rank)
    if patience_ms is not None and now_ms - job.submitted_ms - job.ran_before_ms >= patience_ms:
        return TIER_RANK[Tier.standard]
    return rank


def rank_at_start(job: Job) -> int:
    """The rank of the tier in which a job that runs was started: it keeps it, or it would be stopped at once."""
    return rank_waiting(job, job.attempts[-1].ordered_ms)


def came_ms(job: Job) -> int:
    """When it was submitted; a point of priority counts as waiting."""
    return job.submitted_ms - (job.priority - 50) * limits.PRIORITY_AGE_MS


def debt_waiting(job: Job, now_ms: int) -> int:
    """Of a job that waits."""
    ran_ms = carried_ms(job)
    waited_ms = now_ms - came_ms(job) - ran_ms
    return max(LEAST_DEBT_MS, limits.DEBT_FACTOR * ran_ms - waited_ms)


def running_rank(job: Job) -> int:
    """Of a job that runs, a number that stays the same while it does: its debt is this and `DEBT_FACTOR` times the
    present time, once it has run for `QUANTUM_MS`. So whoever owes more now will go on owing more."""
    ran_ms, since_ms = job.ran_before_ms, job.attempts[-1].ordered_ms
    return came_ms(job) + (1 + limits.DEBT_FACTOR) * (ran_ms - since_ms)


def rank_owing(debt_ms: int, now_ms: int) -> int:
    """The rank of running work that owes so much now."""
    return debt_ms - limits.DEBT_FACTOR * now_ms


def ripe_ms(job: Job, debt_ms: int) -> int:
    """When running work will owe enough to give way to work with this debt."""
    return (limits.DISPLACE_FACTOR * debt_ms - running_rank(job)) // limits.DEBT_FACTOR


def undisturbed_ms(job: Job) -> int:
    """How long it runs after a stop before it may be stopped again: so it is stopped ever more rarely."""
    return min(limits.UNDISTURBED_MOST_MS, job.ran_before_ms // limits.UNDISTURBED_SHARE)
