"""What a pool reserves for tenants and tiers, and what that leaves to others (G10).

A job counts for the first reservation of the pool that names it, and may always take what that one leaves unused.
Anything beyond, and anybody else, only finds room as long as enough stays for what the other reservations leave
unused. Of reserved workers each is either empty, or runs such work alone; reserved GPUs and cores may be anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentorch.core import fit
from agentorch.core.facts import Facts
from agentorch.model.fleet import Pool, PoolSpec, Reservation, Worker
from agentorch.model.jobs import Attempt, Job

#: The part of work that no reservation names.
OUTSIDE = -1
#: On one worker: nothing, or work of several parts.
EMPTY, MIXED = -2, -3


class Amount(NamedTuple):
    """GPUs and thousandths of cores."""

    gpus: int
    cpu_milli: int

    def plus(self, other: Amount, sign: int = 1) -> Amount:
        return Amount(self.gpus + sign * other.gpus, self.cpu_milli + sign * other.cpu_milli)

    def short_of(self, wanted: Amount) -> Amount:
        return Amount(max(0, wanted.gpus - self.gpus), max(0, wanted.cpu_milli - self.cpu_milli))

    def covers(self, wanted: Amount) -> bool:
        return self.gpus >= wanted.gpus and self.cpu_milli >= wanted.cpu_milli


NONE = Amount(0, 0)


def part_of(spec: PoolSpec, job: Job) -> int:
    """The index of the first reservation that names the job, or `OUTSIDE`."""
    for index, one in enumerate(spec.reservations):
        if one.tenant in ("", job.tenant) and one.tier in ("", job.spec.tier):
            return index
    return OUTSIDE


def wanted(one: Reservation) -> Amount:
    return Amount(one.gpus, one.cpu_milli)


_NOBODY: dict[str, int] = {}


class _Seen(NamedTuple):
    """What a worker adds to the sums of its pool."""

    part: int
    usable: bool
    free: Amount
    held: tuple[tuple[int, Amount], ...]  # by work that a reservation names


class Kept:
    """A pool with reservations as it stands, or would stand without some jobs. O(its workers + what runs there).

    `everywhere`: workers that take nothing new count too.
    """

    def __init__(self, facts: Facts, pool: Pool, without: Iterable[str] = (), *, everywhere: bool = False) -> None:
        self.spec = pool.spec
        self.facts = facts
        self.without = dict.fromkeys(without)
        self.expected: dict[str, dict[str, int]] = {}  # by worker: jobs as good as there, and how many ranks of each
        self.everywhere = everywhere
        self.used = [NONE] * len(pool.spec.reservations)  # by the work that each names
        self.alone = [0] * len(pool.spec.reservations)  # workers that run nothing else
        self.of: dict[str, int] = {}  # by worker: whose work it runs
        self.free = NONE  # but on workers that are reserved and in use
        self.empty = 0
        self._seen: dict[str, _Seen] = {}
        for name in pool.workers:
            self.recount(facts, facts.workers[name])

    def recount(self, facts: Facts, worker: Worker) -> None:
        """What runs on the worker has changed."""
        before = self._seen.get(worker.id)
        if before is not None:
            self._add(before, -1)
        now = self._seen[worker.id] = self._look(facts, worker)
        self.of[worker.id] = now.part
        self._add(now, 1)

    def expect(self, job: Job, workers: Iterable[str]) -> None:
        """Count the job as if it ran there, a rank for each time that a worker is named; and nowhere else any more."""
        before = [name for name, jobs in self.expected.items() if jobs.pop(job.id, 0)]
        coming = Counter(workers)
        for name, ranks in coming.items():
            self.expected.setdefault(name, {})[job.id] = ranks
        for name in dict.fromkeys((*before, *coming)):
            self.recount(self.facts, self.facts.workers[name])

    def _look(self, facts: Facts, worker: Worker) -> _Seen:
        parts: dict[int, None] = {}
        named: list[tuple[int, Amount]] = []
        free = Amount(len(worker.free_devices), worker.free_cpu_milli)
        for name in worker.running:
            job = facts.jobs[name]
            held = _held(job.attempts[-1], worker.id)
            if name in self.without:
                free = free.plus(held)
                continue
            part = part_of(self.spec, job)
            parts[part] = None
            if part != OUTSIDE:
                named.append((part, held))
        for name, ranks in self.expected.get(worker.id, _NOBODY).items():
            job = facts.jobs[name]
            held = Amount(job.resources.gpus * ranks, job.resources.cpu_milli * ranks)
            free = free.plus(held, -1)
            part = part_of(self.spec, job)
            parts[part] = None
            if part != OUTSIDE:
                named.append((part, held))
        part = EMPTY if not parts else next(iter(parts)) if len(parts) == 1 else MIXED
        return _Seen(part, self.everywhere or fit.takes_work(worker), free, tuple(named))

    def _add(self, seen: _Seen, sign: int) -> None:
        for part, held in seen.held:
            self.used[part] = self.used[part].plus(held, sign)
        if seen.part >= 0:
            self.alone[seen.part] += sign
        if seen.usable:
            self.empty += sign * (seen.part == EMPTY)
            if seen.part < 0 or not self.spec.reservations[seen.part].workers:
                self.free = self.free.plus(seen.free, sign)

    def unused_workers(self, part: int) -> int:
        """How many workers a reservation leaves unused."""
        return max(0, self.spec.reservations[part].workers - self.alone[part])

    def unused(self, part: int) -> Amount:
        """GPUs and cores that it leaves unused."""
        return self.used[part].short_of(wanted(self.spec.reservations[part]))

    def short_workers(self, but: int = OUTSIDE) -> int:
        """Empty workers that must stay for what reservations, all but one, leave unused."""
        return sum(self.unused_workers(part) for part in range(len(self.used)) if part != but)

    def short(self, but: int = OUTSIDE) -> Amount:
        """GPUs and cores that must stay, likewise, those of reserved workers too."""
        shape, workers = self.spec.shape, self.short_workers(but)
        total = Amount(shape.gpus * workers, shape.cpu_milli * workers)
        for part in range(len(self.used)):
            if part != but:
                total = total.plus(self.unused(part))
        return total

    def is_within(self, job: Job) -> bool:
        """Whether the job only takes what its own reservation leaves unused: nobody may be in its way."""
        part = part_of(self.spec, job)
        if part == OUTSIDE:
            return False
        one = self.spec.reservations[part]
        if one.workers:
            whole = max(1, fit.at_once(self.spec.shape, job.resources))
            return one.workers - self.alone[part] >= -(-job.spec.gang // whole)
        return self._amount_within(job, part)

    def _amount_within(self, job: Job, part: int) -> bool:
        one = self.spec.reservations[part]
        total = self.used[part].plus(_needs(job))
        return (not one.gpus or total.gpus <= one.gpus) and (not one.cpu_milli or total.cpu_milli <= one.cpu_milli)

    def leaves_enough(self, job: Job) -> bool:
        """Whether enough GPUs and cores stay for others' reservations when the job has started.

        As long as reserved workers are still to become empty, nothing beyond what is reserved for it starts on those in
        use: it would keep them from that for ever.
        """
        part = part_of(self.spec, job)
        if part != OUTSIDE and not self.spec.reservations[part].workers and self._amount_within(job, part):
            return True
        if self.empty < self.short_workers(part):
            return False
        return self.free.covers(self.short(part).plus(_needs(job)))

    def open_to(self, job: Job, workers: Iterable[Worker]) -> list[Worker]:
        """Those of the workers that the job may use, in order; of empty ones a gang sees as many as it may take."""
        door = Door(self, job)
        return [worker for worker in workers if door.admits(worker)]


class Door:
    """Which workers of a pool a job may use, asked for one after the other."""

    def __init__(self, kept: Kept, job: Job) -> None:
        self.kept = kept
        self.part = part_of(kept.spec, job)
        own = kept.unused_workers(self.part) if self.part != OUTSIDE else 0
        self.shares = kept.leaves_enough(job)
        self.left = max(own, kept.empty - kept.short_workers(self.part)) if self.shares else own
        self.over = [there - one.workers for there, one in zip(kept.alone, kept.spec.reservations, strict=True)]
        self.gang = job.spec.gang > 1

    def admits(self, worker: Worker) -> bool:
        owner = self.kept.of.get(worker.id, EMPTY)
        if owner == EMPTY:
            may = self.left > 0
            self.left -= self.gang
            return may
        if owner < 0 or not self.kept.spec.reservations[owner].workers:
            return self.shares
        if owner == self.part:
            return True
        may = self.shares and self.over[owner] > 0
        self.over[owner] -= self.gang
        return may


def lasting(facts: Facts, job: Job, pool: Pool, workers: Sequence[Worker]) -> Sequence[Worker]:
    """Those of the pool's workers that may be the job's when what runs there has ended: all but those that are reserved
    for others. Which these will be is a guess: the ones that they use now, then empty ones. Amounts are not looked at.
    """
    parts = pool.spec.reservations
    mine = part_of(pool.spec, job)
    left = {part: one.workers for part, one in enumerate(parts) if part != mine and one.workers}
    if not left:
        return workers
    kept = Kept(facts, pool)
    theirs: set[str] = set()
    for worker in workers:
        owner = kept.of.get(worker.id, EMPTY)
        if left.get(owner, 0) > 0:
            left[owner] -= 1
            theirs.add(worker.id)
    rest = sum(left.values())
    others = [worker for worker in workers if worker.id not in theirs]
    others.sort(key=lambda worker: kept.of.get(worker.id, EMPTY) != EMPTY)
    theirs.update(worker.id for worker in others[:rest])
    return [worker for worker in workers if worker.id not in theirs]


def _held(attempt: Attempt, worker: str) -> Amount:
    ranks = attempt.ranks_on(worker)
    return Amount(attempt.resources.gpus * ranks, attempt.resources.cpu_milli * ranks)


def _needs(job: Job) -> Amount:
    return Amount(job.resources.gpus * job.spec.gang, job.resources.cpu_milli * job.spec.gang)


def goes_before(kept: Kept, job: Job, other: Job) -> bool:
    """Whether room that is kept for `other` is no obstacle: the job takes what is reserved for it, the other's not."""
    return part_of(kept.spec, job) not in (OUTSIDE, part_of(kept.spec, other)) and kept.is_within(job)


def describe(one: Reservation) -> str:
    """For people: `2 workers for tenant a`, `16 GPUs for tier realtime`."""
    parts = [(one.workers, "worker"), (one.gpus, "GPU"), (one.cpu_milli / 1000, "cpu")]
    what = " and ".join(f"{count:g} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count)
    whom = " ".join(f"{kind} {name}" for kind, name in (("tenant", one.tenant), ("tier", one.tier)) if name)
    return f"{what} for {whom}"


def text(pool: Pool, job: Job) -> str:
    """For people: what is reserved for others than this job."""
    mine = part_of(pool.spec, job)
    others = [describe(one) for part, one in enumerate(pool.spec.reservations) if part != mine]
    return f"{pool.spec.name} reserves {', '.join(others)}"


def wrong(spec: PoolSpec) -> str:
    """What makes the pool's reservations impossible, in words; "" when nothing does."""
    for one in spec.reservations:
        if not one.tenant and not one.tier:
            return "a reservation names a tenant, a tier, or both"
        if min(one.workers, one.gpus, one.cpu_milli) < 0 or bool(one.workers) == bool(one.gpus or one.cpu_milli):
            return f"the reservation for {one.tenant or one.tier} is either of workers, or of gpus and cpus"
    workers = sum(one.workers for one in spec.reservations)
    if workers > spec.max_workers:
        return f"{workers} workers are reserved; there are at most {spec.max_workers}"
    total = Amount(
        sum(one.gpus for one in spec.reservations) + workers * spec.shape.gpus,
        sum(one.cpu_milli for one in spec.reservations) + workers * spec.shape.cpu_milli,
    )
    most = Amount(spec.max_workers * spec.shape.gpus, spec.max_workers * spec.shape.cpu_milli)
    if not most.covers(total):
        found = f"{total.gpus} GPUs and {total.cpu_milli / 1000:g} cores are reserved"
        return f"{found}; there are at most {most.gpus} and {most.cpu_milli / 1000:g}"
    return ""


def breaches(facts: Facts, pool: Pool) -> list[str]:
    """Work that took what a reservation leaves unused, in words.

    Judged on every worker that there is, by what started since workers last went or reservations changed: what ran by
    then may stay.
    """
    if not pool.spec.reservations:
        return []
    kept = Kept(facts, pool, everywhere=True)
    if kept.short_workers() <= kept.empty and kept.free.covers(kept.short()):
        return []
    names = dict.fromkeys(name for worker in pool.workers for name in facts.workers[worker].running)
    late = [facts.jobs[name] for name in names if facts.jobs[name].attempts[-1].ordered_ms > pool.room_lost_ms]
    return [f"{job.id} takes room of {pool.spec.name} that is reserved" for job in late if _is_beyond(kept, job)]


def _is_beyond(kept: Kept, job: Job) -> bool:
    part = part_of(kept.spec, job)
    if part == OUTSIDE:
        return True
    one = kept.spec.reservations[part]
    if one.workers:
        return kept.alone[part] > one.workers
    return not wanted(one).covers(kept.used[part])
