"""Reference policies that never preempt: who of the waiting starts when something ends or comes.

A scheduler is told of arrivals, and yields what may start now. The queue's order is a key: the submit order (FIFO), or
the duration that an oracle knows (SJF).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from agentorch.simulation.nodes import Nodes, Placement
from agentorch.simulation.run import TELL_EVERY, Moment, Run, Tell
from agentorch.simulation.traces import TraceJob

#: (order key, place in the trace): least first.
Turn = tuple[int, int]
#: (end, place in the trace, where it runs).
Running = tuple[int, int, Placement]


class Floor:
    """The nodes, and what runs there, by its end."""

    def __init__(self, jobs: Sequence[TraceJob], nodes: Nodes) -> None:
        self.jobs = jobs
        self.nodes = nodes
        self.running: list[Running] = []
        self.ends_s: list[float] = [0.0] * len(jobs)
        self.busy = 0
        self.now_s = 0

    def start(self, index: int) -> Running:
        job = self.jobs[index]
        entry = (self.now_s + job.duration_s, index, self.nodes.choose(job.gpus))
        self.nodes.take(entry[2])
        insort(self.running, entry)
        self.ends_s[index] = entry[0]
        self.busy += job.gpus
        return entry

    def end(self) -> int:
        """End what is over by now; returns how many."""
        over = bisect_left(self.running, (self.now_s + 1,))
        for _, index, placement in self.running[:over]:
            self.nodes.release(placement)
            self.busy -= self.jobs[index].gpus
        del self.running[:over]
        return over


class Scheduler(Protocol):
    def add(self, key: int, index: int) -> None:
        """A job came."""

    def start(self, floor: Floor) -> None:
        """Start what may start now."""

    def __len__(self) -> int:
        """How many wait."""


class Strict:
    """In order: what does not fit keeps everybody behind it waiting."""

    def __init__(self) -> None:
        self.queue: list[Turn] = []

    def __len__(self) -> int:
        return len(self.queue)

    def add(self, key: int, index: int) -> None:
        heappush(self.queue, (key, index))

    def start(self, floor: Floor) -> None:
        while self.queue and floor.nodes.fits(floor.jobs[self.queue[0][1]].gpus):
            floor.start(heappop(self.queue)[1])


class Greedy:
    """In order, but what does not fit is passed over."""

    def __init__(self, jobs: Sequence[TraceJob]) -> None:
        self.jobs = jobs
        self.queues: dict[int, list[Turn]] = {}  # by size: if its first does not fit, none of that size does

    def __len__(self) -> int:
        return sum(len(queue) for queue in self.queues.values())

    def add(self, key: int, index: int) -> None:
        heappush(self.queues.setdefault(self.jobs[index].gpus, []), (key, index))

    def start(self, floor: Floor) -> None:
        heads = [(queue[0], gpus) for gpus, queue in self.queues.items() if queue and floor.nodes.fits(gpus)]
        while heads:
            (_, index), gpus = min(heads)
            floor.start(index)
            heappop(self.queues[gpus])
            heads = [(self.queues[size][0], size) for _, size in heads if self.queues[size] and floor.nodes.fits(size)]


class Easy:
    """EASY backfill (Lifka, JSSPP 1995) with exact durations: the first that does not fit is promised its earliest
    start; others may start before it if they end by then, or leave it room at that time."""

    def __init__(self) -> None:
        self.queue: list[Turn] = []

    def __len__(self) -> int:
        return len(self.queue)

    def add(self, key: int, index: int) -> None:
        insort(self.queue, (key, index))

    def start(self, floor: Floor) -> None:
        nodes, jobs, queue = floor.nodes, floor.jobs, self.queue
        started = 0
        while started < len(queue) and nodes.fits(jobs[queue[started][1]].gpus):
            floor.start(queue[started][1])
            started += 1
        del queue[:started]
        if len(queue) > 1 and nodes.fits(1):
            self.backfill(floor, jobs[queue[0][1]].gpus)

    def backfill(self, floor: Floor, head_gpus: int) -> None:
        nodes, jobs = floor.nodes, floor.jobs
        promise: tuple[int, Nodes] | None = None
        too_big = head_gpus
        left = self.queue[:1]
        for at in range(1, len(self.queue)):
            turn = self.queue[at]
            job = jobs[turn[1]]
            if job.gpus >= too_big or not nodes.fits(job.gpus):
                too_big = min(too_big, job.gpus)
                left.append(turn)
                if too_big == 1:
                    left += self.queue[at + 1 :]
                    break
                continue
            if promise is None:
                promise = earliest_start(floor, head_gpus)
            start_s, future = promise
            if floor.now_s + job.duration_s <= start_s:
                floor.start(turn[1])
            elif leaves_room(nodes, future, job.gpus, head_gpus):
                future.take(floor.start(turn[1])[2])
            else:
                left.append(turn)
        self.queue = left


def earliest_start(floor: Floor, gpus: int) -> tuple[int, Nodes]:
    """When so many GPUs fit if nothing more starts, and the nodes as they are then."""
    future = floor.nodes.copy()
    start_s = floor.now_s
    for end_s, _, placement in floor.running:
        if future.fits(gpus):
            break
        future.release(placement)
        start_s = end_s
    return start_s, future


def leaves_room(nodes: Nodes, future: Nodes, gpus: int, head_gpus: int) -> bool:
    """Whether the head still fits at its time beside a job that would start now and go on beyond it."""
    placement = nodes.choose(gpus)
    if any(future.free[node] < part for node, part in placement):
        return False
    future.take(placement)
    fits = future.fits(head_gpus)
    future.release(placement)
    return fits


def run_waiting(
    jobs: Sequence[TraceJob], nodes: Nodes, scheduler: Scheduler, key: Callable[[TraceJob], int], tell: Tell
) -> Run:
    """Drive a scheduler: at one instant ends, then arrivals, then starts."""
    floor = Floor(jobs, nodes)
    run = Run(gpus=len(nodes.free) * nodes.per_node, ends_s=floor.ends_s)
    arrived = ended = steps = 0
    while arrived < len(jobs) or floor.running:
        times = [jobs[arrived].submit_s] if arrived < len(jobs) else []
        floor.now_s = min(times + [entry[0] for entry in floor.running[:1]])
        ended += floor.end()
        while arrived < len(jobs) and jobs[arrived].submit_s <= floor.now_s:
            scheduler.add(key(jobs[arrived]), arrived)
            arrived += 1
        scheduler.start(floor)
        run.moments.append(Moment(floor.now_s, len(scheduler), floor.busy))
        steps += 1
        if not steps % TELL_EVERY:
            tell(ended)
    return run
