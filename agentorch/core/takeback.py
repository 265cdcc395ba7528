"""What borrowers of one pool hold, and which of them give it back to an owner that waits. Of one scheduling pass.

A worker is looked at only when it may matter: because a borrower is there, or, for gangs and in pools with
reservations, because it has room.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from agentorch.core import fit
from agentorch.core.displace import Room, give_way, release, soon_free
from agentorch.core.facts import Facts
from agentorch.core.reservations import Kept, part_of
from agentorch.core.stopping import lost_work_ms, may_stop
from agentorch.core.turn import Turn
from agentorch.model import limits
from agentorch.model.events import WorkerReserved
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, JobState, Resources

#: Of those that together make room, so many are looked at whether there is room without them too.
SPARED_MOST = 32


class Takeback:
    """`looks` counts the workers that were looked at. What an owner will have, the next one does not count on."""

    def __init__(self, turn: Turn, pool: Pool, borrowers: Sequence[Job]) -> None:
        self.turn = turn
        self.facts: Facts = turn.facts
        self.pool = pool
        self.looks = 0
        self.on: dict[str, list[Job]] = {}  # by worker: borrowers that are not being stopped
        self.going: dict[str, None] = {}  # workers where borrowers are being stopped
        self.soon: dict[str, Room] = {}  # free there, when all that is being stopped has gone
        self.hopeless: list[Job] = []  # without borrowers too there is no room for these,
        self.young: list[Job] = []  # nor for these without those that may be stopped already
        self.kept: Kept | None = None  # what is reserved, in view of `soon`
        self.kept_most: Kept | None = None  # and when every borrower has gone
        self.stopped = 0
        for job in borrowers:
            for name in self._workers(job):
                if job.state is JobState.stopping:
                    self.going[name] = None
                else:
                    self.on.setdefault(name, []).append(job)
        if pool.spec.reservations:
            self.kept = Kept(turn.facts, pool, [job.id for job in borrowers if job.state is JobState.stopping])
            self.kept_most = Kept(turn.facts, pool, [job.id for job in borrowers])
            for owner, names in turn.facts.reserved.items():
                self._claim(turn.facts.jobs[owner], names)
        able = [job for job in borrowers if may_stop(turn.facts, job, turn.now_ms)]
        able.sort(key=self._loss)
        self.victims = {job.id: job for job in able}  # those that lose least first

    def make(self, job: Job) -> bool:
        """See that there will be room for an owner, if there is without the borrowers; returns whether there is."""
        self._claim(job, ())
        seats = self._seats(job)
        if seats is None:
            seats = None if self._is_as(self.hopeless, job) else self._seats(job, most=True)
            if seats is None:
                self._note(self.hopeless, job)
                return False
            seats = self._give_back(job) or seats
        for name in seats:
            self._change(name, job.resources, -1)
        self._claim(job, seats)
        return True

    def _give_back(self, job: Job) -> list[str] | None:
        """Stop borrowers for the owner and keep the room for it, if that is possible now; where it will be."""
        if self.stopped >= limits.DISPATCH_PER_PASS or self._is_as(self.young, job):
            return None
        victims = self._choose(job)
        if not victims:
            self._note(self.young, job)
            return None
        for victim in victims:
            self._stop(victim, job)
        seats = self._seats(job)
        if seats is not None:
            self._keep(job, seats)
        return seats

    def started(self, job: Job, workers: Iterable[Worker]) -> None:
        """Something has, there."""
        for worker in workers:
            if worker.id in self.soon:
                self._change(worker.id, job.resources, -1)
            self._recount(worker.id)
        self._claim(job, ())

    # -- room

    def _seats(self, job: Job, *, most: bool = False) -> list[str] | None:
        """A worker for each rank once what is being stopped has gone, or with `most` every borrower; or None."""
        kept = self.kept_most if most else self.kept
        workers: Iterable[Worker] = self._candidates(job, most)
        if kept is not None:
            workers = kept.open_to(job, workers)
        seats: list[str] = []
        for worker in workers:
            ranks = fit.times(*self._room(worker.id, most), job.resources)
            seats += [worker.id] * min(ranks, job.spec.gang - len(seats))
            if len(seats) == job.spec.gang:
                return seats
        return None

    def _candidates(self, job: Job, most: bool) -> Iterator[Worker]:
        """The open workers where there may be room, one by one."""
        names = dict.fromkeys(self.facts.reserved.get(job.id, ()))
        names.update(self.going)
        yield from self._open(job, names)
        if most:
            yield from self._open(job, (name for name in self.on if name not in names))
        if job.spec.gang > 1 or self.kept is not None:  # else the search has just looked at those with room
            for name in self.turn.state.rooms.widest(self.pool.spec.name, job.resources):
                if name not in names and not (most and name in self.on):
                    yield from self._open(job, (name,))

    def _open(self, job: Job, names: Iterable[str]) -> Iterator[Worker]:
        for name in names:
            self.looks += 1
            worker = self.facts.workers[name]
            if worker.pool != self.pool.spec.name or worker.reserved_for not in ("", job.id):
                continue
            if fit.takes_work(worker) and fit.could_fit(worker.shape, job.resources):
                yield worker

    def _room(self, name: str, most: bool) -> Room:
        room = self.soon.get(name)
        if room is None:
            room = self.soon[name] = soon_free(self.facts, self.facts.workers[name])
        if most:
            for other in self.on.get(name, ()):
                room = _plus(room, other.attempts[-1].resources, other.attempts[-1].ranks_on(name))
        return room

    def _change(self, name: str, held: Resources, ranks: int) -> None:
        self.soon[name] = _plus(self._room(name, most=False), held, ranks)

    def _claim(self, job: Job, names: Sequence[str]) -> None:
        """Of what is reserved, so much as the job will take there, or nothing, is as good as in use."""
        for kept in (self.kept, self.kept_most):
            if kept is not None:
                kept.expect(job, [name for name in names if self.facts.workers[name].pool == self.pool.spec.name])

    def _recount(self, name: str) -> None:
        for kept in (self.kept, self.kept_most):
            if kept is not None:
                kept.recount(self.facts, self.facts.workers[name])

    def _is_as(self, found: Sequence[Job], job: Job) -> bool:
        """Whether one of these needed no more than this job does: what it lacked, this one lacks too."""
        return job.id not in self.facts.reserved and any(self._needs_no_more(one, job) for one in found)

    def _needs_no_more(self, one: Job, job: Job) -> bool:
        if one.resources.gpu_model != job.resources.gpu_model:
            return False
        if part_of(self.pool.spec, one) != part_of(self.pool.spec, job):
            return False
        return all(low <= high for low, high in zip(_size(one), _size(job), strict=True))

    def _note(self, found: list[Job], job: Job) -> None:
        if not self._is_as(found, job):
            found[:] = [one for one in found if not self._needs_no_more(job, one)]
            found.append(job)

    # -- who gives way

    def _choose(self, job: Job) -> list[Job]:
        """The borrowers to stop: of all on one worker that make room those that lose the least, else anywhere.

        Empty when that takes one that has only just started.
        """
        if job.spec.gang == 1:
            found = self._on_one_worker(job)
            if found or self.kept is None:
                return found
        return self._anywhere(job)

    def _on_one_worker(self, job: Job) -> list[Job]:
        """Workers in the order of their borrowers that lose least, until none can cost less than the best so far."""
        seen: set[str] = set()
        best: list[Job] = []
        least: tuple[int, int] | None = None
        for victim in self._able():
            if least is not None and least <= self._loss(victim)[:2]:
                break
            for worker in self._open(job, [name for name in self._workers(victim) if name not in seen]):
                seen.add(worker.id)
                found = self._enough(job, worker)
                if found and (least is None or self._losses(found) < least):
                    best, least = found, self._losses(found)
        return best

    def _enough(self, job: Job, worker: Worker) -> list[Job]:
        """Of the borrowers on one worker, as few as make room; or none."""
        able = [one for one in self.on.get(worker.id, ()) if one.id in self.victims and _runs(one)]
        room, chosen = self._room(worker.id, most=False), list[Job]()
        for victim in sorted(able, key=self._loss):
            room = _plus(room, victim.attempts[-1].resources, victim.attempts[-1].ranks_on(worker.id))
            chosen.append(victim)
            if fit.times(*room, job.resources):
                break
        else:
            return []
        for victim in chosen[-2::-1]:  # those that lose most are spared first
            less = _plus(room, victim.attempts[-1].resources, -victim.attempts[-1].ranks_on(worker.id))
            if fit.times(*less, job.resources):
                room = less
                chosen.remove(victim)
        if self.kept is None:
            return chosen
        new = self._let_go(chosen)
        may = bool(self.kept.open_to(job, [worker]))
        self._bring_back(chosen, new)
        return chosen if may else []

    def _anywhere(self, job: Job) -> list[Job]:
        """The fewest of those that lose least that make room together, but those that prove not to be needed."""
        helpful = (one for one in self._able() if self._helps(one, job))
        able = list(islice(helpful, 1))
        while not self._suffice(job, able):
            more = list(islice(helpful, len(able)))
            if not more:
                return []
            able += more
        enough = range(len(able) // 2, len(able))
        count = enough.start + bisect_left(enough, True, key=lambda some: self._suffice(job, able[:some]))
        chosen = able[:count]
        for victim in chosen[-2 : -2 - SPARED_MOST : -1]:
            rest = [one for one in chosen if one is not victim]
            if self._suffice(job, rest):
                chosen = rest
        return chosen

    def _helps(self, victim: Job, job: Job) -> bool:
        """Whether a rank might run where it is; and where it is not, if its going makes what is reserved less short."""
        if self.kept is not None:
            return True
        there = self._open(job, self._workers(victim))
        return any(fit.times(*self._room(worker.id, most=True), job.resources) for worker in there)

    def _suffice(self, job: Job, victims: Sequence[Job]) -> bool:
        new = self._let_go(victims)
        enough = self._seats(job) is not None
        self._bring_back(victims, new)
        return enough

    def _able(self) -> Iterator[Job]:
        return (job for job in self.victims.values() if _runs(job))

    def _let_go(self, victims: Iterable[Job]) -> list[str]:
        """As if these were being stopped; returns the workers where nobody was before."""
        new = []
        for victim in victims:
            for name in self._workers(victim):
                self._change(name, victim.attempts[-1].resources, victim.attempts[-1].ranks_on(name))
                if name not in self.going:
                    self.going[name] = None
                    new.append(name)
                if self.kept is not None:
                    self.kept.without[victim.id] = None
                    self.kept.recount(self.facts, self.facts.workers[name])
        return new

    def _bring_back(self, victims: Iterable[Job], new: Iterable[str]) -> None:
        """As if they were not, after all."""
        for victim in victims:
            for name in self._workers(victim):
                self._change(name, victim.attempts[-1].resources, -victim.attempts[-1].ranks_on(name))
                if self.kept is not None:
                    self.kept.without.pop(victim.id, None)
                    self.kept.recount(self.facts, self.facts.workers[name])
        for name in new:
            del self.going[name]

    def _workers(self, job: Job) -> list[str]:
        names = dict.fromkeys(member.worker for member in job.attempts[-1].members)
        return [name for name in names if name in self.facts.workers]

    def _loss(self, job: Job) -> tuple[int, int, int]:
        """Work that a stop loses, none where the job saves itself; then what ran least long; then the newest."""
        lost_ms = lost_work_ms(job, self.turn.now_ms)
        return (0 if job.spec.checkpoint is not None else lost_ms, lost_ms, -job.number)

    def _losses(self, chosen: Sequence[Job]) -> tuple[int, int]:
        losses = [self._loss(job) for job in chosen]
        return sum(loss[0] for loss in losses), sum(loss[1] for loss in losses)

    # -- what is ordered

    def _keep(self, job: Job, seats: Sequence[str]) -> None:
        """Nobody else takes the room that is made."""
        release(self.turn, job)
        for name, ranks in Counter(seats).items():
            self.turn.emit(WorkerReserved(at_ms=self.turn.now_ms, worker=name, job=job.id, ranks=ranks))
            self.going.pop(name, None)  # it is found as the job's own

    def _stop(self, victim: Job, owner: Job) -> None:
        self._let_go((victim,))
        self.stopped += 1
        del self.victims[victim.id]
        for name in self._workers(victim):
            self.on[name].remove(victim)
        give_way(self.turn, victim, owner)


def _runs(job: Job) -> bool:
    """Still: within the pass it may have been stopped for other work."""
    return job.state is JobState.running


def _plus(room: Room, held: Resources, ranks: int) -> Room:
    return (
        room[0] + ranks * held.cpu_milli,
        room[1] + ranks * held.memory_bytes,
        room[2] + ranks * held.gpus,
    )


def _size(job: Job) -> tuple[int, ...]:
    need = job.resources
    return need.cpu_milli, need.memory_bytes, need.gpus, need.gpu_memory_bytes, job.spec.gang
