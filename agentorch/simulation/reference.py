"""The reference policies by name: what the core is compared with. They know each job's duration, or need not.

At one instant ends, then arrivals, then starts; placement as `simulation.nodes` says; preemption costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec
from agentorch.simulation.nodes import Nodes
from agentorch.simulation.preempting import Las2d, Srtf, run_preempting
from agentorch.simulation.run import Run, Tell, together
from agentorch.simulation.traces import TraceJob
from agentorch.simulation.waiting import Easy, Greedy, Scheduler, Strict, run_waiting

POLICIES = ("fifo", "fifo-greedy", "easy", "sjf", "sjf-easy", "las2d", "srtf")


def silent(ended: int) -> None:
    """Nobody wants to know."""


def simulate(jobs: Sequence[TraceJob], policy: str, nodes: int, per_node: int, tell: Tell = silent) -> Run:
    """Run a policy on equal nodes. Jobs come in the order of their submits. Raises ConfigError."""
    too_big = next((job for job in jobs if job.gpus > nodes * per_node), None)
    if too_big is not None:
        raise ConfigError(f"{too_big.id} asks for {too_big.gpus} GPUs; the cluster has {nodes * per_node}")
    match policy:
        case "srtf":
            return run_preempting(jobs, nodes, per_node, Srtf(jobs), tell)
        case "las2d":
            return run_preempting(jobs, nodes, per_node, Las2d(jobs), tell)
        case "fifo" | "fifo-greedy" | "easy" | "sjf" | "sjf-easy":
            key = _duration if policy.startswith("sjf") else _same
            return run_waiting(jobs, Nodes(nodes, per_node), _scheduler(policy, jobs), key, tell)
        case _:
            raise ConfigError(f"there is no policy {policy!r}; there are {', '.join(POLICIES)}")


def simulate_apart(jobs: Sequence[TraceJob], policy: str, pools: Sequence[PoolSpec], tell: Tell = silent) -> Run:
    """Run a policy on each pool alone, with the jobs whose `vc` names it. Raises ConfigError."""
    names = {pool.name for pool in pools}
    lost = next((job for job in jobs if job.vc not in names), None)
    if lost is not None:
        raise ConfigError(
            f"{lost.id}: no pool is named {lost.vc!r}, as its vc is; there are {', '.join(sorted(names))}"
        )
    whole = Run(gpus=sum(pool.workers * pool.shape.gpus for pool in pools), ends_s=[0.0] * len(jobs))
    parts: list[Run] = []
    before = 0
    for pool in pools:
        own = [at for at, job in enumerate(jobs) if job.vc == pool.name]
        part = simulate(
            [jobs[at] for at in own], policy, pool.workers, pool.shape.gpus, partial(_tell_on, tell, before)
        )
        before += len(own)
        for at, end_s in zip(own, part.ends_s, strict=True):
            whole.ends_s[at] = end_s
        whole.preemptions += part.preemptions
        parts.append(part)
    whole.moments = together(parts)
    return whole


def _tell_on(tell: Tell, before: int, ended: int) -> None:
    """Of one pool after others."""
    tell(before + ended)


def _scheduler(policy: str, jobs: Sequence[TraceJob]) -> Scheduler:
    if policy.endswith("easy"):
        return Easy()
    return Greedy(jobs) if policy.endswith("greedy") else Strict()


def _duration(job: TraceJob) -> int:
    return job.duration_s


def _same(job: TraceJob) -> int:
    """First come, first served: ties of the key go by arrival."""
    return 0
