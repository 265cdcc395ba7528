"""Nodes in memory: they come when they are asked for, as their offer says, and go when they are told to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agentorch.errors import ExecutorError, ProvisioningError
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What happens when nodes of a type are asked for. `node` is what each is like; its id is its type and a number."""

    node: NodeInfo
    delay_ms: int | None = 0  # None: the order is taken, and nothing ever comes
    error: str = ""  # not "": whatever is asked of this type fails


class FakeNodes:
    """`there` may be changed at will by whoever drives it. Nothing goes that was not named."""

    def __init__(self) -> None:
        self.there: dict[str, NodeInfo] = {}
        self.offers: dict[str, Offer] = {}
        self.coming: list[tuple[int | None, NodeInfo]] = []  # (due, node), in the order they were asked for
        self.orders: list[tuple[str, int, tuple[str, ...]]] = []  # every one, also those that failed
        self.gone: set[str] = set()
        self.silent = ""  # why nobody can say just now which nodes there are
        self._next = 1

    def resize(self, node_type: str, target: int, remove: Sequence[str], now_ms: int) -> None:
        """Raises ProvisioningError as the offer says, and for a type without one."""
        self.orders.append((node_type, target, tuple(remove)))
        offer = self.offers.get(node_type)
        if offer is None or offer.error:
            raise ProvisioningError(offer.error if offer is not None else f"there are no nodes of type {node_type!r}")
        for name in remove:
            self.drop(name)
        have = sum(1 for node in self.there.values() if node.type == node_type and node.state is not NodeState.down)
        others = [one for one in self.coming if one[1].type != node_type]
        mine = [one for one in self.coming if one[1].type == node_type][: max(0, target - have)]
        while have + len(mine) < target:
            due_ms = None if offer.delay_ms is None else now_ms + offer.delay_ms
            name = f"{node_type}-{self._next}"
            self._next += 1
            mine.append((due_ms, msgspec.structs.replace(offer.node, id=name, type=node_type)))
        self.coming = others + mine
        self.arrive(now_ms)

    def arrive(self, now_ms: int) -> None:
        """Let in the nodes whose time has come."""
        for due_ms, node in self.coming:
            if due_ms is not None and due_ms <= now_ms:
                self.there[node.id] = node
        self.coming = [one for one in self.coming if one[1].id not in self.there]

    def drop(self, name: str) -> None:
        """It is not there any more, and its name is never used again."""
        if self.there.pop(name, None) is not None:
            self.gone.add(name)

    def expired(self, now_ms: int) -> list[str]:
        """Nodes whose provider takes them away by now."""
        return [node.id for node in self.there.values() if node.notice_ms is not None and node.notice_ms <= now_ms]

    def next_due_ms(self) -> int | None:
        """When the next node comes, or is taken away."""
        times = [due_ms for due_ms, _ in self.coming] + [node.notice_ms for node in self.there.values()]
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    def change(self, name: str, **fields: object) -> None:
        """Its fields are these from now on. Raises ExecutorError for a node that is not there."""
        if name not in self.there:
            raise ExecutorError(f"node {name}: it is not there")
        self.there[name] = msgspec.structs.replace(self.there[name], **fields)
