"""The scheduler stops work for work with a better claim, where the gain is sure to beat the cost.

Only work with a checkpoint gives way, never realtime work, work that is not preemptible or has a deadline, and none
before its minimum run time (G8) or `claims.undisturbed_ms`. It gives way to work of a more urgent tier; in its own tier
to work with at most half its debt, of the same tenant or of one whose fair share is less used. Those who owe most go
first, no more of them than make room, and of one pool at most the blast radius (G6) within its window. The room is kept
for whom it was made.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentorch.core import fairshare, fit, gangs
from agentorch.core.claims import debt_waiting, rank_owing, undisturbed_ms
from agentorch.core.facts import Facts
from agentorch.core.lending import SCHEDULER
from agentorch.core.placement import pool_obstacle
from agentorch.core.reservations import Kept
from agentorch.core.stopping import may_stop
from agentorch.core.turn import Turn
from agentorch.model import limits
from agentorch.model.events import JobStopping, WorkerReserved
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import TIER_RANK, Cause, Job, JobState

#: Free cores in thousandths, bytes of memory and GPUs.
Room = tuple[int, int, int]


def displace(turn: Turn, job: Job) -> bool:
    """Stop what may give way to a job for which there is no room, in the first of its pools where that suffices.

    Returns whether room is being made for it, now or by stops under way.
    """
    facts = turn.facts
    if facts.health_halt:  # G11
        return False
    least_rank = rank_owing(limits.DISPLACE_FACTOR * debt_waiting(job, turn.now_ms), turn.now_ms)
    tier = TIER_RANK[job.spec.tier]
    kept = facts.reserved.get(job.id, ())
    for name in fit.candidate_pools(facts, job):
        pool = facts.pools[name]
        if not pool.spec.preempts or (kept and facts.workers[kept[0]].pool != name):
            continue
        if not turn.state.yielding.any(name, tier, least_rank) or pool_obstacle(facts, job, pool) is not None:
            continue
        clearing = _Clearing(turn, job, pool, kept)
        if clearing.is_enough() or clearing.clear(_victims(turn, job, name, least_rank)):
            return True
    return False


def _victims(turn: Turn, job: Job, pool: str, least_rank: int) -> Iterator[Job]:
    """Who may give way to the job, in the order in which they do."""
    facts, tier = turn.facts, TIER_RANK[job.spec.tier]
    for name in turn.state.yielding.lower(pool, tier):
        if _may_go(facts, facts.jobs[name], turn.now_ms):
            yield facts.jobs[name]
    own = fairshare.share(facts.tenants[job.tenant])
    for name in turn.state.yielding.owing(pool, tier, least_rank):
        other = facts.jobs[name]
        if other.tenant != job.tenant and fairshare.share(facts.tenants[other.tenant]) <= own:
            continue
        if _may_go(facts, other, turn.now_ms):
            yield other


def _may_go(facts: Facts, job: Job, now_ms: int) -> bool:
    return now_ms - job.attempts[-1].ordered_ms >= undisturbed_ms(job) and may_stop(facts, job, now_ms)


def allowance(facts: Facts, pool: Pool, now_ms: int) -> int:
    """How many more attempts of the pool the scheduler may stop now (G6)."""
    running = len({name for worker in pool.workers for name in facts.workers[worker].running})
    most = max(1, running * facts.settings.blast_radius_percent // 100)
    return most - sum(1 for at_ms in pool.gave_way_ms if at_ms > now_ms - limits.BLAST_WINDOW_MS)


class _Clearing:
    """The room that there will be for the job on workers of a pool, as one after the other gives way.

    If room is kept for it already, that is where it is made.
    """

    def __init__(self, turn: Turn, job: Job, pool: Pool, kept: tuple[str, ...] | list[str]) -> None:
        self.turn = turn
        self.job = job
        self.pool = pool
        self.kept = kept
        workers = [turn.facts.workers[name] for name in kept or pool.workers]
        able = [one for one in workers if self._is_open(one)]
        if pool.spec.reservations:
            able = Kept(turn.facts, pool).open_to(job, able)
        self.open = {worker.id: worker for worker in able}
        self.soon: dict[str, Room] = {}
        self.ranks: dict[str, int] = {}
        self.total = 0
        if job.spec.gang > 1 or kept:  # else there is no worker with room for one rank: the search has just said so
            for name in self.open:
                self._look(name)

    def _is_open(self, worker: Worker) -> bool:
        kept_for = worker.reserved_for
        return (
            kept_for in ("", self.job.id) and fit.takes_work(worker) and fit.could_fit(worker.shape, self.job.resources)
        )

    def is_enough(self) -> bool:
        return self.total >= self.job.spec.gang

    def clear(self, victims: Iterator[Job]) -> bool:
        """Stop as few as suffice, or as many of them as may be stopped at once; returns whether any or all do."""
        chosen: list[Job] = []
        for victim in victims:
            if self._free(victim, 1):
                chosen.append(victim)
                if self.is_enough():
                    break
        else:
            return False
        allowed = allowance(self.turn.facts, self.pool, self.turn.now_ms)
        if allowed <= 0:
            return False
        for victim in reversed(chosen[:-1]):  # those that owe least are spared first
            self._free(victim, -1)
            if self.is_enough():
                chosen.remove(victim)
            else:
                self._free(victim, 1)
        self._keep()
        for victim in chosen[:allowed]:
            self._stop(victim)
        return True

    def _free(self, victim: Job, sign: int) -> bool:
        """Count what it holds on open workers as free, or no longer; returns whether it holds anything there."""
        held = victim.attempts[-1].resources
        found = False
        for member in victim.attempts[-1].members:
            if member.worker in self.open:
                found = True
                self._look(member.worker)
                cpu, memory, gpus = self.soon[member.worker]
                more = cpu + sign * held.cpu_milli, memory + sign * held.memory_bytes, gpus + sign * held.gpus
                self._set(member.worker, more)
        return found

    def _look(self, name: str) -> None:
        """What is free on the worker once those that are being stopped have gone."""
        if name in self.soon:
            return
        worker = self.open[name]
        cpu, memory, gpus = worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices)
        for other in worker.running:
            job = self.turn.facts.jobs[other]
            if job.state is JobState.stopping:
                held, ranks = job.attempts[-1].resources, job.attempts[-1].ranks_on(name)
                cpu, memory = cpu + ranks * held.cpu_milli, memory + ranks * held.memory_bytes
                gpus += ranks * held.gpus
        self._set(name, (cpu, memory, gpus))

    def _set(self, name: str, room: Room) -> None:
        self.soon[name] = room
        ranks = min(self.job.spec.gang, fit.times(*room, self.job.resources))
        self.total += ranks - self.ranks.get(name, 0)
        self.ranks[name] = ranks

    def _keep(self) -> None:
        facts = self.turn.facts
        if self.kept and sum(facts.workers[name].reserved_ranks for name in self.kept) >= self.job.spec.gang:
            return
        for name in tuple(self.kept):
            self.turn.emit(WorkerReserved(at_ms=self.turn.now_ms, worker=name, job=""))
        seats = [(self.open[name], ranks) for name, ranks in self.ranks.items() if ranks]
        for worker, ranks in gangs.pack(seats, self.job.spec.gang):
            self.turn.emit(WorkerReserved(at_ms=self.turn.now_ms, worker=worker.id, job=self.job.id, ranks=ranks))

    def _stop(self, victim: Job) -> None:
        self.turn.emit(
            JobStopping(
                at_ms=self.turn.now_ms,
                job=victim.id,
                attempt=victim.attempts_made,
                cause=Cause.preempted,
                grace_ms=victim.spec.grace_ms,
                by=SCHEDULER,
                room_for=self.job.id,
            )
        )
