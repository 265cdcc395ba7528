"""The scheduler stops work for work with a better claim, where the gain is sure to beat the cost.

Only work with a checkpoint gives way, never realtime work, work that is not preemptible or has a deadline, and none
before its minimum run time (G8) or `claims.undisturbed_ms`. It gives way to work of a more urgent tier; in its own tier
to work with at most half its debt, of the same tenant or of one that used less of late. Work that lost its patience is
of the standard tier, also while it runs. Those who owe most go first, no more of them than make room, and of one pool
at most the blast radius (G6) within its window. The room is kept for whom it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from agentorch.core import fairshare, fit, gangs
from agentorch.core.claims import LEAST_DEBT_MS, debt_waiting, rank_owing, rank_waiting
from agentorch.core.facts import Facts
from agentorch.core.placement import Search, passing_obstacle
from agentorch.core.reservations import Door
from agentorch.core.state import State
from agentorch.core.stopping import may_stop
from agentorch.core.turn import Turn
from agentorch.model import limits
from agentorch.model.events import JobStopping, WorkerReserved
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Cause, Job, JobState, Resources

#: Who ordered a stop, where nobody did.
SCHEDULER = "scheduler"
#: Free cores in thousandths, bytes of memory and GPUs.
Room = tuple[int, int, int]


class Victim(NamedTuple):
    """Who may give way. `rank` says what it owes (`claims.running_rank`); None = it is of a less urgent tier."""

    rank: int | None
    job: Job


class Displacing:
    """Of one scheduling pass: what it may still stop, and what it has looked at already."""

    def __init__(self, turn: Turn, search: Search) -> None:
        self.turn = turn
        self.search = search
        self.looked = 0
        self.allowed: dict[str, int] = {}
        self.yielders: dict[tuple[str, int], _Yielders | None] = {}
        self.failed: dict[tuple[str, int, int, Resources], _Claim] = {}

    def make_room(self, job: Job, pools: Sequence[Pool]) -> bool:
        """Stop what may give way to a job for which there is no room, in the first of its pools where that suffices.

        Returns whether room is being made for it, now or by stops under way.
        """
        facts = self.turn.facts
        if facts.health_halt:  # G11
            return False
        kept = facts.reserved.get(job.id, ())
        if kept:
            pools = [pool for pool in pools if pool.spec.name == facts.workers[kept[0]].pool]
        elif self.looked >= limits.DISPLACE_PER_PASS:
            return False
        for pool in pools:
            if not pool.spec.preempts or not (kept or self.left(pool) > 0):
                continue
            if passing_obstacle(facts, job, pool) is None and self._makes_room(job, pool, kept):
                return True
        return False

    def left(self, pool: Pool) -> int:
        """How many more attempts of the pool may be stopped now."""
        name = pool.spec.name
        if name not in self.allowed:
            self.allowed[name] = allowance(self.turn.state, pool, self.turn.now_ms)
        return self.allowed[name]

    def _makes_room(self, job: Job, pool: Pool, kept: Sequence[str]) -> bool:
        """What did not suffice for a better claim to as much does not for this one, unless room is kept for it."""
        tier = rank_waiting(job, self.turn.now_ms)
        yielders = self._yielders(pool, tier)
        if kept:
            return self._clear(job, pool, kept, yielders.victims if yielders else ())
        victims = yielders.useful_to(job) if yielders else ()
        if not victims:
            return False
        key, claim = (pool.spec.name, tier, job.spec.gang, job.resources), self._claim(job)
        better = self.failed.get(key)
        if better is not None and better.covers(claim):
            return False
        self.looked += 1
        if self._clear(job, pool, (), victims):
            return True
        self.failed[key] = claim
        return False

    def _yielders(self, pool: Pool, tier: int) -> _Yielders | None:
        key = pool.spec.name, tier
        if key not in self.yielders:
            self.yielders[key] = _Yielders(self.turn, *key) if self.left(pool) > 0 else None
        return self.yielders[key]

    def _clear(self, job: Job, pool: Pool, kept: Sequence[str], victims: Sequence[Victim]) -> bool:
        clearing = _Clearing(self.turn, self.search, job, pool, kept)
        if clearing.is_enough():
            return True
        left = self.left(pool)
        if left <= 0 or not victims:
            return False
        stopped = clearing.clear(self._giving_way(self._claim(job), victims), left)
        self.allowed[pool.spec.name] = left - stopped
        return stopped > 0

    def _claim(self, job: Job) -> _Claim:
        now_ms = self.turn.now_ms
        least_rank = rank_owing(limits.DISPLACE_FACTOR * debt_waiting(job, now_ms), now_ms)
        return _Claim(job.tenant, fairshare.share(self.turn.facts.tenants[job.tenant]), least_rank)

    def _giving_way(self, claim: _Claim, victims: Sequence[Victim]) -> Iterator[Job]:
        """Those of the victims that give way to this claim, in the order in which they do."""
        tenants = self.turn.facts.tenants
        for rank, other in victims:
            if rank is not None:
                if rank < claim.least_rank:
                    return
                if other.tenant != claim.tenant and fairshare.share(tenants[other.tenant]) <= claim.share:
                    continue
            if other.state is JobState.running:  # else it has been stopped since
                yield other


class _Claim(NamedTuple):
    """What decides who gives way to a job: its tenant, how much that used of late, the least rank of its own tier."""

    tenant: str
    share: float
    least_rank: int

    def covers(self, other: _Claim) -> bool:
        """Whether all who give way to the other claim give way to this one."""
        return self.least_rank <= other.least_rank and (self.share < other.share or self.tenant == other.tenant)


class _Yielders:
    """Who may give way to work of a tier in a pool, whoever it is of, and the room on their workers without them.

    What starts or is kept later in the same pass makes it less, so that what would not suffice once does not later.
    """

    def __init__(self, turn: Turn, pool: str, tier: int) -> None:
        workers, leaving = turn.facts.workers, turn.state.yielding.leaving
        self.victims = list(_may_go(turn, pool, tier))
        self.useful: dict[Resources, list[Victim]] = {}
        self.rooms: dict[str, Room] = {}  # on workers where none is kept
        self.there: dict[str, list[int]] = {}  # by such worker, which of the victims
        for index, (_, job) in enumerate(self.victims):
            attempt = job.attempts[-1]
            for name in [member.worker for member in attempt.ranks] or (attempt.worker,):
                room = self.rooms.get(name)
                if room is None:
                    worker = workers[name]
                    if worker.reserved_for:
                        continue
                    room = soon_free(turn.facts, worker) if leaving else free_on(worker)
                    self.there[name] = []
                self.rooms[name] = _more(room, attempt.resources, 1)
                self.there[name].append(index)

    def useful_to(self, job: Job) -> list[Victim]:
        """Those on a worker where there would be room if all gave way; for a gang all."""
        need = job.resources
        if job.spec.gang > 1:
            return self.victims
        if need not in self.useful:
            enough = [name for name, room in self.rooms.items() if _holds(room, need)]
            found = sorted({index for name in enough for index in self.there[name]})
            self.useful[need] = [self.victims[index] for index in found]
        return self.useful[need]


def _may_go(turn: Turn, pool: str, tier: int) -> Iterator[Victim]:
    """A bounded number of the work that may give way to work of this tier that has hardly run, in order."""
    jobs, now_ms = turn.facts.jobs, turn.now_ms
    least_rank = rank_owing(limits.DISPLACE_FACTOR * LEAST_DEBT_MS, now_ms)
    for rank, name in islice(turn.state.yielding.entries(pool, tier), limits.DISPLACE_LOOKS):
        if rank is not None and rank < least_rank:
            return
        job = jobs[name]
        if may_stop(turn.facts, job, now_ms):
            yield Victim(rank, job)


def allowance(state: State, pool: Pool, now_ms: int) -> int:
    """How many more attempts of the pool the scheduler may stop now, beside those that supervisors stop (G6)."""
    facts, since_ms = state.facts, now_ms - limits.BLAST_WINDOW_MS
    most = max(1, state.yielding.busy[pool.spec.name] * facts.settings.blast_radius_percent // 100)
    ordered = sum(
        count
        for one in facts.acted
        if one.disruption == "preemption" and one.at_ms > since_ms
        for name, count in one.disturbs
        if name == pool.spec.name
    )
    return most - ordered - gave_way(pool, now_ms)


def gave_way(pool: Pool, now_ms: int) -> int:
    """How many attempts of the pool were stopped for other work within the window of G6."""
    return sum(1 for at_ms in pool.gave_way_ms if at_ms > now_ms - limits.BLAST_WINDOW_MS)


def give_way(turn: Turn, victim: Job, job: Job) -> None:
    """Stop the victim to make room for the job."""
    turn.emit(
        JobStopping(
            at_ms=turn.now_ms,
            job=victim.id,
            attempt=victim.attempts_made,
            cause=Cause.preempted,
            grace_ms=victim.spec.grace_ms,
            by=SCHEDULER,
            room_for=job.id,
        )
    )


def release(turn: Turn, job: Job) -> None:
    """Keep no room for the job any more."""
    for name in tuple(turn.facts.reserved.get(job.id, ())):
        turn.emit(WorkerReserved(at_ms=turn.now_ms, worker=name, job=""))


def free_on(worker: Worker) -> Room:
    return worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices)


def soon_free(facts: Facts, worker: Worker) -> Room:
    """What is free on the worker once those that are being stopped have gone."""
    room = free_on(worker)
    for name in worker.running:
        job = facts.jobs[name]
        if job.state is JobState.stopping:
            room = _more(room, job.attempts[-1].resources, job.attempts[-1].ranks_on(worker.id))
    return room


def _more(room: Room, held: Resources, times: int) -> Room:
    cpu, memory, gpus = room
    return cpu + times * held.cpu_milli, memory + times * held.memory_bytes, gpus + times * held.gpus


def _holds(room: Room, need: Resources) -> bool:
    return need.cpu_milli <= room[0] and need.memory_bytes <= room[1] and need.gpus <= room[2]


class _Clearing:
    """The room that there will be for the job on workers of a pool, as one after the other gives way.

    If room is kept for it already, that is where it is made. Else workers are looked at when somebody there may go; for
    a gang also those that have room, or will have some soon.
    """

    def __init__(self, turn: Turn, search: Search, job: Job, pool: Pool, kept: Sequence[str]) -> None:
        self.turn = turn
        self.job = job
        self.kept = kept
        self.door = Door(search.reckoned.kept(pool), job) if pool.spec.reservations else None
        self.open: dict[str, bool] = {}
        self.soon: dict[str, Room] = {}
        self.ranks: dict[str, int] = {}
        self.total = 0
        if kept or job.spec.gang > 1:  # else there is no worker with room for one rank: the search has just said so
            for name in kept or self._roomy(search, pool):
                self._look(name)

    def _roomy(self, search: Search, pool: Pool) -> Iterator[str]:
        yield from search.rooms.widest(pool.spec.name, self.job.resources)
        for name in self.turn.state.yielding.leaving:
            attempt = self.turn.facts.jobs[name].attempts[-1]
            if attempt.pool == pool.spec.name:
                yield from (member.worker for member in attempt.members)

    def is_enough(self) -> bool:
        return self.total >= self.job.spec.gang

    def clear(self, victims: Iterator[Job], allowed: int) -> int:
        """Stop as few as suffice, or as many of them as are allowed now; returns how many, 0 if all do not suffice."""
        chosen: list[Job] = []
        for victim in victims:
            if self._free(victim, 1):
                chosen.append(victim)
                if self.is_enough():
                    break
        else:
            return 0
        for victim in reversed(chosen[:-1]):  # those that owe least are spared first
            self._free(victim, -1)
            if self.is_enough():
                chosen.remove(victim)
            else:
                self._free(victim, 1)
        self._keep()
        for victim in chosen[:allowed]:
            give_way(self.turn, victim, self.job)
        return len(chosen[:allowed])

    def _free(self, victim: Job, sign: int) -> bool:
        """Count what it holds on open workers as free, or no longer; returns whether it holds anything there."""
        held = victim.attempts[-1].resources
        found = False
        for member in victim.attempts[-1].members:
            if (not self.kept or member.worker in self.kept) and self._look(member.worker):
                found = True
                self._set(member.worker, _more(self.soon[member.worker], held, sign))
        return found

    def _look(self, name: str) -> bool:
        """Whether the job may use the worker; if so, its room counts from here on."""
        known = self.open.get(name)
        if known is None:
            worker = self.turn.facts.workers[name]
            known = self.open[name] = self._is_open(worker)
            if known:
                self._set(name, soon_free(self.turn.facts, worker))
        return known

    def _is_open(self, worker: Worker) -> bool:
        if worker.reserved_for not in ("", self.job.id) or not fit.takes_work(worker):
            return False
        return fit.could_fit(worker.shape, self.job.resources) and (self.door is None or self.door.admits(worker))

    def _set(self, name: str, room: Room) -> None:
        self.soon[name] = room
        ranks = min(self.job.spec.gang, fit.times(*room, self.job.resources))
        self.total += ranks - self.ranks.get(name, 0)
        self.ranks[name] = ranks

    def _keep(self) -> None:
        if self.kept:
            return
        workers = self.turn.facts.workers
        seats = [(workers[name], ranks) for name, ranks in self.ranks.items() if ranks]
        seats.sort(key=lambda seat: seat[0].number)  # ties go to the oldest
        for worker, ranks in gangs.pack(seats, self.job.spec.gang):
            self.turn.emit(WorkerReserved(at_ms=self.turn.now_ms, worker=worker.id, job=self.job.id, ranks=ranks))
