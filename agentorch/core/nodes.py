"""Questions about nodes: which of them a pool may use, what room is on them, and how many are needed.

Workers are packed: on as few nodes as they fit on, so that whole nodes stay free for big workers, or can be let go.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agentorch.core.facts import Facts
from agentorch.model.fleet import Node, NodeGroup, NodeState, Pool, PoolSpec, WorkerState
from agentorch.model.jobs import Resources

#: The node type of pools that may use every node of their executor; such pools ask for none.
ANY_TYPE = "*"


def group_key(executor: str, node_type: str) -> str:
    return f"{executor}/{node_type}"


def group_of(facts: Facts, spec: PoolSpec) -> NodeGroup | None:
    """The nodes that the pool asks for; None for one that does not, or whose type nobody has seen or wanted yet."""
    return facts.node_groups.get(group_key(spec.executor, spec.node_type)) if asks_for_nodes(spec) else None


def asks_for_nodes(spec: PoolSpec) -> bool:
    return spec.elastic and spec.node_type != ANY_TYPE


def state_of(reported: NodeState, notice_ms: int | None, released: bool) -> NodeState:
    """What counts of a node's state: it drains as soon as anybody wants it away."""
    return NodeState.draining if reported is NodeState.up and (released or notice_ms is not None) else reported


def may_use(node: Node, spec: PoolSpec) -> bool:
    """Whether workers of the pool may be on the node at all."""
    return node.executor == spec.executor and spec.node_type in (ANY_TYPE, node.type)


def standing(facts: Facts, executor: str, node_type: str) -> int:
    """Nodes of a type that are there; those that are to go count until they were told to."""
    return sum(
        1
        for node in facts.nodes.values()
        if node.executor == executor
        and node.type == node_type
        and not node.released
        and node.state is not NodeState.down
    )


def lacking(facts: Facts, pool: Pool) -> int:
    """How many workers the pool should have and has not.

    A worker that retires keeps its place within `max_workers` until it is empty, unless its node goes away with it.
    """
    up = holding = 0
    for name in pool.workers:
        worker = facts.workers[name]
        if worker.state is WorkerState.up:
            up += 1
            holding += 1
        elif worker.state is WorkerState.retiring and worker.node_state in (NodeState.up, NodeState.suspect):
            holding += 1
    return max(0, min(pool.target - up, pool.spec.max_workers - holding))


# -- room


class Device(msgspec.Struct, frozen=True):
    id: str
    name: str
    memory_bytes: int


class Room:
    """What is free on one node."""

    __slots__ = ("cpu_milli", "devices", "memory_bytes", "workers")

    def __init__(self, cpu_milli: int, memory_bytes: int, devices: list[Device], workers: int = 0) -> None:
        self.cpu_milli = cpu_milli
        self.memory_bytes = memory_bytes
        self.devices = devices
        self.workers = workers

    def fits(self, shape: Resources) -> bool:
        return (
            shape.cpu_milli <= self.cpu_milli
            and shape.memory_bytes <= self.memory_bytes
            and shape.gpus <= len(self.devices)
            and (not shape.gpus or len(self.matching(shape)) >= shape.gpus)
        )

    def matching(self, shape: Resources) -> list[Device]:
        """Free devices of the model and size that the shape names."""
        model = shape.gpu_model.lower()
        return [one for one in self.devices if model in one.name.lower() and shape.gpu_memory_bytes <= one.memory_bytes]

    def take(self, shape: Resources) -> tuple[str, ...]:
        """Put a worker there; returns its devices."""
        taken = self.matching(shape)[: shape.gpus]
        self.cpu_milli -= shape.cpu_milli
        self.memory_bytes -= shape.memory_bytes
        self.devices = [one for one in self.devices if one not in taken]
        self.workers += 1
        return tuple(one.id for one in taken)


def room_on(facts: Facts, node: Node, *, standing_only: bool = False) -> Room:
    """`standing_only`: as if the workers that are to go had gone."""
    workers = [facts.workers[name] for name in node.workers]
    if standing_only:
        workers = [worker for worker in workers if worker.state is WorkerState.up]
    taken = {device for worker in workers for device in worker.devices}
    devices = _devices(node.devices, node.device_names, node.device_memory_bytes)
    return Room(
        node.cpu_milli - sum(worker.shape.cpu_milli for worker in workers),
        node.memory_bytes - sum(worker.shape.memory_bytes for worker in workers),
        [one for one in devices if one.id not in taken and one.id not in facts.device_faults],
        len(workers),
    )


def _devices(ids: tuple[str, ...], names: tuple[str, ...], sizes: tuple[int, ...]) -> list[Device]:
    """What a node did not say of a device is no name and no memory: it matches only who asks for neither."""
    return [
        Device(one, names[at] if at < len(names) else "", sizes[at] if at < len(sizes) else 0)
        for at, one in enumerate(ids)
    ]


def empty_room(group: NodeGroup) -> Room | None:
    """A fresh node of the type, as far as is known; None when none was ever seen."""
    if not group.cpu_milli:
        return None
    ids = tuple(str(at) for at in range(len(group.device_names)))
    return Room(group.cpu_milli, group.memory_bytes, _devices(ids, group.device_names, group.device_memory_bytes))


class Space:
    """The room on every node that takes workers, kept up to date while workers are put there."""

    def __init__(self, facts: Facts, spec: PoolSpec) -> None:
        self.rooms = {
            node.id: room_on(facts, node)
            for node in facts.nodes.values()
            if node.state is NodeState.up and may_use(node, spec)
        }

    def place(self, shape: Resources) -> tuple[str, tuple[str, ...]] | None:
        """Put a worker of this shape where it leaves the least: (node, devices). None: no node has room."""
        best = min(
            ((self._rank(room, shape), name) for name, room in self.rooms.items() if room.fits(shape)), default=None
        )
        return None if best is None else (best[1], self.rooms[best[1]].take(shape))

    @staticmethod
    def _rank(room: Room, shape: Resources) -> tuple[bool, int, int]:
        return (not room.workers, len(room.devices) - shape.gpus, room.cpu_milli - shape.cpu_milli)


# -- how many


def pools_of(facts: Facts, executor: str, node_type: str) -> Iterator[Pool]:
    """The pools that ask for nodes of the type."""
    for pool in facts.pools.values():
        if pool.spec.executor == executor and pool.spec.node_type == node_type and asks_for_nodes(pool.spec):
            yield pool


def too_big(facts: Facts, executor: str, node_type: str) -> Pool | None:
    """A pool whose workers fit on no node of the type: asking for more of those would never end."""
    group = facts.node_groups.get(group_key(executor, node_type))
    for pool in pools_of(facts, executor, node_type):
        room = empty_room(group) if group is not None else None
        if room is not None and not pool.paused and lacking(facts, pool) and not room.fits(pool.spec.shape):
            return pool
    return None


def missing(facts: Facts, executor: str, node_type: str) -> int:
    """Nodes that the workers without a place would fill, beside those that are there. Paused pools ask for none."""
    group = facts.node_groups.get(group_key(executor, node_type))
    rooms: list[Room] = []
    unknown = 0
    for pool in pools_of(facts, executor, node_type):
        shape, at = pool.spec.shape, 0
        for _ in range(0 if pool.paused else lacking(facts, pool)):
            fresh = empty_room(group) if group is not None else None
            if fresh is None:
                unknown += 1  # nobody knows what such a node holds: one worker at least
                continue
            if not fresh.fits(shape):
                break  # see `too_big`
            while at < len(rooms) and not rooms[at].fits(shape):
                at += 1
            if at == len(rooms):
                rooms.append(fresh)
            rooms[at].take(shape)
    return len(rooms) + unknown
