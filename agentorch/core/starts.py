"""When a job that waits will start: the line is run ahead over the ends that are expected.

An approximation, and quick. `DRAWS` times a run time is drawn for everything that runs or goes first, each by itself;
but in one draw all last as long as nine of ten do, for the run times of one day have more in common than draws know. Of
the starts that come of it the middle one is the median, and the last the 90 % quantile. Where much goes first fewer
draws are made, and the forecast says so. Order, fair share, quotas, sizes, gangs and kept room are as the scheduler has
them. Left out are work and workers that are still to come, money, watts, and short work in the gaps before kept room is
needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

import msgspec

from agentorch.core import fairshare, fit
from agentorch.core.ahead import Ahead, Waiting, least_steps
from agentorch.core.forecast.durations import Expectation
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.jobs import Job, JobState, Resources

DRAWS = 9
#: The draw in which everything lasts long, the second: without it there is no 90 % quantile.
LONG_DRAW = 1
NINE_OF_TEN = 9 * 2**32 // 10
#: With more lines than this, only every so many-th pass looks whether room must be kept for one.
KEEP_EVERY = 16
#: For it and for the end that follows.
STEPS_OF_A_START = 6
_MASK = 2**64 - 1


class StartForecast(msgspec.Struct, frozen=True):
    """Times from now on, in ms; None = unknown. `text` says what they rest on, or why there are none."""

    text: str
    start_p50_ms: int | None = None
    start_p90_ms: int | None = None
    end_p50_ms: int | None = None
    end_p90_ms: int | None = None
    stopped_early: bool = False  # after `FORECAST_STEPS`


def foretell(state: State, job: Job, now_ms: int) -> StartForecast:
    """When a job that is queued, or not submitted yet, starts and ends. Changes nothing; at most `FORECAST_STEPS`."""
    if job.state is JobState.held:
        return StartForecast("nobody knows how long it will be held")
    if job.waiting_on:
        return StartForecast("it waits for the end of other jobs first")
    if least_steps(state.facts) > limits.FORECAST_STEPS:
        count = len(state.facts.running)
        return StartForecast(f"{count} jobs run, too many to look ahead over their ends", stopped_early=True)
    state.queue.wake(now_ms)
    ahead = Ahead(state, job, now_ms)
    if not ahead.mine.seats:
        return StartForecast("no worker of a pool that may take it now is big enough")
    own = ahead.expectation(job)
    starts: list[int | None] = []
    ends: list[int | None] = []
    steps = ahead.steps
    for draw in range(DRAWS):
        run = _Run(ahead, draw, limits.FORECAST_STEPS - steps)
        start_ms = run.start_ms()
        steps += run.steps
        if run.steps > run.most_steps:
            break
        wait_ms = None if start_ms is None else max(start_ms, job.not_before_ms) - now_ms
        lasts_ms = own.draw_ms(_chance(job.number, draw))
        starts.append(wait_ms)
        ends.append(None if wait_ms is None or lasts_ms is None else wait_ms + lasts_ms)
    if not starts:
        return StartForecast(_too_long(run.now_ms - now_ms), stopped_early=True)
    starts, ends = _ordered(starts), _ordered(ends)
    middle = len(starts) // 2
    if starts[middle] is None:
        return StartForecast(ahead.why_unknown())
    early = len(starts) < DRAWS
    text = "with what runs and waits now" + (f", from {len(starts)} of {DRAWS} looks ahead" if early else "")
    if len(starts) <= LONG_DRAW:
        return StartForecast(text, starts[middle], None, ends[middle], None, early)
    return StartForecast(text, starts[middle], starts[-1], ends[middle], ends[-1], early)


def _ordered(times: list[int | None]) -> list[int | None]:
    """Unknown ones, which are later than any that is known, last."""
    return sorted(times, key=lambda at_ms: (at_ms is None, at_ms or 0))


def _too_long(ahead_ms: int) -> str:
    return f"too much goes first to look further than {ahead_ms // limits.SECOND_MS} s ahead: it starts later than that"


def _chance(number: int, draw: int) -> int:
    """0 to 2**32 - 1, always the same: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    if draw == LONG_DRAW:
        return NINE_OF_TEN
    mixed = (number * 0x9E3779B97F4A7C15 + (draw + 1) * 0xD1B54A32D192ED03) & _MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
    return (mixed ^ (mixed >> 31)) >> 32


#: Who goes first: tier, share, tenant, the job's place in its tenant's order, its number; and its line.
_Entry = tuple[int, float, str, int, int, int]


class _End(NamedTuple):
    """Of a job that runs. Numbers differ, so that ends compare by them at the latest."""

    at_ms: int
    number: int
    job: Job
    held: Resources
    workers: list[int]
    started_ms: int


class _Run:
    """One draw: the line is run ahead until the job starts. Workers are indexes, room is three lists.

    A step is what takes about a microsecond.
    """

    def __init__(self, ahead: Ahead, draw: int, most_steps: int) -> None:
        self.ahead = ahead
        self.draw = draw
        self.most_steps = most_steps
        self.steps = ahead.steps_of_a_draw
        self.looks = 0
        self.now_ms = ahead.now_ms
        workers = ahead.workers
        self.cpu = [worker.free_cpu_milli for worker in workers]
        self.memory = [worker.free_memory_bytes for worker in workers]
        self.gpus = [len(worker.free_devices) for worker in workers]
        self.kept = [worker.reserved_for for worker in workers]
        self.share = {name: tenant.usage for name, tenant in ahead.facts.tenants.items()}
        self.count = {name: tenant.running for name, tenant in ahead.facts.tenants.items()}
        self.place = [0] * len(ahead.lines)
        self.entries: list[_Entry | None] = [self.entry(at) for at in range(len(ahead.lines))]
        self.ends: list[_End] = []
        for job, left, held in ahead.running:
            left_ms = left.draw_ms(_chance(job.number, draw))
            if job.state is JobState.stopping:
                left_ms = min(job.spec.grace_ms, left_ms if left_ms is not None else job.spec.grace_ms)
            way_ms = ahead.gives_way[job.id]
            if way_ms is not None and draw != LONG_DRAW:
                left_ms = way_ms - self.now_ms if left_ms is None else min(left_ms, way_ms - self.now_ms)
            if left_ms is not None and left_ms < limits.FORECAST_HORIZON_MS:
                attempt = job.attempts[-1]
                self.ends.append(
                    _End(self.now_ms + left_ms, job.number, job, attempt.resources, held, attempt.ordered_ms)
                )
        heapify(self.ends)

    def start_ms(self) -> int | None:
        """None: not before anything whose end is known."""
        freed: list[int] | None = None  # None: all of them
        while self.steps <= self.most_steps:
            if self.look(freed):
                return self.now_ms
            if not self.ends:
                return None
            freed = self.end()
        return None

    def end(self) -> list[int] | None:
        """What ends next gives back its room; returns where. Where a quota bound its tenant, room anywhere counts."""
        self.now_ms, _, job, held, workers, started_ms = heappop(self.ends)
        for at in workers:
            self.cpu[at] += held.cpu_milli
            self.memory[at] += held.memory_bytes
            self.gpus[at] += held.gpus
        self.count[job.tenant] -= 1
        self.charge(job, fairshare.settled(self.ahead.facts, held, started_ms, self.now_ms, len(workers)))
        most = self.ahead.facts.tenants[job.tenant].spec.max_running
        return None if most is not None and self.count[job.tenant] == most - 1 else workers

    def entry(self, at: int) -> _Entry | None:
        line = self.ahead.lines[at]
        following = line.at(self.place[at])
        if following is None:
            return None
        job = following.job
        return line.rank, self.weighed(job.tenant), job.tenant, following.key, job.number, at

    def weighed(self, tenant: str) -> float:
        return self.share[tenant] / self.ahead.facts.tenants[tenant].spec.weight

    def look(self, freed: list[int] | None) -> bool:
        """One scheduling pass over the workers that have more room than before; whether the job has started."""
        self.looks += 1
        whole = freed is None or len(self.ahead.lines) <= KEEP_EVERY or self.looks % KEEP_EVERY == 0
        ring = [entry for at in self.hopeful(None if whole else freed) if (entry := self.entries[at]) is not None]
        heapify(ring)
        self.steps += len(ring) // 2
        kept, full = not whole, False
        while ring and not (kept and full) and self.steps <= self.most_steps:
            at = ring[0][-1]
            entry = self.entries[at]
            if entry is None:
                heappop(ring)
                continue
            if entry is not ring[0]:
                heapreplace(ring, entry)
                continue
            line = self.ahead.lines[at]
            job, _, lasts = line.jobs[self.place[at]]
            found = self.find(job, line, freed)
            if not found:
                kept = kept or self.keep(job, line)
                heappop(ring)
                continue
            if job.id == self.ahead.job.id:
                return True
            self.start(job, lasts, line.need, found)
            self.place[at] += 1
            self.entries[at] = self.entry(at)
            full = freed is not None and not any(self.cpu[one] for one in freed)
        return False

    def hopeful(self, freed: list[int] | None) -> Iterable[int]:
        """Lines that may fit where room has come; all of them when `freed` is None."""
        lines = self.ahead.lines
        if freed is None:
            return range(len(lines))
        cpu, gpus = max(self.cpu[at] for at in freed), max(self.gpus[at] for at in freed)
        self.steps += len(lines) // 8
        return [
            at for at, (need_cpu, need_gpus) in enumerate(self.ahead.needs) if need_cpu <= cpu and need_gpus <= gpus
        ]

    def find(self, job: Job, line: Waiting, freed: list[int] | None) -> list[int]:
        most = self.ahead.facts.tenants[job.tenant].spec.max_running
        if most is not None and self.count[job.tenant] >= most:
            self.steps += 1
            return []
        if job.spec.gang > 1:
            return self.find_gang(job, line)
        seats = line.seats if freed is None or len(freed) >= len(line.seats) else freed
        self.steps += len(seats) // 2 + 1
        best: tuple[int, int] | None = None
        found: list[int] = []
        for at in seats:
            if at in line.among and self.fits(job, line.need, at):
                left = (self.gpus[at] - line.need.gpus, self.cpu[at] - line.need.cpu_milli)
                if best is None or left < best:
                    best, found = left, [at]
        return found

    def fits(self, job: Job, need: Resources, at: int) -> bool:
        return (
            need.cpu_milli <= self.cpu[at]
            and need.gpus <= self.gpus[at]
            and need.memory_bytes <= self.memory[at]
            and (not self.kept[at] or self.kept[at] == job.id)
        )

    def find_gang(self, job: Job, line: Waiting) -> list[int]:
        """Seats for all ranks in one pool, the first that are free."""
        self.steps += len(line.seats) // 2 + 1
        found: dict[str, list[int]] = {}
        for at in line.seats:
            if not self.fits(job, line.need, at):
                continue
            there = found.setdefault(self.ahead.workers[at].pool, [])
            there += [at] * min(job.spec.gang - len(there), self.rooms(line.need, at))
            if len(there) == job.spec.gang:
                return there
        return []

    def rooms(self, need: Resources, at: int) -> int:
        return fit.times(self.cpu[at], self.memory[at], self.gpus[at], need)

    def start(self, job: Job, lasts: Expectation, need: Resources, workers: list[int]) -> None:
        for at in workers:
            self.cpu[at] -= need.cpu_milli
            self.memory[at] -= need.memory_bytes
            self.gpus[at] -= need.gpus
        if self.kept[workers[0]]:
            self.kept = ["" if name == job.id else name for name in self.kept]
        self.count[job.tenant] += 1
        self.steps += STEPS_OF_A_START
        self.charge(job, fairshare.advance(self.ahead.facts, need, self.now_ms, len(workers)))
        lasts_ms = lasts.draw_ms(_chance(job.number, self.draw))
        if lasts_ms is None:
            self.ahead.blind = True
        elif self.now_ms + lasts_ms < self.ahead.now_ms + limits.FORECAST_HORIZON_MS:
            heappush(self.ends, _End(self.now_ms + lasts_ms, job.number, job, need, workers, self.now_ms))

    def charge(self, job: Job, amount: float) -> None:
        self.share[job.tenant] = max(0.0, self.share[job.tenant] + amount)
        share = self.weighed(job.tenant)
        for at in self.ahead.lines_of.get(job.tenant, ()):
            entry = self.entries[at]
            if entry is not None:
                self.entries[at] = (entry[0], share, *entry[2:])

    def keep(self, job: Job, line: Waiting) -> bool:
        """Room is kept for the first that waited too long, where it will be free first. Whether any is kept."""
        if not line.passable or any(self.kept[at] for at in line.seats):
            return True
        if self.now_ms - job.queued_ms < limits.RESERVE_AFTER_MS:
            return False
        room = self.room_to_come(job.spec.gang, line)
        wanted = job.spec.gang
        for at in sorted(room, key=lambda one: -room[one]):
            if wanted > 0 and room[at] > 0:
                self.kept[at] = job.id
                wanted -= room[at]
        return True

    def room_to_come(self, ranks: int, line: Waiting) -> dict[int, int]:
        """How often the line's size fits on each of its workers as soon as it fits so often on all of them."""
        room = {at: self.rooms(line.need, at) for at in line.seats}
        free = {at: (self.cpu[at], self.memory[at], self.gpus[at]) for at in line.seats}
        there = sum(room.values())
        self.steps += (len(line.seats) + len(self.ends)) // 8 + 2
        for end in sorted(self.ends):
            if there >= ranks:
                break
            held = end.held
            for at in line.among.intersection(end.workers):
                count = end.workers.count(at)
                cpu, memory, gpus = free[at]
                free[at] = cpu + count * held.cpu_milli, memory + count * held.memory_bytes, gpus + count * held.gpus
                there -= room[at]
                room[at] = fit.times(*free[at], line.need)
                there += room[at]
        return room
