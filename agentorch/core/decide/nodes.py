"""Nodes that come, go and fail, and the workers of elastic pools that are put on them, moved off them, and lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.decide.jobs import stop
from agentorch.core.decide.provisioning import groups, provision, release
from agentorch.core.facts import Facts
from agentorch.core.health import LOCAL_NODE
from agentorch.core.nodes import Space, as_known, lacking, room_on
from agentorch.core.turn import Turn
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import Node, NodeState, Pool, Worker, WorkerState
from agentorch.model.jobs import Cause, Tier

# -- what executors list


def report_nodes(turn: Turn, command: cmd.ReportNodes) -> str:
    """Record what changed; then workers follow. Returns why some of these nodes can't be used; "" when all can.

    A node that was let go and is not listed any more is gone. Any other is in doubt for a while first, and then gone:
    at once when nothing runs there, else it is down until that has ended.
    """
    facts = turn.facts
    taken = [info.id for info in command.nodes if _is_taken(facts, info.id, command.executor)]
    nodes = [info for info in command.nodes if info.id not in taken]
    for info in nodes:
        known = facts.nodes.get(info.id)
        if _is_news(known, info):
            turn.emit(_seen(turn, command.executor, info))
            _leave(turn, facts.nodes[info.id])
    listed = {info.id for info in nodes}
    for node in list(facts.nodes.values()):
        if node.executor == command.executor and node.id not in listed and node.state is not NodeState.down:
            _not_listed(turn, node)
    if turn.events:
        _follow(turn, command.executor)
    return f"of {command.executor}, these have names that others have already: {', '.join(taken)}" if taken else ""


def _is_taken(facts: Facts, node: str, executor: str) -> bool:
    """Ids of nodes are unique over all executors, the fixed machine's too."""
    known = facts.nodes.get(node)
    return node == LOCAL_NODE or (known is not None and known.executor != executor)


def doubt_nodes(turn: Turn, command: cmd.DoubtNodes) -> None:
    """Nothing new goes to the nodes of this executor until it is known again how they are."""
    for node in list(turn.facts.nodes.values()):
        if node.executor == command.executor and node.reported is NodeState.up:
            turn.emit(_as_known(turn, node, NodeState.suspect, command.problem))


def _is_news(known: Node | None, info: NodeInfo) -> bool:
    """Whether anything changed but words and the last second of a notice."""
    if known is None:
        return info.state is not NodeState.down
    if known.unlisted_ms is not None:
        return True
    before, after = known.notice_ms, info.notice_ms
    moved = (before is None) != (after is None) or abs((before or 0) - (after or 0)) > limits.SECOND_MS
    return moved or known.reported is not info.state or _lasting(known) != _lasting(info)


def _lasting(node: Node | NodeInfo) -> tuple[object, ...]:
    """What a node is, however it is just now."""
    devices = (node.devices, node.device_names, node.device_memory_bytes)
    return node.type, node.address, node.labels, node.cpu_milli, node.memory_bytes, *devices


def _seen(turn: Turn, executor: str, info: NodeInfo, *, listed: bool = True) -> ev.NodeSeen:
    return ev.NodeSeen(
        at_ms=turn.now_ms,
        node=info.id,
        executor=executor,
        type=info.type,
        address=info.address,
        labels=info.labels,
        cpu_milli=info.cpu_milli,
        memory_bytes=info.memory_bytes,
        devices=info.devices,
        device_names=info.device_names,
        device_memory_bytes=info.device_memory_bytes,
        state=info.state,
        problem=info.problem[: limits.REASON_MAX_CHARS],
        notice_ms=info.notice_ms,
        listed=listed,
    )


def _not_listed(turn: Turn, node: Node) -> None:
    since_ms = node.unlisted_ms
    if node.released or (since_ms is not None and turn.now_ms >= since_ms + limits.NODE_UNLISTED_MS):
        _vanished(turn, node)
    elif since_ms is None:
        turn.emit(_as_known(turn, node, NodeState.suspect, _not_any_more(node), listed=False))


def _vanished(turn: Turn, node: Node) -> None:
    if any(turn.facts.workers[name].running for name in node.workers):
        turn.emit(_as_known(turn, node, NodeState.down, _not_any_more(node), listed=False))
    else:
        for name in list(node.workers):
            turn.emit(ev.WorkerRemoved(at_ms=turn.now_ms, worker=name))
        turn.emit(ev.NodeRemoved(at_ms=turn.now_ms, node=node.id))


def _not_any_more(node: Node) -> str:
    return f"{node.executor} does not list it any more"


def _as_known(turn: Turn, node: Node, state: NodeState, problem: str, *, listed: bool = True) -> ev.NodeSeen:
    """As it was known, but for its state."""
    return _seen(turn, node.executor, as_known(node, state, problem), listed=listed)


def _follow(turn: Turn, executor: str) -> None:
    """Workers leave nodes that are gone, and are put on those that came."""
    facts = turn.facts
    for name, pool in facts.pools.items():
        if pool.spec.elastic and pool.spec.executor == executor:
            settle(turn, name)
    _forget_dead_nodes(turn)
    for key in groups(facts):
        if key[0] == executor:
            provision(turn, *key)


def _leave(turn: Turn, node: Node) -> None:
    """Retire the workers of a node that is on its way out, and those that it has no room for any more."""
    facts = turn.facts
    reason = ""
    if node.state is NodeState.draining:
        taken = "its node is taken away" if node.notice_ms is not None else "its node is on its way out"
        reason = f"{taken}: {node.problem}" if node.problem else taken
    for name in reversed(list(node.workers)):
        if facts.workers[name].state is WorkerState.up and (reason or _is_overfull(facts, node, facts.workers[name])):
            retire(turn, name, "node", reason or "its node has less than it had")


def _is_overfull(facts: Facts, node: Node, worker: Worker) -> bool:
    if node.state is not NodeState.up:
        return False  # what a node in doubt has is not known
    room = room_on(facts, node, standing_only=True)
    return room.cpu_milli < 0 or room.memory_bytes < 0 or not set(worker.devices) <= set(node.devices)


def retire(turn: Turn, worker: str, by: str, reason: str = "") -> None:
    turn.emit(ev.WorkerRetired(at_ms=turn.now_ms, worker=worker, by=by, reason=reason))


# -- workers


def settle(turn: Turn, name: str) -> None:
    """Let the workers of an elastic pool follow what is wanted: those that may go do, and missing ones get a place."""
    facts = turn.facts
    pool = facts.pools[name]
    for worker in list(pool.workers):
        found = facts.workers[worker]
        if found.state is not WorkerState.up and not found.running:
            turn.emit(ev.WorkerRemoved(at_ms=turn.now_ms, worker=worker))
    count = lacking(facts, pool)
    space = Space(facts, pool.spec, turn.state.homes) if count else None
    for _ in range(count):
        spot = space.place() if space is not None else None
        if spot is None:
            break
        node, devices = spot
        turn.emit(
            ev.WorkerAdded(
                at_ms=turn.now_ms,
                worker=f"{name}-{pool.next_worker}",
                pool=name,
                node=node,
                shape=pool.spec.shape,
                devices=devices,
            )
        )


# -- what time brings


def tick(turn: Turn) -> None:
    """Work leaves what is to go, workers follow what is wanted, empty nodes are let go."""
    facts = turn.facts
    elastic = [name for name, pool in facts.pools.items() if pool.spec.elastic]
    if not elastic and not facts.nodes and not facts.node_groups:
        return
    for node in facts.nodes.values():
        if node.notice_ms is not None:
            _interrupt_before(turn, node, node.notice_ms)
    for name in elastic:
        _end_drains(turn, facts.pools[name])
        settle(turn, name)
    _forget_dead_nodes(turn)
    for key in groups(facts):
        provision(turn, *key)
        release(turn, *key)


def _interrupt_before(turn: Turn, node: Node, notice_ms: int) -> None:
    """Whatever runs there is stopped so early that it has its whole grace: it saves itself, and goes on elsewhere."""
    facts = turn.facts
    for job in [facts.jobs[job] for name in node.workers for job in facts.workers[name].running]:
        if job.stop_cause is None and turn.now_ms >= notice_ms - job.spec.grace_ms - limits.NOTICE_MARGIN_MS:
            stop(turn, job.id, Cause.interruption, "node")


def _end_drains(turn: Turn, pool: Pool) -> None:
    """What still runs on a retired worker after the pool's drain grace goes on elsewhere, if it may be stopped."""
    facts = turn.facts
    for name in pool.workers:
        worker = facts.workers[name]
        retired_ms = worker.retired_ms
        if worker.state is not WorkerState.retiring or retired_ms is None:
            continue
        if turn.now_ms < retired_ms + pool.spec.drain_grace_ms:
            continue
        for job in [facts.jobs[job] for job in worker.running]:
            if job.stop_cause is None and job.spec.preemptible and job.spec.tier is not Tier.realtime:
                stop(turn, job.id, Cause.interruption, "drain")


def _forget_dead_nodes(turn: Turn) -> None:
    for node in list(turn.facts.nodes.values()):
        if node.state is NodeState.down and not node.workers:
            turn.emit(ev.NodeRemoved(at_ms=turn.now_ms, node=node.id))


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.ReportNodes: report_nodes,
    cmd.DoubtNodes: doubt_nodes,
}
