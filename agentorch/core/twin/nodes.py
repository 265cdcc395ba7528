"""Whoever provides nodes, as the twin imagines it: it brings what is asked for, and takes what is let go."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.instruct import Resize, resizes_to_repeat
from agentorch.core.nodes import as_known, group_key, pools_of, standing
from agentorch.core.twin.chance import PROVISIONING, Dice
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeGroup, NodeState

#: What nodes take to come of which none ever came.
UNKNOWN_MS = 2 * limits.MINUTE_MS


class Provider:
    """Of one draw. The nodes of a type that fails to come do not come here either."""

    def __init__(self, facts: Facts, dice: Dice) -> None:
        self.facts = facts
        self.dice = dice
        self.ordered = 0
        self.coming: list[tuple[int, str, str]] = []  # (when, executor, type)

    def awaited(self) -> list[Resize]:
        """What was asked for before the twin forked, and has not come."""
        return resizes_to_repeat(self.facts)

    def order(self, resize: Resize, now_ms: int) -> list[int]:
        """The times at which to report the nodes of the executor again."""
        times = [now_ms + limits.NODES_AWAITED_POLL_MS] if resize.remove else []
        group = self.facts.node_groups.get(group_key(resize.executor, resize.node_type))
        on_the_way = sum(
            1 for _, executor, kind in self.coming if (executor, kind) == (resize.executor, resize.node_type)
        )
        there = standing(self.facts, resize.executor, resize.node_type)
        if group is None or group.failures:
            return times
        for _ in range(resize.nodes - there - on_the_way):
            self.ordered += 1
            at_ms = now_ms + self.took_ms(group)
            if group.since_ms is not None and group.since_ms < now_ms:
                at_ms = max(now_ms + limits.NODES_AWAITED_POLL_MS, at_ms - (now_ms - group.since_ms))
            self.coming.append((at_ms, resize.executor, resize.node_type))
            times.append(at_ms)
        return times

    def took_ms(self, group: NodeGroup) -> int:
        if not group.took_ms:
            return UNKNOWN_MS
        return group.took_ms[self.dice.below(PROVISIONING, self.ordered, len(group.took_ms))]

    def report(self, executor: str, now_ms: int) -> cmd.ReportNodes:
        """All nodes of the executor: those that stay, and those that have come by now."""
        nodes = [one for one in self.facts.nodes.values() if one.executor == executor]
        infos = [as_known(one) for one in nodes if not one.released and one.unlisted_ms is None]
        come = [one for one in self.coming if one[1] == executor and one[0] <= now_ms]
        self.coming = [one for one in self.coming if one not in come]
        wanted: dict[str, int] = {}
        for at_ms, _, kind in come:
            group = self.facts.node_groups[group_key(executor, kind)]
            room = (group.wanted or 0) - standing(self.facts, executor, kind) - wanted.get(kind, 0)
            if room > 0:  # it is still wanted
                wanted[kind] = wanted.get(kind, 0) + 1
                infos.append(self.fresh(group, f"{kind}~{at_ms}~{wanted[kind]}"))
        return cmd.ReportNodes(
            executor=executor, nodes=tuple(info for info in infos if info.state is not NodeState.down)
        )

    def fresh(self, group: NodeGroup, name: str) -> NodeInfo:
        """As the newest of its type; as big as a worker of the type's pools when none was ever seen."""
        cpu_milli, memory_bytes = group.cpu_milli, group.memory_bytes
        names, sizes = group.device_names, group.device_memory_bytes
        if not cpu_milli:
            shapes = [pool.spec.shape for pool in pools_of(self.facts, group.executor, group.type)]
            cpu_milli = max((shape.cpu_milli for shape in shapes), default=0)
            memory_bytes = max((shape.memory_bytes for shape in shapes), default=0)
            largest = max(shapes, key=lambda shape: shape.gpus, default=None)
            if largest is not None:
                names = (largest.gpu_model,) * largest.gpus
                sizes = (largest.gpu_memory_bytes,) * largest.gpus
        return NodeInfo(
            id=name,
            type=group.type,
            cpu_milli=cpu_milli,
            memory_bytes=memory_bytes,
            devices=tuple(f"{name}:{at}" for at in range(len(names))),
            device_names=names,
            device_memory_bytes=sizes,
        )
