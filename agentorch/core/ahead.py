"""What a look ahead rests on: who waits in which line, what runs for how much longer, which workers there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agentorch.core import fairshare, fit, reservations
from agentorch.core.claims import debt_waiting, rank_at_start, rank_waiting, ripe_ms, undisturbed_ms
from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import Expectation, expect
from agentorch.core.forecast.memory import carried_ms, kinds, ran_ms
from agentorch.core.placement import pool_obstacle
from agentorch.core.queue import Line, order_key
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.fleet import Worker
from agentorch.model.jobs import ON_WORKER, Job, Reason

#: Obstacles that may pass while the job waits: the pool counts.
PASSING = frozenset({Reason.power})


class Next(NamedTuple):
    """A job in a line, its place in its tenant's order, and how long it will run."""

    job: Job
    key: int
    lasts: Expectation


class Waiting:
    """A line of the queue, or a single job: who goes next there, and on which workers it may."""

    __slots__ = ("among", "gang", "jobs", "need", "passable", "rank", "rest", "seats", "tenant")

    def __init__(self, first: Job, rest: Iterator[Next], rank: int, seats: list[int]) -> None:
        self.rest = rest
        self.jobs: list[Next] = []
        self.rank = rank  # of its tier, the standard one's if it waited for long
        self.tenant = first.tenant
        self.need = first.resources
        self.gang = first.spec.gang
        self.passable = True  # smaller work may pass it by for ever, unless room is kept for it
        self.seats = seats
        self.among = frozenset(seats)

    def at(self, index: int) -> Next | None:
        while len(self.jobs) <= index:
            found = next(self.rest, None)
            if found is None:
                return None
            self.jobs.append(found)
        return self.jobs[index]


def least_steps(facts: Facts) -> int:
    """What it takes to see what runs, in steps of a microsecond or so."""
    return 6 * len(facts.running) + len(facts.workers)


class Ahead:
    """What all runs share: who waits, what runs until when, which workers there are."""

    def __init__(self, state: State, job: Job, now_ms: int) -> None:
        self.facts: Facts = state.facts
        self.now_ms = now_ms
        self.job = job
        self.workers: list[Worker] = [worker for worker in self.facts.workers.values() if fit.takes_work(worker)]
        self.index = {worker.id: at for at, worker in enumerate(self.workers)}
        self.found: dict[object, list[int]] = {}
        self.known: dict[tuple[tuple[str, ...], int | None], Expectation] = {}
        self.blind = False  # of something that goes first nobody knows how long it will run
        self.unknown = 0  # jobs that run, and for how long nobody knows
        self.yielding = state.yielding
        self.running = [found for name in self.facts.running if (found := self.runs(self.facts.jobs[name])) is not None]
        self.gives_way = {found[0].id: self.gives_way_ms(found[0]) for found in self.running}
        tenants = [lines for tier in state.queue.tiers for lines in tier.values()]
        lines = [line for tenant in tenants for line in tenant.lines.values() if line.head() is not None]
        self.lines = [self.waiting(line) for line in lines]
        own = state.queue.line_of(job)
        if own is None:
            self.lines.append(
                Waiting(job, iter((self.following(job),)), rank_waiting(job, self.now_ms), self.seats(job))
            )
        self.needs = [(line.need.cpu_milli, line.need.gpus) for line in self.lines]
        parts = [(line.need.cpu_milli, line.need.memory_bytes, line.need.gpus) for line in self.lines]
        least = tuple(min(sizes) for sizes in zip(*parts, strict=True))
        for line, part in zip(self.lines, parts, strict=True):
            line.passable = line.gang > 1 or part != least
        self.lines_of: dict[str, list[int]] = {}
        for at, line in enumerate(self.lines):
            self.lines_of.setdefault(line.tenant, []).append(at)
        self.steps = least_steps(self.facts) + sum(len(line.seats) for line in self.lines) // 4
        self.steps_of_a_draw = 2 * len(self.running) + len(self.workers) // 8 + len(self.lines)
        self.mine = self.lines[-1 if own is None else lines.index(own)]

    def waiting(self, line: Line) -> Waiting:
        first = self.facts.jobs[line.heap[0][2]]
        jobs = (self.following(self.facts.jobs[name]) for name in line.in_order())
        return Waiting(first, jobs, rank_waiting(first, self.now_ms), self.seats(first))

    def following(self, job: Job) -> Next:
        return Next(job, order_key(job), self.expectation(job))

    def seats(self, job: Job) -> list[int]:
        """Workers of the pools that may take the job, the cheapest pool's first."""
        spec = job.spec
        same = (job.tenant, job.resources, spec.gang, spec.constraints, job.route_pool, spec.max_cost_usd_micros)
        if same not in self.found:
            self.found[same] = self.find_seats(job)
        return self.found[same]

    def find_seats(self, job: Job) -> list[int]:
        pools = sorted(self.facts.pools.values(), key=fit.price_rank)
        allowed = [pool for pool in pools if (pool_obstacle(self.facts, job, pool) or Reason.power) in PASSING]
        found: list[int] = []
        for pool in allowed:
            able = [self.workers[self.index[name]] for name in pool.workers if name in self.index]
            able = [worker for worker in able if fit.could_fit(worker.shape, job.resources)]
            found += (self.index[worker.id] for worker in reservations.lasting(self.facts, job, pool, able))
        return found

    def expectation(self, job: Job) -> Expectation:
        """Of a whole run. Jobs of one kind share it."""
        carried = carried_ms(job) if job.state not in ON_WORKER else 0
        if carried:
            return expect(self.facts, job, carried)
        key = kinds(job.tenant, job.spec, job.resources), job.spec.max_duration_ms
        if key not in self.known:
            self.known[key] = expect(self.facts, job)
        return self.known[key]

    def runs(self, job: Job) -> tuple[Job, Expectation, list[int]] | None:
        """A job that runs, what is left of it, and the workers that it holds; None if none of them takes work."""
        held = [self.index[one.worker] for one in job.attempts[-1].members if one.worker in self.index]
        if not held:
            return None
        ran = ran_ms(job, self.now_ms)
        left = self.expectation(job).after(ran) if job.spec.checkpoint is None else None
        left = left or expect(self.facts, job, ran)
        self.unknown += not left.known and left.most_ms is None
        return job, left, held

    def gives_way_ms(self, job: Job) -> int | None:
        """When a job that runs may have to give way to the one that is asked about (`core.displace`); None = never.

        Not before the next window: what may at once has been asked to already.
        """
        soonest_ms = self.now_ms + limits.BLAST_WINDOW_MS
        own, mine = self.job, fairshare.share(self.facts.tenants[self.job.tenant])
        least, tier = rank_waiting(own, self.now_ms), rank_at_start(job)
        if job.id not in self.yielding or tier < least or not self.facts.pools[job.attempts[-1].pool].spec.preempts:
            return None
        calm_ms = job.attempts[-1].ordered_ms + max(undisturbed_ms(job), self.facts.settings.preempt_min_run_ms)
        if tier > least:
            return max(soonest_ms, calm_ms)
        if job.tenant != own.tenant and fairshare.share(self.facts.tenants[job.tenant]) <= mine:
            return None
        return max(soonest_ms, calm_ms, ripe_ms(job, debt_waiting(own, self.now_ms)))

    def why_unknown(self) -> str:
        if self.unknown:
            return f"{self.unknown} of the jobs that run have no history to tell when they end"
        if self.blind:
            return "what goes first has no history to tell how long it will run"
        return "it would not start when all that runs has ended"
