"""The queue: an index over the jobs that wait. Rebuildable from the facts; it carries no information of its own.

Jobs stand in *lines*: same tier, tenant, size, ranks, constraints, cap and class of duration, so that if the head of a
line does not fit, nobody in it does. A line is a heap by `order_key`, with lazy deletion. Within a tier the tenant with
the least fair share goes first; within a tenant, the line whose head has the smallest key. Picking the next job is
O(log n) in the jobs that wait. Jobs that may not start yet sleep by time or stand aside until their dependencies end.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace, merge
from itertools import islice
from typing import TypeVar

from agentorch.core.claims import came_ms
from agentorch.core.facts import Facts
from agentorch.core.forecast.memory import carried_ms
from agentorch.model import limits
from agentorch.model.fleet import Pool
from agentorch.model.jobs import TIER_RANK, WAITING, Constraints, Job, JobState, Resources

#: A job with a deadline competes as if it had been submitted this long before its latest start.
DEADLINE_LEAD_MS = limits.HOUR_MS
#: Entries of jobs that wait no longer that may be in the way before those who lose patience are listed anew.
STALE_PATIENCE = 1_000
#: Numbers of jobs that came late and have gone since, likewise.
STALE_LATE = 1_000

LineKey = tuple[int, str, Resources, Constraints, str, int, int, int | None]


def order_key(job: Job) -> int:
    """Who goes first inside a tenant and tier, least first: a time in ms that does not change while the job waits.

    Everybody ages alike, so age is the time of the submit, put off by what the job has run since, and for that by
    `DEBT_FACTOR` times what exceeds `QUANTUM_MS` (see `core.claims`). A point of priority is a head start. Dear
    deadlines pull a job forward: it goes before work submitted after `latest start - DEADLINE_LEAD_MS`.
    """
    ran_ms = carried_ms(job)
    key = came_ms(job) + ran_ms + limits.DEBT_FACTOR * max(0, ran_ms - limits.QUANTUM_MS)
    if job.deadline_ms is None:
        return key
    return min(key, job.deadline_ms - (job.spec.max_duration_ms or 0) - DEADLINE_LEAD_MS)


def line_key(job: Job) -> LineKey:
    spec = job.spec
    duration_class = (spec.max_duration_ms or 0).bit_length()  # short work may use gaps that long work may not
    return (
        TIER_RANK[spec.tier],
        job.tenant,
        job.resources,
        spec.constraints,
        job.route_pool,
        duration_class,
        spec.gang,
        spec.max_cost_usd_micros,  # it caps what a start reserves: a budget may cover some and not others
    )


T = TypeVar("T")


class Numbered(dict[int, T]):
    """Things by the number of their job, which can be walked in that order, the order of submits, however they came."""

    __slots__ = ("_last", "_late")

    def __init__(self) -> None:
        super().__init__()
        self._last = 0
        self._late: dict[int, None] = {}  # those that came after one with a greater number

    def add(self, number: int, thing: T) -> None:
        """One that is not there."""
        self[number] = thing
        if number >= self._last:
            self._last = number
            return
        self._late[number] = None
        if len(self._late) > 2 * len(self) + STALE_LATE:
            self._late = {late: None for late in self._late if late in self}

    def in_order(self) -> Iterator[tuple[int, T]]:
        """With their numbers. Costs O(k log k) for the k that came late; the rest is found one by one."""
        self._late = late = {number: None for number in sorted(self._late) if number in self}
        punctual = (number for number in self if number not in late)
        return ((number, self[number]) for number in merge(punctual, late))


Entry = tuple[int, int, str]  # (order key, number, job id)


class Line:
    """Jobs that fit in the same places. `live` maps a job's number to its entry; other heap entries are stale.

    `pools` are those that may take them, as of an `epoch` of the queue.
    """

    __slots__ = ("epoch", "heap", "key", "live", "pools")

    def __init__(self, key: LineKey) -> None:
        self.key = key
        self.heap: list[Entry] = []
        self.live: Numbered[Entry] = Numbered()
        self.epoch = -1
        self.pools: list[Pool] = []

    def __lt__(self, other: Line) -> bool:
        """Only a stale entry can tie with another line's; which of the two goes first does not matter."""
        return False

    def head(self) -> Entry | None:
        """Who goes first; afterwards it is `heap[0]`."""
        heap, live = self.heap, self.live
        while heap:
            entry = heap[0]
            if live.get(entry[1]) is entry:
                return entry
            heappop(heap)
        return None

    def in_order(self) -> Iterator[str]:
        """The ids of its jobs as they would go, found one by one: the first k cost O(k log k). It must not change."""
        heap, live = self.heap, self.live
        front = [(heap[0], 0)] if heap else []
        while front:
            entry, at = heappop(front)
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(heap):
                    heappush(front, (heap[child], child))
            if live.get(entry[1]) is entry:
                yield entry[2]


class TenantLines:
    """The lines of one tenant in one tier, ordered by their heads; entries whose key is not the head's are stale."""

    __slots__ = ("heap", "lines")

    def __init__(self) -> None:
        self.lines: dict[LineKey, Line] = {}
        self.heap: list[tuple[int, int, Line]] = []

    def offer(self, line: Line) -> None:
        """Enter the line by its present head."""
        head = line.head()
        if head is not None:
            heappush(self.heap, (head[0], head[1], line))

    def step(self, line: Line) -> None:
        """The line's head has gone: enter it by the next, in place of the old entry where that is at hand."""
        heap = self.heap
        head = line.head()
        if head is None or not heap or heap[0][2] is not line:
            self.offer(line)
        else:
            heapreplace(heap, (head[0], head[1], line))

    def first(self) -> Line | None:
        """The line whose head, then its `heap[0]`, goes first, left in the heap; None when nobody waits."""
        heap = self.heap
        while heap:
            key, number, line = heap[0]
            head = line.head()
            if head is not None and head[1] == number and head[0] == key:
                return line
            heappop(heap)
            if head is None:
                self.lines.pop(line.key, None)
        return None


class Queue:
    """Every job that waits, findable by who goes next. `epoch` counts changes of what pools are, or are paused."""

    __slots__ = ("_aside", "_patience", "_sleepers", "_where", "epoch", "facts", "tiers")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.tiers: list[dict[str, TenantLines]] = [{} for _ in TIER_RANK]
        self._where: dict[str, Line] = {}
        self._sleepers: list[tuple[int, int, str]] = []
        self.epoch = 0
        self._aside: Numbered[str] = Numbered()  # waits for time or for a dependency
        self._patience: list[tuple[int, int, str]] = []  # until when jobs are willing to wait
        for job in facts.jobs.values():
            if job.state is JobState.queued:
                self.add(job)
        self._list_impatient()  # held ones too

    def __len__(self) -> int:
        return len(self._where) + len(self._aside)

    def push(self, job: Job) -> None:
        """Enter a job that has just become queued, or whose order, size or route changed."""
        self.remove(job)
        self.add(job)

    def add(self, job: Job) -> None:
        """Enter a job that stands nowhere."""
        if job.spec.max_queue_ms is not None:
            heappush(self._patience, (job.queued_ms + job.spec.max_queue_ms, job.number, job.id))
            if len(self._patience) > 2 * len(self.facts.impatient) + STALE_PATIENCE:
                self._list_impatient()
        if job.waiting_on or job.not_before_ms > 0:
            self._aside.add(job.number, job.id)
            if not job.waiting_on:
                heappush(self._sleepers, (job.not_before_ms, job.number, job.id))
        else:
            self._stand(job)

    def remove(self, job: Job) -> None:
        """Take a job out, wherever it stands; harmless when it stands nowhere."""
        line = self._where.pop(job.id, None)
        if line is None:
            self._aside.pop(job.number, None)
        elif line.live.pop(job.number) is line.heap[0]:  # the next in line is entered only now, by its own key
            self.tiers[line.key[0]][line.key[1]].step(line)

    def wake(self, now_ms: int) -> None:
        """Bring in the sleepers whose time has come."""
        sleepers = self._sleepers
        while sleepers and sleepers[0][0] <= now_ms:
            at_ms, number, name = heappop(sleepers)
            job = self.facts.jobs.get(name)
            if job is not None and number in self._aside and job.not_before_ms == at_ms and not job.waiting_on:
                del self._aside[number]
                self._stand(job)

    def lost_patience(self, now_ms: int) -> list[Job]:
        """Jobs, held ones too, that have waited as long as they were willing to, each said once."""
        found: dict[str, Job] = {}
        patience = self._patience
        while patience and patience[0][0] <= now_ms:
            at_ms, _, name = heappop(patience)
            job = self.facts.jobs.get(name)
            if job is not None and job.state in WAITING and job.queued_ms + (job.spec.max_queue_ms or 0) == at_ms:
                found[name] = job
        return list(found.values())

    def _list_impatient(self) -> None:
        jobs = (self.facts.jobs[name] for name in self.facts.impatient)
        self._patience = [
            (job.queued_ms + (job.spec.max_queue_ms or 0), job.number, job.id) for job in jobs if job.state in WAITING
        ]
        heapify(self._patience)

    def waiting_jobs(self, limit: int) -> list[Job]:
        """Up to `limit` queued jobs, the longest waiting first; O(lines + limit), and what came late to its line."""
        streams = [
            ((number, entry[2]) for number, entry in line.live.in_order())
            for tier in self.tiers
            for lines in tier.values()
            for line in lines.lines.values()
            if line.live
        ]
        found = islice(merge(*streams, self._aside.in_order()), limit)
        return [self.facts.jobs[name] for _, name in found]

    def line_of(self, job: Job) -> Line | None:
        """Where it stands; None when it may not start yet, or does not wait."""
        return self._where.get(job.id)

    def lines(self) -> list[tuple[Job, int]]:
        """A job of each line, and how many stand in it."""
        out = []
        for tier in self.tiers:
            for lines in tier.values():
                for line in lines.lines.values():
                    head = line.head()
                    if head is not None:
                        out.append((self.facts.jobs[head[2]], len(line.live)))
        return out

    def standing_jobs(self) -> Iterator[Job]:
        """Every job in a line, in no particular order."""
        return (self.facts.jobs[name] for name in self._where)

    def standing(self) -> set[str]:
        """Ids of all queued jobs, for the invariants."""
        return {*self._where, *self._aside.values()}

    def _stand(self, job: Job) -> None:
        key = line_key(job)
        tenants = self.tiers[key[0]]
        lines = tenants.get(job.tenant)
        if lines is None:
            lines = tenants[job.tenant] = TenantLines()
        line = lines.lines.get(key)
        if line is None:
            line = lines.lines[key] = Line(key)
        entry = (order_key(job), job.number, job.id)
        self._where[job.id] = line
        line.live.add(job.number, entry)
        heappush(line.heap, entry)
        if line.head() is entry:
            heappush(lines.heap, (entry[0], entry[1], line))
