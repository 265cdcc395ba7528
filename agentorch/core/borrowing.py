"""Who may borrow where: the leave of the job's submitter, and of the pool."""

from __future__ import annotations

from agentorch.core import fit
from agentorch.core.stopping import may_ever_stop
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Job


def may_borrow(spec: PoolSpec, job: Job) -> bool:
    """Whether the job may run in this pool with the leave of both, and not in its own right. One that was sent to a
    pool stays there, and what could never be given back is never lent to."""
    within = job.spec.constraints
    if not (spec.lends and within.borrow and within.pools) or spec.name in within.pools or job.route_pool:
        return False
    return may_ever_stop(job.spec) and not fit.place_breach(spec, within)
