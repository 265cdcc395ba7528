"""A copy of a state that may run ahead: it shares nothing that changes, and leaves out what the future does not need.

Left out are jobs that have ended, proposals and decisions, keys, and the memory of the guardrails. Of very long queues
only those who go first in each line are taken along.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import islice
from typing import TypeVar

import msgspec

from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.fleet import Node, Pool, Worker
from agentorch.model.jobs import FINISHED, ON_WORKER, Attempt, Job

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_Item = TypeVar("_Item")


def fork(state: State) -> State:
    """A state of its own, imagined from here on. O(live jobs + workers), at most `TWIN_JOBS_MAX` of those that wait."""
    facts = state.facts
    names = dict.fromkeys(_live(state))
    return State(
        msgspec.structs.replace(
            facts,
            jobs={name: _job(facts.jobs[name]) for name in names},
            finished={},
            dependants=_lists(facts.dependants),
            pools={name: _pool(pool) for name, pool in facts.pools.items()},
            workers={name: _worker(worker) for name, worker in facts.workers.items()},
            nodes={name: _node(node) for name, node in facts.nodes.items()},
            node_groups=_structs(facts.node_groups),
            pool_devices=dict(facts.pool_devices),
            devices={},
            device_faults=_structs(facts.device_faults),
            tenants=_structs(facts.tenants),
            keys={},
            idempotency={},
            reserved=_lists(facts.reserved),
            ports=_lists(facts.ports),
            running=dict(facts.running),
            borrowed=dict(facts.borrowed),
            held=dict(facts.held),
            impatient={name: None for name in facts.impatient if name in names},
            proposals={},
            unsettled={},
            acted=[],
            decisions={},
            history=[],
            alerts=[],
            watched={},
            calibration={},
            dated={name: None for name in facts.dated if name in names},
            ended_by_state=dict(facts.ended_by_state),
            runs=facts.runs if state.imagined else _lists(facts.runs),
            long_runs=facts.long_runs if state.imagined else dict(facts.long_runs),
            arrivals={},
        ),
        imagined=True,
    )


def _live(state: State) -> Iterator[str]:
    """Those that run, are held or wait, in the order in which they were submitted as far as they wait."""
    facts = state.facts
    if state.imagined:  # nobody else is there
        yield from (name for name, job in facts.jobs.items() if job.state not in FINISHED)
        return
    yield from facts.running
    yield from facts.held
    yield from facts.reserved
    queue = state.queue
    if len(queue) <= limits.TWIN_JOBS_MAX:
        yield from (job.id for job in queue.waiting_jobs(limits.TWIN_JOBS_MAX))
        return
    for tier in queue.tiers:
        for tenant in tier.values():
            for line in tenant.lines.values():
                share = -(-len(line.live) * limits.TWIN_JOBS_MAX // len(queue))
                yield from islice(line.in_order(), share)


def left_out(state: State) -> int:
    """How many jobs that wait a fork does not take along."""
    if len(state.queue) <= limits.TWIN_JOBS_MAX:
        return 0
    taken = len(dict.fromkeys(_live(state))) - len(state.facts.running) - len(state.facts.held)
    return len(state.queue) - taken


def _structs(table: dict[str, _Struct]) -> dict[str, _Struct]:
    return {name: copy(one) for name, one in table.items()}


def _lists(table: dict[str, list[_Item]]) -> dict[str, list[_Item]]:
    return {name: list(one) for name, one in table.items()}


def _job(job: Job) -> Job:
    taken = copy(job)
    if job.attempts and job.state in ON_WORKER:  # attempts that have ended do not change any more
        taken.attempts = (*job.attempts[:-1], _attempt(job.attempts[-1]))
    return taken


def _attempt(attempt: Attempt) -> Attempt:
    taken = copy(attempt)
    taken.ranks = tuple(copy(rank) for rank in attempt.ranks)
    return taken


def _pool(pool: Pool) -> Pool:
    taken = copy(pool)
    taken.workers, taken.needs, taken.waits = list(pool.workers), [], []
    taken.power = copy(pool.power)
    taken.power.starts = list(pool.power.starts)
    return taken


def _worker(worker: Worker) -> Worker:
    taken = copy(worker)
    taken.free_devices, taken.running, taken.cordons = list(worker.free_devices), list(worker.running), []
    return taken


def _node(node: Node) -> Node:
    taken = copy(node)
    taken.workers = list(node.workers)
    return taken
