"""Lending between pools: jobs with leave to borrow run in what idles in a pool that lends, until its owners need it.

Owners of a pool are all that may run there in their own right. They go first: a pass looks for borrowers only when it
has looked for everybody else, and nothing is lent of a pool for as long as an owner waits for room there that borrowers
hold. Borrowed attempts are stopped for that owner, for whom their room is kept, and wait again where they belong: as
few as suffice, those that lose the least work, none before its minimum run time (G8). So an owner waits for borrowers
no longer than that time and their grace. While too much is sick (G11) nothing is taken back, and nothing lent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from agentorch.core import fit, reservations
from agentorch.core.borrowing import may_borrow
from agentorch.core.displace import give_way, release
from agentorch.core.facts import Facts
from agentorch.core.placement import Search, job_obstacle, pool_obstacle, room_obstacle
from agentorch.core.queue import Line
from agentorch.core.reservations import Kept
from agentorch.core.stopping import lost_work_ms, may_stop
from agentorch.core.turn import Turn
from agentorch.model.events import WorkerReserved
from agentorch.model.fleet import Pool, PoolSpec, Worker
from agentorch.model.jobs import Job, JobState, Reason, Resources

#: Owners of one line for which borrowers are stopped in one pass.
OWNERS_AT_ONCE = 16

Start = Callable[[Turn, Job, tuple[Worker, ...]], None]


def is_borrowed(spec: PoolSpec, job: Job) -> bool:
    """Whether an attempt there would have to give way to owners. What is reserved for the job is its own."""
    return may_borrow(spec, job) and reservations.part_of(spec, job) == reservations.OUTSIDE


class Lending:
    """Of one pass. `wanted` are pools of which nothing is lent: an owner waits for room there that borrowers hold."""

    def __init__(self, turn: Turn, search: Search) -> None:
        self.turn = turn
        self.facts: Facts = turn.facts
        self.search = search
        self.wanted: set[str] = set()
        self.borrowers: dict[str, list[Job]] = {}
        self.rooms: dict[str, _Room] = {}
        for name in turn.facts.borrowed:
            job = turn.facts.jobs[name]
            self.borrowers.setdefault(job.attempts[-1].pool, []).append(job)

    def forget(self, pool: str) -> None:
        """Something has started there since its room was looked at."""
        self.rooms.pop(pool, None)

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
        for name in islice(names, self._room_in_quota(facts.jobs[head])):
            if not self._take_back_for(facts.jobs[name]):
                break
        return True

    def _room_in_quota(self, job: Job) -> int:
        """How many of the tenant's jobs may start beside this one."""
        tenant = self.facts.tenants[job.tenant]
        most = tenant.spec.max_running
        return OWNERS_AT_ONCE - 1 if most is None else max(0, min(OWNERS_AT_ONCE, most - tenant.running) - 1)

    def _take_back_for(self, job: Job) -> bool:
        for name, borrowers in self.borrowers.items():
            pool = self.facts.pools[name]
            if pool_obstacle(self.facts, job, pool) is not None:
                continue
            if name not in self.rooms:
                self.rooms[name] = _Room(self.turn, pool, borrowers)
            if self.rooms[name].make(job):
                self.wanted.add(name)
                return True
        return False

    def lend(self, lines: Sequence[Line], start: Start, most: int) -> int:
        """Lend what idles to heads of these lines, which found no room: at most so many ranks start. Returns how many
        jobs started."""
        lenders = [pool for pool in self.search.pools if pool.spec.lends and pool.spec.name not in self.wanted]
        if not lenders or self.facts.health_halt:  # nothing could be taken back
            return 0
        alive = (line for line in lines if line.head() is not None)
        borrowers = deque(line for line in alive if self._head(line).spec.constraints.borrow)
        started = 0
        while borrowers and most > 0:
            line = borrowers.popleft()  # in turns, so that nobody's long line takes all of it
            found = self._place(self._head(line), lenders) if line.head() is not None else None
            if found is not None:
                start(self.turn, self._head(line), found)
                started += 1
                most -= len(found)
                borrowers.append(line)
        return started

    def _head(self, line: Line) -> Job:
        return self.facts.jobs[line.heap[0][2]]

    def _place(self, job: Job, pools: Sequence[Pool]) -> tuple[Worker, ...] | None:
        if job_obstacle(self.facts, job, self.turn.now_ms) is not None:
            return None
        for pool in pools:
            if may_borrow(pool.spec, job) and room_obstacle(self.facts, job, pool) is None:
                answer = self.search.in_pool(job, pool)
                if not isinstance(answer, Reason):
                    return answer
        return None


class _Room:
    """Free room of a pool: `soon`, when all that is being stopped has gone; `most`, when every borrower has.

    What an owner will have is taken out of both, so that the next one does not count on it.
    """

    def __init__(self, turn: Turn, pool: Pool, borrowers: Sequence[Job]) -> None:
        self.turn = turn
        self.pool = pool
        self.workers = {name: turn.facts.workers[name] for name in pool.workers}
        self.soon = {
            name: (worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices))
            for name, worker in self.workers.items()
            if fit.takes_work(worker)
        }
        running = dict.fromkeys(name for worker in self.workers.values() for name in worker.running)
        for job in (turn.facts.jobs[name] for name in running):
            if job.state is JobState.stopping:
                self._change(self.soon, _holdings(job))
        self.most = dict(self.soon)
        for job in borrowers:
            if job.state is not JobState.stopping:
                self._change(self.most, _holdings(job))
        able = [job for job in borrowers if may_stop(turn.facts, job, turn.now_ms)]
        self.victims = sorted(able, key=lambda job: _loss(job, turn.now_ms))
        names = [job.id for job in borrowers]
        self.kept = Kept(turn.facts, pool, names) if pool.spec.reservations else None

    def make(self, job: Job) -> bool:
        """See that there will be room for an owner, if there is without the borrowers; returns whether there is."""
        open_to = self._open_to(job)
        seats = self._seats(self.soon, job, open_to)
        if seats is None:
            seats = self._seats(self.most, job, open_to)
            if seats is None:
                return False
            victims = self._choose(job, open_to)
            for victim in victims:
                self._stop(victim, job)
            if victims:
                seats = self._seats(self.soon, job, open_to) or seats
                self._keep(job, seats)
        taken = [(name, job.resources, -1) for name in seats]
        self._change(self.soon, taken)
        self._change(self.most, taken)
        return True

    def _open_to(self, job: Job) -> list[str]:
        workers = (self.workers[name] for name in self.soon)
        able = [one for one in workers if one.reserved_for in ("", job.id) and fit.could_fit(one.shape, job.resources)]
        return [worker.id for worker in (able if self.kept is None else self.kept.open_to(job, able))]

    def _seats(self, free: dict[str, tuple[int, int, int]], job: Job, names: Sequence[str]) -> list[str] | None:
        """A worker for each rank, or None."""
        seats: list[str] = []
        for name in names:
            seats += [name] * min(fit.times(*free[name], job.resources), job.spec.gang - len(seats))
            if len(seats) == job.spec.gang:
                return seats
        return None

    def _choose(self, job: Job, names: Sequence[str]) -> list[Job]:
        """The borrowers to stop: of all on one worker that make room those that lose the least, for a gang anywhere.

        Empty when that takes one that has only just started.
        """
        places = [[name] for name in names] if job.spec.gang == 1 else [list(names)]
        found = [chosen for place in places if (chosen := self._enough(job, place))]
        return min(found, key=self._loss_of, default=[])

    def _loss_of(self, chosen: list[Job]) -> tuple[int, int, int]:
        losses = [_loss(job, self.turn.now_ms) for job in chosen]
        return sum(loss[0] for loss in losses), sum(loss[1] for loss in losses), losses[0][2]

    def _enough(self, job: Job, names: Sequence[str]) -> list[Job]:
        among = frozenset(names)
        free = {name: self.soon[name] for name in names}
        chosen: list[Job] = []
        for victim in self.victims:
            held = [part for part in _holdings(victim) if part[0] in among]
            if not held:
                continue
            self._change(free, held)
            chosen.append(victim)
            if self._seats(free, job, names) is not None:
                return [one for one in reversed(chosen) if not self._is_spare(free, job, names, one)]
        return []

    def _is_spare(self, free: dict[str, tuple[int, int, int]], job: Job, names: Sequence[str], victim: Job) -> bool:
        """Whether there is room without stopping this one too; if so it is left out of `free` from here on."""
        held = [(name, need, -sign) for name, need, sign in _holdings(victim) if name in free]
        without = dict(free)
        self._change(without, held)
        if self._seats(without, job, names) is None:
            return False
        free.update(without)
        return True

    def _keep(self, job: Job, seats: Sequence[str]) -> None:
        """Nobody else takes the room that is made."""
        release(self.turn, job)
        for name, ranks in Counter(seats).items():
            self.turn.emit(WorkerReserved(at_ms=self.turn.now_ms, worker=name, job=job.id, ranks=ranks))

    def _stop(self, job: Job, owner: Job) -> None:
        self.victims.remove(job)
        self._change(self.soon, _holdings(job))
        give_way(self.turn, job, owner)

    @staticmethod
    def _change(free: dict[str, tuple[int, int, int]], parts: Sequence[tuple[str, Resources, int]]) -> None:
        for name, need, sign in parts:
            if name in free:
                cpu, memory, gpus = free[name]
                free[name] = (
                    cpu + sign * need.cpu_milli,
                    memory + sign * need.memory_bytes,
                    gpus + sign * need.gpus,
                )


def _holdings(job: Job) -> list[tuple[str, Resources, int]]:
    attempt = job.attempts[-1]
    return [(member.worker, attempt.resources, 1) for member in attempt.members]


def _loss(job: Job, now_ms: int) -> tuple[int, int, int]:
    """Work that a stop loses, which is none where the job saves itself; then what ran least long; then the newest."""
    lost_ms = lost_work_ms(job, now_ms)
    return (0 if job.spec.checkpoint is not None else lost_ms, lost_ms, -job.number)


def borrowers_of(facts: Facts, pool: str) -> Iterator[Job]:
    """The jobs that run in the pool and give way to its owners."""
    return (job for name in facts.borrowed if (job := facts.jobs[name]).attempts[-1].pool == pool)
