"""Lending between pools: jobs with leave to borrow run in what idles in a pool that lends, until its owners need it.

Owners of a pool are all that may run there in their own right. They go first: a pass looks for borrowers only when it
has looked for everybody else, and nothing is lent of a pool for as long as an owner waits for room there that borrowers
hold. Borrowed attempts are stopped for that owner, for whom their room is kept, and wait again where they belong: as
few as suffice, those that lose the least work, none before its minimum run time (G8). So an owner waits for borrowers
no longer than that time and their grace, however many there are: the blast radius (G6) does not hold up what was
promised. While too much is sick (G11) nothing is taken back, and nothing lent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from agentorch.core import reservations
from agentorch.core.borrowing import lent_again_ms, may_borrow
from agentorch.core.facts import Facts
from agentorch.core.placement import Search, job_obstacle, pool_obstacle, room_obstacle
from agentorch.core.queue import Line
from agentorch.core.reservations import Kept
from agentorch.core.takeback import Takeback
from agentorch.core.turn import Turn
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, Reason

#: Owners behind the heads of their lines for which one pass takes something back.
OWNERS_AT_ONCE = 64
#: Jobs of a line that are looked at for one that may borrow now.
LOOKED_AT = 16

Start = Callable[[Turn, Job, tuple[Worker, ...]], None]


def is_borrowed(facts: Facts, pool: Pool, job: Job) -> bool:
    """Whether an attempt there would have to give way to owners. What is reserved for the job is its own, not more."""
    if not may_borrow(pool.spec, job):
        return False
    return reservations.part_of(pool.spec, job) == reservations.OUTSIDE or not Kept(facts, pool).is_within(job)


class Lending:
    """Of one pass. `wanted` are pools of which nothing is lent: an owner waits for room there that borrowers hold."""

    def __init__(self, turn: Turn, search: Search) -> None:
        self.turn = turn
        self.facts: Facts = turn.facts
        self.search = search
        self.wanted: set[str] = set()
        self.borrowers: dict[str, list[Job]] = {}
        self.rooms: dict[str, Takeback] = {}
        self.behind = OWNERS_AT_ONCE
        for name in turn.facts.borrowed:
            job = turn.facts.jobs[name]
            self.borrowers.setdefault(job.attempts[-1].pool, []).append(job)

    def started(self, job: Job, workers: tuple[Worker, ...]) -> None:
        """There, since room was looked at."""
        room = self.rooms.get(workers[0].pool)
        if room is not None:
            room.started(job, workers)

    def take_back(self, line: Line) -> bool:
        """Stop the borrowers that are in the way of a line whose head found no room, and of those behind it. Returns
        whether the head waits for room that borrowers hold."""
        facts = self.facts
        if facts.health_halt:  # G11
            return False
        names = line.in_order()
        head = next(names, None)
        if not self.borrowers or head is None or not self._take_back_for(facts.jobs[head]):
            return False
        for name in islice(names, min(self.behind, self._room_in_quota(facts.jobs[head]))):
            self.behind -= 1
            if not self._take_back_for(facts.jobs[name]):
                break
        return True

    def _room_in_quota(self, job: Job) -> int:
        """How many of the tenant's jobs may start beside this one."""
        tenant = self.facts.tenants[job.tenant]
        most = tenant.spec.max_running
        return OWNERS_AT_ONCE if most is None else max(0, most - tenant.running - 1)

    def _take_back_for(self, job: Job) -> bool:
        for name, borrowers in self.borrowers.items():
            pool = self.facts.pools[name]
            if pool_obstacle(self.facts, job, pool) is not None:
                continue
            if name not in self.rooms:
                self.rooms[name] = Takeback(self.turn, pool, borrowers)
            if self.rooms[name].make(job):
                self.wanted.add(name)
                return True
        return False

    def lend(self, lines: Sequence[Line], start: Start, most: int) -> int:
        """Lend what idles to heads of these lines, which found no room: at most so many ranks start. Returns how many
        jobs started."""
        lenders = [pool for pool in self.search.pools if pool.spec.lends]
        if not lenders or self.facts.health_halt:  # nothing could be taken back
            return 0
        alive = (line for line in lines if line.head() is not None)
        borrowers = deque(line for line in alive if self._head(line).spec.constraints.borrow)
        started = 0
        while borrowers and most > 0:
            line = borrowers.popleft()  # in turns, so that nobody's long line takes all of it
            job = self._first(line)
            found = self._place(job, lenders) if job is not None else None
            if job is not None and found is not None:
                start(self.turn, job, found)
                started += 1
                most -= len(found)
                borrowers.append(line)
        return started

    def _first(self, line: Line) -> Job | None:
        """The first of the line to which something may be lent now."""
        jobs = (self.facts.jobs[name] for name in islice(line.in_order(), LOOKED_AT))
        return next((job for job in jobs if lent_again_ms(job) <= self.turn.now_ms), None)

    def _head(self, line: Line) -> Job:
        return self.facts.jobs[line.heap[0][2]]

    def _is_own(self, job: Job, pool: Pool) -> bool:
        """Whether it is all reserved for the job: then no owner waits for it."""
        return bool(pool.spec.reservations) and self.search.reckoned.kept(pool).is_within(job)

    def _place(self, job: Job, pools: Sequence[Pool]) -> tuple[Worker, ...] | None:
        if job_obstacle(self.facts, job, self.turn.now_ms) is not None:
            return None
        for pool in pools:
            if not may_borrow(pool.spec, job) or (pool.spec.name in self.wanted and not self._is_own(job, pool)):
                continue
            if room_obstacle(self.facts, job, pool) is None:
                answer = self.search.in_pool(job, pool)
                if not isinstance(answer, Reason):
                    return answer
        return None


def borrowers_of(facts: Facts, pool: str) -> Iterator[Job]:
    """The jobs that run in the pool and give way to its owners."""
    return (job for name in facts.borrowed if (job := facts.jobs[name]).attempts[-1].pool == pool)
