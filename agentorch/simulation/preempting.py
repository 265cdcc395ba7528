"""Reference policies that preempt for nothing: at every event the whole pool is packed again, from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from agentorch.simulation.run import TELL_EVERY, Moment, Run, Tell
from agentorch.simulation.traces import TraceJob

#: Of las2d: GPU-seconds after which a job stands behind those that had less.
LAS_THRESHOLD = 3600


class Srtf:
    """Least remaining time first, exactly known."""

    def __init__(self, jobs: Sequence[TraceJob]) -> None:
        self.active: list[int] = []
        self.left_s = [job.duration_s for job in jobs]

    def add(self, index: int) -> None:
        self.active.append(index)

    def order(self) -> list[int]:
        """Who goes first, of those that are here; ties by arrival."""
        self.active.sort()
        self.active.sort(key=self.left_s.__getitem__)
        return self.active

    def next_change_s(self, running: Sequence[int]) -> int | None:
        """In how many seconds the order changes by itself; None = not before the next event."""
        return None


class Las2d(Srtf):
    """Least attained service in two queues (Gu et al., "Tiresias", NSDI 2019), first come first served in each."""

    def __init__(self, jobs: Sequence[TraceJob]) -> None:
        super().__init__(jobs)
        self.jobs = jobs

    def order(self) -> list[int]:
        self.active.sort()
        fresh: list[int] = []
        old: list[int] = []
        for index in self.active:
            (fresh if self._missing(index) > 0 else old).append(index)
        return fresh + old

    def _missing(self, index: int) -> int:
        """GPU-seconds until it is no longer fresh."""
        job = self.jobs[index]
        return LAS_THRESHOLD - job.gpus * (job.duration_s - self.left_s[index])

    def next_change_s(self, running: Sequence[int]) -> int | None:
        missing = ((self._missing(index), self.jobs[index].gpus) for index in running)
        return min((-(-left // gpus) for left, gpus in missing if left > 0), default=None)


def run_preempting(jobs: Sequence[TraceJob], nodes: int, per_node: int, policy: Srtf, tell: Tell) -> Run:
    """Drive a policy: at one instant ends, then arrivals, then the packing."""
    run = Run(gpus=nodes * per_node, ends_s=[0.0] * len(jobs))
    sizes = [job.gpus for job in jobs]
    left_s, active = policy.left_s, policy.active
    running: list[int] = []
    arrived = steps = now_s = 0
    while arrived < len(jobs) or active:
        waits = [jobs[arrived].submit_s - now_s] if arrived < len(jobs) else []
        waits += [min([left_s[index] for index in running])] if running else []
        change_s = policy.next_change_s(running)
        step_s = min(waits if change_s is None else [*waits, change_s])
        now_s += step_s
        for index in running:
            left_s[index] -= step_s
        over = [index for index in running if not left_s[index]]
        for index in over:
            run.ends_s[index] = now_s
            active.remove(index)
        while arrived < len(jobs) and jobs[arrived].submit_s <= now_s:
            policy.add(arrived)
            arrived += 1
        before = set(running).difference(over)
        running = packed(policy.order(), sizes, nodes, per_node)
        run.preemptions += len(before.difference(running))
        run.moments.append(Moment(now_s, len(active) - len(running), sum([sizes[index] for index in running])))
        steps += 1
        if not steps % TELL_EVERY:
            tell(arrived - len(active))
    return run


def packed(order: Sequence[int], sizes: Sequence[int], nodes: int, per_node: int) -> list[int]:
    """Who runs: in order, and what does not fit is passed over. Placed as `simulation.nodes` does.

    As work moves for nothing, nobody needs to know which node is which: `counts[f]` nodes have f free GPUs.
    """
    counts = [0] * per_node + [nodes]
    levels = [range(gpus, per_node + 1) for gpus in range(per_node)]
    too_big = nodes * per_node + 1  # what fits makes anything smaller fit too, so this only falls
    running: list[int] = []
    for index in order:
        gpus = sizes[index]
        if gpus >= too_big:
            continue
        rest = gpus
        if gpus >= per_node:
            whole, rest = divmod(gpus, per_node)
            spare = counts[per_node] - whole
            if spare < 0 or (rest and not spare and not any(counts[rest:per_node])):
                too_big = gpus
                continue
            counts[per_node] = spare
            counts[0] += whole
        if rest:
            for free in levels[rest]:
                if counts[free]:
                    counts[free] -= 1
                    counts[free - rest] += 1
                    break
            else:
                too_big = gpus
                if gpus == 1:
                    break
                continue
        running.append(index)
    return running
