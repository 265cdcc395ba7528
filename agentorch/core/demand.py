"""What each pool would need: the workers that running and queued work fills, and who waits for which pool first.

Measured on the live state, never forecast. Supervisors are shown these numbers, and the guardrails judge shrinking by
the same ones.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from agentorch.core import fit
from agentorch.core.facts import Facts
from agentorch.core.placement import pool_obstacle
from agentorch.core.queue import order_key
from agentorch.core.state import State
from agentorch.model.fleet import Pool, PoolSpec, Worker, WorkerState
from agentorch.model.jobs import TIER_RANK, Constraints, Job, Reason, Resources

#: Shares of a worker are counted in thousandths, so that sums are exact.
WHOLE = 1_000


class Demand(msgspec.Struct, frozen=True):
    """Per pool; pools without any are absent."""

    need: dict[str, int]  # workers that running and queued work would fill
    queued: dict[str, int]  # jobs that wait for this pool first
    blocked: dict[str, int]  # per tenant: jobs that its budget keeps from every pool that could take them


def jobs_per_worker(shape: Resources, need: Resources) -> int:
    """How many such jobs one worker of this shape holds at once; 0 when it is too small."""
    if not fit.could_fit(shape, need):
        return 0
    parts = (
        (shape.cpu_milli, need.cpu_milli),
        (shape.memory_bytes, need.memory_bytes),
        (shape.gpus, need.gpus),
    )
    return min((whole // part for whole, part in parts if part > 0), default=WHOLE)


def first_pool(facts: Facts, job: Job) -> str:
    """The pool that a queued job waits for first: the cheapest that may take it, rather one that is not paused."""
    fitting = [name for name in fit.candidate_pools(facts, job) if fits(facts.pools[name].spec, job)]
    return next((name for name in fitting if not facts.pools[name].paused), fitting[0] if fitting else "")


def fits(spec: PoolSpec, job: Job) -> bool:
    """By the size of a worker; and of the pool, where the job needs several workers at once."""
    return fit.could_fit(spec.shape, job.resources) and (job.spec.gang == 1 or fit.could_hold(spec, job))


def standing_workers(facts: Facts, pool: Pool) -> list[Worker]:
    """Workers that exist and are not on their way out."""
    workers = (facts.workers[name] for name in pool.workers)
    return [worker for worker in workers if worker.state is not WorkerState.retiring]


def demand(state: State, now_ms: int) -> Demand:
    """Measure it. O(lines of the queue x pools + running jobs), whatever the number of queued jobs."""
    return _Measure(state, now_ms).demand()


def _urgency(line: tuple[Job, int]) -> tuple[int, int, int]:
    head = line[0]
    return TIER_RANK[head.spec.tier], order_key(head), head.number


class _Measure:
    def __init__(self, state: State, now_ms: int) -> None:
        self.facts = state.facts
        state.queue.wake(now_ms)  # jobs whose start time has come stand in line from now on
        # In an order of its own: that of the index depends on when it was built, and a verdict must come out again.
        self.lines = sorted(state.queue.lines(), key=_urgency)
        self.load: Counter[str] = Counter()  # thousandths of workers
        self.queued: Counter[str] = Counter()
        self.blocked: Counter[str] = Counter()
        self.quota: dict[str, int] = {}
        self.by_price = sorted(self.facts.pools.values(), key=fit.price_rank)

    def demand(self) -> Demand:
        self.count_running()
        first: dict[tuple[Resources, Constraints, str, int], str] = {}
        for head, count in self.lines:
            kind = (head.resources, head.spec.constraints, head.route_pool, head.spec.gang)
            if kind not in first:
                first[kind] = first_pool(self.facts, head)
            self.queued[first[kind]] += count
            self.count_line(head, count)
        del self.queued[""]
        need = {name: -(-load // WHOLE) for name, load in self.load.items() if load}
        return Demand(need, dict(self.queued), dict(self.blocked))

    def count_running(self) -> None:
        sizes: Counter[tuple[str, Resources, Resources]] = Counter()
        for name in self.facts.running:
            attempt = self.facts.jobs[name].attempts[-1]
            for member in attempt.members:
                worker = self.facts.workers.get(member.worker)
                if worker is not None:
                    sizes[attempt.pool, worker.shape, attempt.resources] += 1
        per_worker: Counter[tuple[str, int]] = Counter()
        for (pool, shape, resources), count in sizes.items():
            per_worker[pool, max(1, jobs_per_worker(shape, resources))] += count
        for (pool, at_once), count in per_worker.items():
            self.load[pool] += -(-WHOLE * count // at_once)

    def count_line(self, head: Job, count: int) -> None:
        """Fill the pools that may take this line, cheapest first; what fits in none is needed in the cheapest.

        Jobs that a quota or a budget keeps from starting need no worker; jobs of paused pools do, for a pause ends.
        """
        left = self.within_quota(head, count)
        first = paused = ""
        blocked = False
        for pool in self.by_price:
            if not left:
                return
            obstacle = pool_obstacle(self.facts, head, pool)
            if obstacle is None:
                first = first or pool.spec.name
                left -= self.fill(head, left, pool.spec)
            elif obstacle is Reason.pool_paused:
                paused = paused or pool.spec.name
            blocked = blocked or obstacle is Reason.budget
        if first or paused:
            self.add(head, left, self.facts.pools[first or paused].spec)
        elif blocked:
            self.blocked[head.tenant] += left

    def fill(self, head: Job, count: int, spec: PoolSpec) -> int:
        """Add as many of the line as this pool could ever hold beside what is counted already; returns how many."""
        at_once = jobs_per_worker(spec.shape, head.resources)
        ranks = max(0, WHOLE * spec.max_workers - self.load[spec.name]) * at_once // WHOLE
        taken = min(count, ranks // head.spec.gang)
        self.add(head, taken, spec)
        return taken

    def add(self, head: Job, count: int, spec: PoolSpec) -> None:
        ranks = count * head.spec.gang
        self.load[spec.name] += -(-WHOLE * ranks // jobs_per_worker(spec.shape, head.resources))

    def within_quota(self, head: Job, count: int) -> int:
        tenant = self.facts.tenants[head.tenant]
        if tenant.spec.max_running is None:
            return count
        left = self.quota.setdefault(head.tenant, max(0, tenant.spec.max_running - tenant.running))
        self.quota[head.tenant] = left - min(left, count)
        return min(left, count)
