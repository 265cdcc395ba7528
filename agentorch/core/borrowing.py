"""Who may borrow where: the leave of the job's submitter, and of the pool."""

from __future__ import annotations

from agentorch.core import fit
from agentorch.core.stopping import may_ever_stop
from agentorch.model import limits
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Cause, Job

#: For so long, doubled each time, nothing is lent to work that had to give back what it lost; at most for so long.
LENT_AGAIN_MS, LENT_AGAIN_MOST_MS = limits.MINUTE_MS, limits.DAY_MS


def may_borrow(spec: PoolSpec, job: Job) -> bool:
    """Whether the job may run in this pool with the leave of both, and not in its own right. One that was sent to a
    pool stays there, and what could never be given back is never lent to."""
    within = job.spec.constraints
    if not (spec.lends and within.borrow and within.pools) or spec.name in within.pools or job.route_pool:
        return False
    return may_ever_stop(job.spec) and not fit.place_breach(spec, within)


def lent_again_ms(job: Job) -> int:
    """From when on it may borrow. Work that had to give back, and saves nothing, began anew each time: after each it
    waits twice as long as after the one before, so that it does not go on beginning for ever."""
    if job.spec.checkpoint is not None:
        return 0
    times = sum(1 for attempt in job.attempts if attempt.borrowed and attempt.cause is Cause.preempted)
    return job.queued_ms + min(LENT_AGAIN_MOST_MS, LENT_AGAIN_MS << times) if times else 0
