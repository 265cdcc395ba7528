"""Which worker a job would get now, and if none, why."""

from __future__ import annotations

from agentorch.core import fit
from agentorch.core.facts import Facts
from agentorch.core.predicates import JOB_PREDICATES, POOL_PREDICATES, kept_for_other
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, Reason

#: Workers with room that are compared for the best fit; the first that many are as good as any.
COMPARED_WORKERS = 64

#: Nearest to running last: of several pools, the job shows the reason of the one that is nearest.
NEARNESS: dict[Reason, int] = {
    Reason.infeasible: 0,
    Reason.budget: 1,
    Reason.pool_paused: 2,
    Reason.no_capacity: 3,
    Reason.reserved: 4,
    Reason.order: 5,
}


def job_obstacle(facts: Facts, job: Job, now_ms: int) -> Reason | None:
    """The first job predicate that does not hold."""
    for predicate in JOB_PREDICATES:
        if not predicate.holds(facts, job, now_ms):
            return predicate.code
    return None


def pool_obstacle(facts: Facts, job: Job, pool: Pool) -> Reason | None:
    """The first pool predicate that does not hold."""
    for predicate in POOL_PREDICATES:
        if not predicate.holds(facts, job, pool):
            return predicate.code
    return None


def worker_in(facts: Facts, job: Job, pool: Pool, now_ms: int) -> Worker | Reason:
    """The best-fitting worker of the pool with room now, or why there is none: no capacity, or room kept for another.

    Best fit is the worker left with the fewest free GPUs, then cores: it keeps big holes whole.
    """
    best: tuple[int, int] | None = None
    found: Worker | None = None
    kept = False
    compared = 0
    need = job.resources
    for name in pool.workers:
        worker = facts.workers[name]
        if worker.free_cpu_milli < need.cpu_milli or not fit.takes_work(worker) or not fit.has_room(worker, need):
            continue
        if worker.reserved_for and kept_for_other(facts, job, worker, now_ms):
            kept = True
            continue
        left = (len(worker.free_devices) - need.gpus, worker.free_cpu_milli - need.cpu_milli)
        if best is None or left < best:
            best, found = left, worker
        compared += 1
        if compared >= COMPARED_WORKERS or best == (0, 0):
            break
    if found is not None:
        return found
    return Reason.reserved if kept else Reason.no_capacity


def find(facts: Facts, job: Job, now_ms: int) -> Worker | Reason:
    """The worker that the job would get now, in the cheapest pool that can take it, or the reason nearest to running.

    Asks the pool predicates only: the caller has asked the job predicates.
    """
    nearest = Reason.infeasible
    for pool in sorted(facts.pools.values(), key=fit.price_rank) if len(facts.pools) > 1 else facts.pools.values():
        obstacle = pool_obstacle(facts, job, pool)
        if obstacle is None:
            answer = worker_in(facts, job, pool, now_ms)
            if isinstance(answer, Worker):
                return answer
            obstacle = answer
        if NEARNESS[obstacle] > NEARNESS[nearest]:
            nearest = obstacle
    return nearest
