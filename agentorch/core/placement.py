"""Which worker a job would get now, and if none, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from agentorch.core import fit, gangs
from agentorch.core.facts import Facts
from agentorch.core.predicates import JOB_PREDICATES, POOL_PREDICATES, Reckoned, kept_for_other
from agentorch.core.queue import Line
from agentorch.core.rooms import Rooms
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, Reason, Resources

#: Nearest to running last: of several pools, the job shows the reason of the one that is nearest.
NEARNESS: dict[Reason, int] = {
    Reason.infeasible: 0,
    Reason.budget: 1,
    Reason.pool_paused: 2,
    Reason.power: 3,
    Reason.no_capacity: 4,
    Reason.reserved: 5,
    Reason.order: 6,
}


#: All as plain pairs, because they are walked for each job that may start.
_JOB_CHECKS = tuple((predicate.holds, predicate.code) for predicate in JOB_PREDICATES)
_POOL_CHECKS = tuple((predicate.holds, predicate.code) for predicate in POOL_PREDICATES)
_Checks = tuple[tuple[Callable[[Facts, Job, Pool], bool], Reason], ...]
#: All but whether the job's constraints allow the pool.
_ROOM_CHECKS = _POOL_CHECKS[1:]
#: What a start may change; the others say the same of a whole line for as long as a pass takes.
_CHANGING_CHECKS = tuple(check for check in _POOL_CHECKS if check[1] in (Reason.budget, Reason.power))
_FIXED_CHECKS = tuple(check for check in _POOL_CHECKS if check not in _CHANGING_CHECKS)


def job_obstacle(facts: Facts, job: Job, now_ms: int) -> Reason | None:
    """The first job predicate that does not hold."""
    for holds, code in _JOB_CHECKS:
        if not holds(facts, job, now_ms):
            return code
    return None


def pool_obstacle(facts: Facts, job: Job, pool: Pool) -> Reason | None:
    """The first pool predicate that does not hold."""
    return _first_obstacle(_POOL_CHECKS, facts, job, pool)


def passing_obstacle(facts: Facts, job: Job, pool: Pool) -> Reason | None:
    """As `pool_obstacle`, of a pool where the others are known to hold: those that may change at any time."""
    if pool.spec.price_usd_micros_per_hour == 0 and pool.spec.power_cap_watts is None:
        return None
    return _first_obstacle(_CHANGING_CHECKS, facts, job, pool)


def room_obstacle(facts: Facts, job: Job, pool: Pool) -> Reason | None:
    """As `pool_obstacle`, whether the job's constraints allow the pool or not."""
    return _first_obstacle(_ROOM_CHECKS, facts, job, pool)


def _first_obstacle(checks: _Checks, facts: Facts, job: Job, pool: Pool) -> Reason | None:
    for holds, code in checks:
        if not holds(facts, job, pool):
            return code
    return None


def workers_in(facts: Facts, job: Job, pool: Pool, now_ms: int) -> tuple[Worker, ...] | Reason:
    """The workers of the pool that the job would get now, one for each rank, or why there are none."""
    rooms = Rooms(facts.workers[name] for name in pool.workers)
    return _found(facts, rooms, job, pool, now_ms, Reckoned(facts))


def _found(
    facts: Facts, rooms: Rooms, job: Job, pool: Pool, now_ms: int, reckoned: Reckoned
) -> tuple[Worker, ...] | Reason:
    """As `workers_in`, out of an index of the workers that are open; what the pool reserves for others is left."""
    if not pool.spec.reservations:
        return _best(facts, job, _roomy(facts, rooms, job, pool), now_ms, reckoned)
    ours = reckoned.kept(pool).open_to(job, _roomy(facts, rooms, job, pool))
    answer = _best(facts, job, ours, now_ms, reckoned)
    if answer is Reason.no_capacity:
        others = _best(facts, job, _roomy(facts, rooms, job, pool), now_ms, reckoned)
        return Reason.no_capacity if others is Reason.no_capacity else Reason.reserved
    return answer


def _roomy(facts: Facts, rooms: Rooms, job: Job, pool: Pool) -> Iterator[Worker]:
    """Workers of the pool with room: those with the least first, for a gang those with the most."""
    order = rooms.widest if job.spec.gang > 1 else rooms.tightest
    found = (facts.workers[name] for name in order(pool.spec.name, job.resources))
    return (worker for worker in found if fit.has_room(worker, job.resources))


def _best(
    facts: Facts, job: Job, workers: Iterable[Worker], now_ms: int, reckoned: Reckoned
) -> tuple[Worker, ...] | Reason:
    """Of workers as `_roomy` orders them. A job that is no gang gets the first that keeps no room for another.

    That is the best fit, the worker left with the fewest free GPUs, then cores: it keeps big holes whole.
    """
    if job.spec.gang > 1:
        return gangs.workers_in(facts, job, workers, now_ms, reckoned)
    kept = False
    for worker in workers:
        if not worker.reserved_for or not kept_for_other(facts, job, worker, now_ms, reckoned):
            return (worker,)
        kept = True
    return Reason.reserved if kept else Reason.no_capacity


class Search:
    """Finds workers for one job after another while nothing is given back: a scheduling pass, or a single question.

    So what a pool has no room for once, it has no room for until the end.
    """

    __slots__ = ("facts", "full", "now_ms", "pools", "reckoned", "rooms")

    def __init__(self, facts: Facts, rooms: Rooms, now_ms: int) -> None:
        self.facts = facts
        self.rooms = rooms
        self.now_ms = now_ms
        self.pools: Sequence[Pool] = sorted(facts.pools.values(), key=fit.price_rank)
        self.full: dict[tuple[str, Resources], int] = {}  # the fewest ranks for which there is no room
        self.reckoned = Reckoned(facts)

    def find_for_line(self, job: Job, line: Line, epoch: int) -> tuple[Worker, ...] | Reason:
        """As `find`, for the head of a line: the pools that can't take it are found out once in an epoch of pools."""
        if line.epoch != epoch:
            line.pools = [pool for pool in self.pools if not _first_obstacle(_FIXED_CHECKS, self.facts, job, pool)]
            line.epoch = epoch
            return self.find(job)
        nearest = Reason.infeasible
        for pool in line.pools:
            answer = passing_obstacle(self.facts, job, pool) or self.in_pool(job, pool)
            if not isinstance(answer, Reason):
                return answer
            if NEARNESS[answer] > NEARNESS[nearest]:
                nearest = answer
        return nearest

    def find(self, job: Job) -> tuple[Worker, ...] | Reason:
        """The workers that the job would get now, one for each rank, in the cheapest pool that can take it, or the
        reason nearest to running. Asks the pool predicates only: the caller has asked the job predicates.
        """
        nearest = Reason.infeasible
        for pool in self.pools:
            obstacle = pool_obstacle(self.facts, job, pool)
            if obstacle is None:
                answer = self.in_pool(job, pool)
                if not isinstance(answer, Reason):
                    return answer
                obstacle = answer
            if NEARNESS[obstacle] > NEARNESS[nearest]:
                nearest = obstacle
        return nearest

    def in_pool(self, job: Job, pool: Pool) -> tuple[Worker, ...] | Reason:
        """As `find`, in one pool, whose predicates the caller has asked."""
        if pool.spec.reservations:  # they say something else to each tenant and tier, and after each start
            return _found(self.facts, self.rooms, job, pool, self.now_ms, self.reckoned)
        need = (pool.spec.name, job.resources)
        fewest = self.full.get(need)
        if fewest is not None and job.spec.gang >= fewest:
            return Reason.no_capacity
        answer = _found(self.facts, self.rooms, job, pool, self.now_ms, self.reckoned)
        if answer is Reason.no_capacity:
            self.full[need] = job.spec.gang
        return answer
