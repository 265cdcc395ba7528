"""What happened to nodes, and to the numbers of them that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.evolve.fleet import clear_reservation
from agentorch.core.facts import Facts
from agentorch.core.nodes import group_key, standing, state_of
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import Node, NodeGroup, NodeState, WorkerState


def node_seen(state: State, event: ev.NodeSeen) -> None:
    facts = state.facts
    node = facts.nodes.get(event.node)
    fresh = node is None
    if node is None:
        node = facts.nodes[event.node] = Node(id=event.node, executor=event.executor, added_ms=event.at_ms)
    was = NodeState.down if fresh else node.state
    node.type, node.address, node.labels = event.type, event.address, event.labels
    node.cpu_milli, node.memory_bytes = event.cpu_milli, event.memory_bytes
    node.devices, node.device_names = event.devices, event.device_names
    node.device_memory_bytes = event.device_memory_bytes
    node.reported, node.problem, node.notice_ms = event.state, event.problem, event.notice_ms
    if event.listed:
        node.unlisted_ms = None
    elif node.unlisted_ms is None:
        node.unlisted_ms = event.at_ms
    _change_state(state, node)
    if node.type:
        group = _group(facts, node.executor, node.type)
        group.cpu_milli, group.memory_bytes = node.cpu_milli, node.memory_bytes
        group.device_names, group.device_memory_bytes = node.device_names, node.device_memory_bytes
        if was is not NodeState.down and node.state is NodeState.down:
            _takes_its_place_with_it(node, group)
        elif was is NodeState.down and node.state is not NodeState.down:
            _came(facts, node, group, event.at_ms, fresh)
    facts.world_seq = facts.seq + 1


def _change_state(state: State, node: Node) -> None:
    """Its workers know: the scheduler looks at them alone."""
    node.state = state_of(node.reported, node.notice_ms, node.released)
    for name in node.workers:
        worker = state.facts.workers[name]
        worker.node_state = node.state
        if node.state is not NodeState.up:
            clear_reservation(state.facts, worker)
        if node.state is NodeState.down and worker.state is WorkerState.up:
            worker.state = WorkerState.down
        elif node.state is not NodeState.down and worker.state is WorkerState.down:
            worker.state = WorkerState.up
        state.rooms.update(worker)


def _group(facts: Facts, executor: str, node_type: str) -> NodeGroup:
    return facts.node_groups.setdefault(group_key(executor, node_type), NodeGroup(executor=executor, type=node_type))


def _takes_its_place_with_it(node: Node, group: NodeGroup) -> None:
    if group.wanted is not None and not node.released:
        group.wanted = max(0, group.wanted - 1)


def _came(facts: Facts, node: Node, group: NodeGroup, at_ms: int, fresh: bool) -> None:
    """Whatever kept nodes from coming is over."""
    if not fresh and group.wanted is not None and not node.released:
        group.wanted += 1
    group.failures, group.error, group.retry_ms = 0, "", 0
    if group.since_ms is not None:
        group.took_ms = [*group.took_ms, at_ms - group.since_ms][-limits.PROVISIONINGS_KEPT :]
        group.since_ms = at_ms if _is_short(facts, group) else None


def _is_short(facts: Facts, group: NodeGroup) -> bool:
    return group.wanted is not None and standing(facts, group.executor, group.type) < group.wanted


def node_removed(state: State, event: ev.NodeRemoved) -> None:
    facts = state.facts
    node = facts.nodes.pop(event.node)
    group = facts.node_groups.get(group_key(node.executor, node.type))
    if group is not None and node.state is not NodeState.down:
        _takes_its_place_with_it(node, group)
    facts.world_seq = facts.seq + 1


def nodes_wanted(state: State, event: ev.NodesWanted) -> None:
    group = _group(state.facts, event.executor, event.node_type)
    group.wanted = event.nodes
    if not _is_short(state.facts, group):
        group.since_ms = None
    elif group.since_ms is None:
        group.since_ms = event.at_ms


def node_released(state: State, event: ev.NodeReleased) -> None:
    facts = state.facts
    node = facts.nodes[event.node]
    node.released, node.released_ms = True, event.at_ms
    _change_state(state, node)
    _group(facts, event.executor, event.node_type).wanted = event.nodes


def provisioning_failed(state: State, event: ev.ProvisioningFailed) -> None:
    facts = state.facts
    group = _group(facts, event.executor, event.node_type)
    group.failures, group.error, group.retry_ms = event.failures, event.error, event.retry_ms
    group.since_ms = None
    for name in event.kept:
        node = facts.nodes[name]
        node.released = False
        _change_state(state, node)
        if group.wanted is not None and node.state is not NodeState.down:
            group.wanted += 1


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.NodeSeen: node_seen,
    ev.NodeRemoved: node_removed,
    ev.NodesWanted: nodes_wanted,
    ev.NodeReleased: node_released,
    ev.ProvisioningFailed: provisioning_failed,
}
