"""One dispatch pass: who starts where, now.

Tiers in order, a waiting lower tier promoted once its patience ends; within a tier the tenant with the least fair
share; within a tenant the smallest order key. What does not fit is passed over (backfill); other work may have to give
way to it (`core.displace`), and it may borrow at last what idles in other pools (`core.lending`). So that backfill
never starves a big job, the first that waited too long gets a worker kept for it, or as many as a gang needs: EASY
backfill (Lifka, JSSPP 1995), one job per pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace

from agentorch.core import fairshare, gangs, lending, money
from agentorch.core.claims import LEAST_DEBT_MS, debt_waiting, rank_waiting
from agentorch.core.displace import Displacing, release
from agentorch.core.facts import Facts
from agentorch.core.placement import Search, job_obstacle
from agentorch.core.queue import Line, TenantLines
from agentorch.core.turn import Turn
from agentorch.model import limits
from agentorch.model.events import JobStarted, WorkerReserved
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, Place, Reason

#: (effective tier, share, tenant, order key and number of the head, tier, the tenant's first line there); numbers
#: differ, so lines never compare.
Turns = tuple[int, float, str, int, int, int, Line]


def schedule(turn: Turn) -> int:
    """Start what can start, until `DISPATCH_PER_PASS` ranks have. Returns how many jobs; O(log n) in the waiting."""
    turn.queue.wake(turn.now_ms)
    turn.state.yielding.wake(turn.now_ms)
    if not len(turn.queue) or not (turn.state.rooms or turn.facts.borrowed or turn.state.yielding):
        return 0
    return _Pass(turn).run()


class _Pass:
    """The bookkeeping of one pass: the ring of tenants, and the lines that were passed over."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.facts: Facts = turn.facts
        self.search = Search(turn.facts, turn.state.rooms, turn.now_ms)
        self.lending = lending.Lending(turn, self.search)
        self.aside: list[tuple[TenantLines, Line]] = []
        self.displacing = Displacing(turn, self.search)
        self.started = self.ranks = 0
        self.claimed: set[str] = set()  # pools for which a job that goes earlier waits already
        self.passed: Counter[tuple[int, str]] = Counter()  # shapes passed over, by tier and tenant
        self.ring: list[Turns] = []
        for rank, tier in enumerate(turn.queue.tiers):
            for tenant, lines in tier.items():
                entry = self.entry(rank, tenant, lines)
                if entry is not None:
                    self.ring.append(entry)
        heapify(self.ring)
        part = limits.BACKFILL_TOTAL // max(1, len(self.ring))
        self.depth = min(limits.BACKFILL_DEPTH, max(limits.BACKFILL_LEAST, part))

    def entry(self, rank: int, tenant: str, lines: TenantLines) -> Turns | None:
        line = lines.first()
        if line is None:
            return None
        key, number, name = line.heap[0]
        effective = rank_waiting(self.facts.jobs[name], self.turn.now_ms)
        return (effective, fairshare.share(self.facts.tenants[tenant]), tenant, key, number, rank, line)

    def head(self, line: Line) -> Job:
        """Of a line that `TenantLines.first` has just returned."""
        return self.facts.jobs[line.heap[0][2]]

    def run(self) -> int:
        ring = self.ring
        while ring and self.ranks < limits.DISPATCH_PER_PASS:
            _, _, tenant, _, _, rank, line = ring[0]
            lines = self.turn.queue.tiers[rank][tenant]
            if not self.try_head(lines, line):
                self.passed[rank, tenant] += 1
            entry = self.entry(rank, tenant, lines) if self.passed[rank, tenant] < self.depth else None
            if entry is None:
                heappop(ring)
            else:
                heapreplace(ring, entry)
        for lines, line in self.aside:
            lines.offer(line)
        most = limits.DISPATCH_PER_PASS - self.ranks
        if most > 0:
            self.started += self.lending.lend([line for _, line in self.aside], self.begin, most)
        return self.started

    def try_head(self, lines: TenantLines, line: Line) -> bool:
        """Start the head of the line, or put the line aside for this pass; returns whether it started."""
        job = self.head(line)
        obstacle = job_obstacle(self.facts, job, self.turn.now_ms)
        answer = obstacle if obstacle is not None else self.search.find_for_line(job, line, self.turn.queue.epoch)
        if not isinstance(answer, Reason):
            self.start(job, answer)
            return True
        if answer is Reason.reserved and self.try_kept(line, job):
            return True
        if answer in (Reason.no_capacity, Reason.reserved):
            self.make_room(job, line)
        while lines.first() is line:  # the same head may have been entered twice
            heappop(lines.heap)
        self.aside.append((lines, line))
        return False

    def try_kept(self, line: Line, head: Job) -> bool:
        """Room may be kept for one behind the head, that stood there when the head had not come yet."""
        for name in tuple(self.facts.reserved):
            job = self.facts.jobs[name]
            if job is head or self.turn.queue.line_of(job) is not line:
                continue
            if job_obstacle(self.facts, job, self.turn.now_ms) is None:
                answer = self.search.find_for_line(job, line, self.turn.queue.epoch)
                if not isinstance(answer, Reason):
                    self.start(job, answer)
                    return True
        return False

    def start(self, job: Job, workers: tuple[Worker, ...]) -> None:
        self.begin(self.turn, job, workers)
        self.lending.started(job, workers)
        self.started += 1
        self.ranks += len(workers)

    def begin(self, turn: Turn, job: Job, workers: tuple[Worker, ...]) -> None:
        start(turn, job, workers)
        self.search.reckoned.started(workers)

    def make_room(self, job: Job, line: Line) -> None:
        """Borrowers give way, else work with a worse claim, or else room is kept: only for the first that waits for a
        pool."""
        if self.lending.borrowers and self.lending.take_back(line):
            return
        if _has_too_little(self.facts, job):  # a worker that was kept for the gang has gone: choose anew
            release(self.turn, job)
        if self.displacing.make_room(job, line.pools):
            return
        pools = [pool.spec.name for pool in line.pools]
        if self.claimed.isdisjoint(pools):
            reserve(self.turn, job, line.pools)
        self.claimed.update(pools)


def _has_too_little(facts: Facts, job: Job) -> bool:
    kept = facts.reserved.get(job.id)
    return kept is not None and sum(facts.workers[name].reserved_ranks for name in kept) < job.spec.gang


def start(turn: Turn, job: Job, workers: tuple[Worker, ...]) -> None:
    """Order an attempt, every rank of a gang at once: room, devices, money and fair share are taken by the event."""
    need, gang = job.resources, job.spec.gang
    worker = workers[0]
    spec = turn.facts.pools[worker.pool].spec
    places: tuple[Place, ...] = ()
    if gang > 1 or need.gpus:
        places = gangs.places(workers, need.gpus, nodes=bool(spec.node_type))
    price = money.share_price(spec, need, gang)
    reserved_ms = money.reservation_ms(turn.facts, job, price)
    turn.emit(
        JobStarted(
            at_ms=turn.now_ms,
            job=job.id,
            attempt=job.attempts_made + 1,
            worker=worker.id,
            node=worker.node if spec.node_type else "",
            pool=worker.pool,
            devices=places[0].devices if places else (),
            ranks=places[1:],
            port=gangs.free_port(turn.facts, worker.node) if gang > 1 else 0,
            resources=need,
            reserved_usd_micros=(money.cost_of(price, reserved_ms) or 0) if price else 0,
            price_usd_micros_per_hour=price,
            paid_until_ms=turn.now_ms + reserved_ms,
            charge=fairshare.advance(turn.facts, need, turn.now_ms, gang),
            borrowed=lending.is_borrowed(turn.facts, turn.facts.pools[worker.pool], job),
        )
    )


def reserve(turn: Turn, job: Job, pools: Sequence[Pool]) -> None:
    """Keep room for a job that waited too long, if none is kept for it and its pools keep none for another.

    Where it will have room first. When that is only guessed, room is kept once the job has waited for as long as it is
    to stand idle: whatever comes, less is lost than twice what the best guess would have (ski rental: Karlin et al.,
    Algorithmica 3, 1988).
    """
    facts, now_ms = turn.facts, turn.now_ms
    waited_ms = now_ms - job.queued_ms
    if waited_ms < limits.RESERVE_AFTER_MS or debt_waiting(job, now_ms) > LEAST_DEBT_MS:
        return
    if job.id in facts.reserved:
        return
    taken = {facts.workers[names[0]].pool for names in facts.reserved.values()}
    free = [pool for pool in pools if pool.spec.name not in taken]
    if not free:
        return
    found = _first_seats(turn, job, free)
    if found is None:
        found = _first_seats(turn, job, free, now_ms)
        if found is None or waited_ms < _patience(turn, found[1]) * (found[0] - now_ms):
            return
    for worker, ranks in found[1]:
        turn.emit(WorkerReserved(at_ms=now_ms, worker=worker.id, job=job.id, ranks=ranks))


def _patience(turn: Turn, seats: gangs.Seats) -> int:
    """How many times as long as room is to stand idle a job waits for it: longer where all that is in the way may have
    to give way before."""
    running = (name for worker, _ in seats for name in worker.running)
    return limits.DEBT_FACTOR if all(name in turn.state.yielding for name in running) else 1


def _first_seats(
    turn: Turn, job: Job, pools: list[Pool], guess_ms: int | None = None
) -> tuple[int, gangs.Seats] | None:
    """Where in these pools the job will have room first, and when; None = nobody knows."""
    found = (
        gangs.seats_to_keep(turn.facts, job, pool, gangs.compared(turn.state.rooms, job, pool), guess_ms)
        for pool in pools
    )
    return min((seats for seats in found if seats is not None), key=lambda seats: seats[0], default=None)
