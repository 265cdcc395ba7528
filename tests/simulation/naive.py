"""The references once more, as plainly as can be: lists, searched and sorted anew at every event."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from agentorch.simulation.traces import TraceJob

Seats = list[tuple[int, int]]


class Cluster:
    """Of the nodes with the fewest free GPUs that suffice, the one that changed last."""

    def __init__(self, nodes: int, per_node: int) -> None:
        self.per_node = per_node
        self.free = [per_node] * nodes
        self.changed = list(range(nodes))
        self.clock = count(nodes)

    def seats(self, gpus: int) -> Seats | None:
        left, found = dict(enumerate(self.free)), []
        while gpus:
            part = min(gpus, self.per_node)
            fitting = [node for node in left if left[node] >= part]
            if not fitting:
                return None
            node = min(fitting, key=lambda node: (left[node], -self.changed[node]))
            del left[node]
            found.append((node, part))
            gpus -= part
        return found

    def change(self, seats: Seats, sign: int) -> None:
        for node, gpus in seats:
            self.free[node] += sign * gpus
            self.changed[node] = next(self.clock)


def waiting(jobs: Sequence[TraceJob], policy: str, nodes: int, per_node: int) -> list[int]:
    """Ends under fifo, fifo-greedy, easy, sjf, sjf-easy."""
    cluster = Cluster(nodes, per_node)
    ends, queue, running = [0] * len(jobs), list[int](), list[tuple[int, int, Seats]]()
    for now in event_times():
        for entry in sorted(entry for entry in running if entry[0] == now):
            running.remove(entry)
            cluster.change(entry[2], 1)
        queue += [at for at, job in enumerate(jobs) if job.submit_s == now]
        queue.sort(key=lambda at: (jobs[at].duration_s if policy.startswith("sjf") else 0, at))
        promise: tuple[int, list[int], int] | None = None
        blocked = False
        for at in list(queue):
            end, seats = now + jobs[at].duration_s, cluster.seats(jobs[at].gpus)
            if seats is None and not blocked:
                blocked = True
                promise = promised(cluster, running, jobs[at].gpus, now)
            elif seats is not None and blocked and policy.endswith("easy"):
                assert promise is not None
                seats = seats if end <= promise[0] or fits_beside(promise, seats, per_node) else None
            elif blocked and not policy.endswith("greedy"):
                seats = None
            if seats is not None:
                if promise is not None and end > promise[0]:
                    for node, gpus in seats:
                        promise[1][node] -= gpus
                cluster.change(seats, -1)
                running.append((end, at, seats))
                queue.remove(at)
                ends[at] = end
        if not running and not queue and now > jobs[-1].submit_s:
            return ends
    raise AssertionError


def event_times() -> range:
    """Every second: nothing is missed."""
    return range(100_000)


def promised(
    cluster: Cluster, running: list[tuple[int, int, Seats]], gpus: int, now: int
) -> tuple[int, list[int], int]:
    """(when the head will fit, what is free then, its size)."""
    twin = Cluster(len(cluster.free), cluster.per_node)
    twin.free = list(cluster.free)
    start = now
    for end, _, seats in sorted(running):
        if twin.seats(gpus) is not None:
            break
        twin.change(seats, 1)
        start = end
    return start, twin.free, gpus


def fits_beside(promise: tuple[int, list[int], int], seats: Seats, per_node: int) -> bool:
    twin = Cluster(len(promise[1]), per_node)
    twin.free = list(promise[1])
    twin.change(seats, -1)
    return min(twin.free) >= 0 and twin.seats(promise[2]) is not None


def preempting(jobs: Sequence[TraceJob], policy: str, nodes: int, per_node: int) -> tuple[list[int], int]:
    """(ends, preemptions) under srtf and las2d."""
    ends, left = [0] * len(jobs), [job.duration_s for job in jobs]
    active, running, preemptions = list[int](), list[int](), 0

    def attained(at: int) -> int:
        return jobs[at].gpus * (jobs[at].duration_s - left[at])

    def old(at: int) -> bool:
        return policy == "las2d" and attained(at) >= 3600

    for now in event_times():
        before = {at for at in running if old(at)}
        for at in running if now else []:
            left[at] -= 1
        over = [at for at in running if not left[at]]
        came = [at for at, job in enumerate(jobs) if job.submit_s == now]
        if over or came or {at for at in running if old(at)} != before:
            for at in over:
                ends[at] = now
                active.remove(at)
            active += came
            active.sort(key=lambda at: (old(at), at) if policy == "las2d" else (left[at], at))
            cluster, packed = Cluster(nodes, per_node), []
            for at in active:
                seats = cluster.seats(jobs[at].gpus)
                if seats is not None:
                    cluster.change(seats, -1)
                    packed.append(at)
            preemptions += len(set(running) - set(over) - set(packed))
            running = packed
        if not active and now > jobs[-1].submit_s:
            return ends, preemptions
    raise AssertionError
