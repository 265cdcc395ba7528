"""What an event orders to be done outside. Pure; the runtime performs it once the event is durable, and not before.

Each instruction is keyed by the attempt, or is a wanted state, so that performing it twice does it once: a crash
between the commit and the effect is mended by performing again at the next start.
"""

from __future__ import annotations

import msgspec

from agentorch.core.facts import Facts
from agentorch.model import events as ev
from agentorch.model.jobs import ON_WORKER, Job, JobState


class Launch(msgspec.Struct, frozen=True):
    """Start the attempt, all ranks of a gang's. `JobStarted` must be durable."""

    job: str
    attempt: int


class Stop(msgspec.Struct, frozen=True):
    """Stop the attempt's whole process tree, on every node of a gang's. `JobStopping` must be durable."""

    job: str
    attempt: int
    cause: str
    grace_ms: int


class Resize(msgspec.Struct, frozen=True):
    """Have so many nodes of a type, and let go of `remove`. `NodesWanted` or `NodeReleased` must be durable."""

    executor: str
    node_type: str
    nodes: int
    remove: tuple[str, ...] = ()


AttemptOrder = Launch | Stop
Instruction = AttemptOrder | Resize


def instruction(event: ev.Event) -> Instruction | None:
    """What the event orders, if anything."""
    if isinstance(event, ev.JobStarted):
        return Launch(event.job, event.attempt)
    if isinstance(event, ev.JobStopping):
        return Stop(event.job, event.attempt, event.cause, event.grace_ms)
    if isinstance(event, ev.NodesWanted):
        return Resize(event.executor, event.node_type, event.nodes)
    if isinstance(event, ev.NodeReleased):
        return Resize(event.executor, event.node_type, event.nodes, (event.node,))
    return None


def unfinished(facts: Facts) -> list[tuple[str, int, int]]:
    """Attempts, each rank of a gang's, that a restart must ask the executors about: (job, number, rank)."""
    live = (facts.jobs[name] for name in facts.running if facts.jobs[name].state in ON_WORKER)
    return [(job.id, job.attempts_made, rank) for job in live for rank in live_ranks(job, job.attempts_made)]


def live_ranks(job: Job, attempt: int) -> list[int]:
    """Ranks of an attempt that have not been reported as ended; [0] when it is no gang's, or not the newest."""
    newest = job.attempts[-1]
    if newest.number != attempt or not newest.ranks:
        return [0]
    return [number for number, rank in enumerate(newest.ranks) if rank.ended_ms is None]


def stops_to_repeat(facts: Facts) -> list[Stop]:
    """Stops that were ordered before a restart and may never have been performed."""
    out = []
    for name in facts.running:
        job = facts.jobs[name]
        if job.state is JobState.stopping and job.stop_cause is not None:
            out.append(Stop(name, job.attempts_made, job.stop_cause, job.spec.grace_ms))
    return out


def resizes_to_repeat(facts: Facts) -> list[Resize]:
    """Wanted numbers of nodes, and nodes that were let go and are still there: the orders may not have been given."""
    out = []
    for group in facts.node_groups.values():
        if group.wanted is not None:
            mine = (one for one in facts.nodes.values() if (one.executor, one.type) == (group.executor, group.type))
            remove = tuple(node.id for node in mine if node.released)
            out.append(Resize(group.executor, group.type, group.wanted, remove))
    return out
