"""Questions about nodes: which of them a pool may use, what room is on them, and how many are needed.

Workers are packed: on as few nodes as they fit on, so that whole nodes stay free for big workers, or can be let go.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from heapq import heapify, heappop, heappush

import msgspec

from agentorch.core.facts import Facts
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import Node, NodeGroup, NodeState, Pool, PoolSpec, Worker, WorkerState
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


def as_known(node: Node, state: NodeState | None = None, problem: str | None = None) -> NodeInfo:
    """What its executor said of it last, but for what is given."""
    return NodeInfo(
        id=node.id,
        type=node.type,
        address=node.address,
        labels=node.labels,
        cpu_milli=node.cpu_milli,
        memory_bytes=node.memory_bytes,
        devices=node.devices,
        device_names=node.device_names,
        device_memory_bytes=node.device_memory_bytes,
        state=node.reported if state is None else state,
        problem=node.problem if problem is None else problem,
        notice_ms=node.notice_ms,
    )


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
    """The room that one pool finds for its workers, kept up to date while workers are put there.

    A pool that may use any node leaves those last that other pools are bound to.
    `taken`: devices of workers now, wherever those are: two nodes may be one machine, and list the same GPUs.
    """

    def __init__(self, facts: Facts, spec: PoolSpec, taken: Container[str]) -> None:
        self.shape = spec.shape
        self.taken = taken
        self.rooms: dict[str, Room] = {}
        self.best: list[tuple[tuple[bool, bool, int, int], str]] = []
        bound = {pool.spec.node_type for pool in facts.pools.values() if pool.spec.executor == spec.executor}
        self.coveted = bound - {ANY_TYPE} if spec.node_type == ANY_TYPE else frozenset[str]()
        self.types: dict[str, str] = {}
        for node in facts.nodes.values():
            if node.state is NodeState.up and may_use(node, spec):
                self.rooms[node.id] = room_on(facts, node)
                self.types[node.id] = node.type
                self._offer(node.id)

    def place(self) -> tuple[str, tuple[str, ...]] | None:
        """Put a worker where it leaves the least: (node, devices). None: no node has room."""
        while self.best:
            _, name = heappop(self.best)
            room = self.rooms[name]
            if any(one.id in self.taken for one in room.devices):
                self._offer(name)  # again, as it is without them
                continue
            devices = room.take(self.shape)
            self._offer(name)
            return name, devices
        return None

    def _offer(self, name: str) -> None:
        room = self.rooms[name]
        room.devices = [one for one in room.devices if one.id not in self.taken]
        if room.fits(self.shape):
            gpus, cpu_milli = len(room.devices) - self.shape.gpus, room.cpu_milli - self.shape.cpu_milli
            rank = (self.types[name] in self.coveted, not room.workers, gpus, cpu_milli)
            heappush(self.best, (rank, name))


def leavers(facts: Facts, pool: Pool, count: int) -> list[str]:
    """The workers that a shrinking pool retires: those that are cordoned or empty first, on the nodes that are nearest
    to being empty, so that whole nodes become free; of several the newest."""
    up = [facts.workers[name] for name in pool.workers if facts.workers[name].state is WorkerState.up]
    beside: dict[str, list[Worker]] = {}
    for worker in up:
        node = facts.nodes.get(worker.node)
        names = node.workers if node is not None else [worker.id]
        beside[worker.node] = [facts.workers[name] for name in names]
    jobs = {node: sum(len(worker.running) for worker in workers) for node, workers in beside.items()}
    staying = {node: sum(1 for worker in workers if worker.state is WorkerState.up) for node, workers in beside.items()}
    place = {worker.id: -at for at, worker in enumerate(up)}

    def rank(worker: Worker) -> tuple[bool, bool, int, int, bool, int, str]:
        node = worker.node
        kept = bool(worker.reserved_for)
        return not worker.cordoned, bool(worker.running), jobs[node], staying[node], kept, place[worker.id], worker.id

    ranked = [rank(worker) for worker in up]
    heapify(ranked)
    chosen: dict[str, None] = {}
    while ranked and len(chosen) < count:
        name = heappop(ranked)[-1]
        if name not in chosen:
            chosen[name] = None
            left = facts.workers[name].node
            staying[left] -= 1
            for other in beside[left]:  # they have come nearer to leaving an empty node
                if other.id in place and other.id not in chosen:
                    heappush(ranked, rank(other))
    return list(chosen)


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
        count = 0 if pool.paused else lacking(facts, pool)
        sample = empty_room(group) if group is not None and count else None
        if sample is None:
            unknown += count  # nobody knows what such a node holds: one worker at least
        elif sample.fits(shape):  # see `too_big`
            for _ in range(count):
                while at < len(rooms) and not rooms[at].fits(shape):
                    at += 1
                if at == len(rooms):
                    rooms.append(Room(sample.cpu_milli, sample.memory_bytes, sample.devices))
                rooms[at].take(shape)
    return len(rooms) + unknown


def failed(times: int) -> str:
    return "failed" if times == 1 else f"failed {times} times in a row"


def shortage(facts: Facts, pool: Pool) -> str:
    """For people: what the pool's missing workers wait for; "" when none is missing."""
    spec = pool.spec
    count = lacking(facts, pool) if spec.elastic else 0
    if not count:
        return ""
    more = f"{count} more {'waits' if count == 1 else 'wait'} for"
    group = group_of(facts, spec)
    if group is None:
        return f"{more} room on the nodes of {spec.executor}"
    if group.failures:
        return f"{more} nodes of type {group.type}, which {failed(group.failures)}: {group.error}"
    there = standing(facts, group.executor, group.type)
    return f"{more} nodes of type {group.type}: {group.wanted or there} wanted, {there} there"
