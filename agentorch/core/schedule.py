"""One dispatch pass: who starts where, now.

Tiers in order, a waiting lower tier promoted once its patience ends; within a tier the tenant with the least fair
share; within a tenant the smallest order key. What does not fit is passed over (backfill). So that backfill never
starves a big job, the first that waited too long gets a worker kept for it: EASY backfill (Lifka, JSSPP 1995), one
reservation per pool.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from agentorch.core import fairshare, fit, money
from agentorch.core.facts import Facts
from agentorch.core.placement import Search, job_obstacle
from agentorch.core.queue import Line, TenantLines
from agentorch.core.turn import Turn
from agentorch.model import limits
from agentorch.model.events import JobStarted, WorkerReserved
from agentorch.model.fleet import Worker
from agentorch.model.jobs import TIER_RANK, Job, Reason, Tier

#: After waiting this long, work of a lower tier competes as standard work, so that no tier starves another.
PATIENCE_MS: dict[int, int] = {
    TIER_RANK[Tier.flex]: 30 * limits.MINUTE_MS,
    TIER_RANK[Tier.batch]: 4 * limits.HOUR_MS,
}

#: (effective tier, share, tenant, tier, the tenant's first line there); tenant and tier differ, so lines never compare.
Turns = tuple[int, float, str, int, Line]


def schedule(turn: Turn) -> int:
    """Start what can start, at most `DISPATCH_PER_PASS`. Returns how many started; O(log n) in the jobs that wait."""
    turn.queue.wake(turn.now_ms)
    free = any(worker.free_cpu_milli > 0 and fit.takes_work(worker) for worker in turn.facts.workers.values())
    if not free or not len(turn.queue):
        return 0
    return _Pass(turn).run()


class _Pass:
    """The bookkeeping of one pass: the ring of tenants, and the lines that were passed over."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.facts: Facts = turn.facts
        self.search = Search(turn.facts, turn.now_ms)
        self.aside: list[tuple[TenantLines, Line]] = []
        self.started = 0
        self.claimed: set[str] = set()  # pools for which a job that goes earlier waits already
        self.ring: list[Turns] = []
        for rank, tier in enumerate(turn.queue.tiers):
            for tenant, lines in tier.items():
                entry = self.entry(rank, tenant, lines)
                if entry is not None:
                    self.ring.append(entry)
        heapify(self.ring)

    def entry(self, rank: int, tenant: str, lines: TenantLines) -> Turns | None:
        line = lines.first()
        if line is None:
            return None
        patience_ms = PATIENCE_MS.get(rank)
        effective = rank
        if patience_ms is not None and self.head(line).queued_ms + patience_ms <= self.turn.now_ms:
            effective = TIER_RANK[Tier.standard]
        return (effective, fairshare.share(self.facts.tenants[tenant]), tenant, rank, line)

    def head(self, line: Line) -> Job:
        """Of a line that `TenantLines.first` has just returned."""
        return self.facts.jobs[line.heap[0][2]]

    def run(self) -> int:
        ring = self.ring
        while ring and self.started < limits.DISPATCH_PER_PASS and len(self.aside) < limits.BACKFILL_DEPTH:
            _, _, tenant, rank, line = ring[0]
            lines = self.turn.queue.tiers[rank][tenant]
            self.try_head(lines, line)
            entry = self.entry(rank, tenant, lines)
            if entry is None:
                heappop(ring)
            else:
                heapreplace(ring, entry)
        for lines, line in self.aside:
            lines.offer(line)
        return self.started

    def try_head(self, lines: TenantLines, line: Line) -> None:
        job = self.head(line)
        obstacle = job_obstacle(self.facts, job, self.turn.now_ms)
        answer = obstacle if obstacle is not None else self.search.find(job)
        if isinstance(answer, Worker):
            start(self.turn, job, answer)
            self.started += 1
            return
        if answer in (Reason.no_capacity, Reason.reserved):
            self.claim(job)
        while lines.first() is line:  # the same head may have been entered twice
            heappop(lines.heap)
        self.aside.append((lines, line))

    def claim(self, job: Job) -> None:
        """Only the first that waits for a pool may have room kept there."""
        pools = fit.candidate_pools(self.facts, job)
        if self.claimed.isdisjoint(pools):
            reserve(self.turn, job, pools)
        self.claimed.update(pools)


def start(turn: Turn, job: Job, worker: Worker) -> None:
    """Order an attempt: room, devices, money and fair share are taken by the event."""
    need = job.resources
    price = money.share_price(turn.facts.pools[worker.pool].spec, need)
    reserved_ms = money.reservation_ms(job, price)
    turn.emit(
        JobStarted(
            at_ms=turn.now_ms,
            job=job.id,
            attempt=job.attempts_made + 1,
            worker=worker.id,
            pool=worker.pool,
            devices=tuple(worker.free_devices[: need.gpus]) if need.gpus else (),
            resources=need,
            reserved_usd_micros=(money.cost_of(price, reserved_ms) or 0) if price else 0,
            price_usd_micros_per_hour=price,
            paid_until_ms=turn.now_ms + reserved_ms,
            charge=fairshare.advance(turn.facts, need, turn.now_ms),
        )
    )


def reserve(turn: Turn, job: Job, pools: list[str]) -> None:
    """Keep a worker for a job that waited too long, if none is kept for it and its pools keep none for another.

    Which: the one that will have room first; unknown ends last, then the one with the least running.
    """
    facts = turn.facts
    if turn.now_ms - job.queued_ms < limits.RESERVE_AFTER_MS or job.id in facts.reserved:
        return
    best: tuple[bool, int, int] | None = None
    chosen: Worker | None = None
    for name in pools:
        workers = [facts.workers[worker] for worker in facts.pools[name].workers]
        if facts.pools[name].paused or any(worker.reserved_for for worker in workers):
            continue
        for worker in workers:
            if not fit.takes_work(worker) or not fit.could_fit(worker.shape, job.resources):
                continue
            at_ms = fit.free_at(facts, worker, job.resources)
            rank = (at_ms is None, at_ms or 0, len(worker.running))
            if best is None or rank < best:
                best, chosen = rank, worker
    if chosen is not None:
        turn.emit(WorkerReserved(at_ms=turn.now_ms, worker=chosen.id, job=job.id))
