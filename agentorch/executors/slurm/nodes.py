"""Slurm's nodes as an executor tells them. States: https://slurm.schedmd.com/sinfo.html#SECTION_NODE-STATE-CODES."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agentorch.errors import NodeUnreachable, ProvisioningError
from agentorch.executors.slurm.tools import SlurmNode, SlurmTools
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState

_MIB: Final = 1 << 20
_FLAGS: Final = "*~#!%$@^-+"  # behind a state; `*` is the one that matters: the node does not answer
_UP: Final = frozenset({"idle", "mixed", "allocated", "completing", "planned", "blocked"})
_DRAINING: Final = frozenset({"draining", "drained", "drain", "maint", "reserved", "reboot", "reboot_issued"})
_GPU: Final = re.compile(r"(?:^|,)gpu(?::([^:,()]+))?:(\d+)")


class SlurmNodes:
    """The nodes there are, and which of them are used. Asked at most every `pause_s` seconds. `refresh` blocks."""

    def __init__(self, tools: SlurmTools, pause_s: float) -> None:
        self._tools = tools
        self._pause_s = pause_s
        self._known: dict[str, NodeInfo] = {}
        self._ask_at = 0.0
        self._let_go: set[str] = set()

    def refresh(self) -> None:
        """Ask Slurm. While it does not answer, those known are in doubt; raises NodeUnreachable if none is."""
        if time.monotonic() < self._ask_at:
            return
        try:
            self._known = {node.id: node for node in node_infos(self._tools.nodes())}
        except NodeUnreachable as error:
            if not self._known:
                raise
            suspect, problem = NodeState.suspect, str(error)
            self._known = {
                node.id: msgspec.structs.replace(node, state=suspect, problem=problem) for node in self._known.values()
            }
        self._ask_at = time.monotonic() + self._pause_s

    def used(self) -> list[NodeInfo]:
        return [node for node in self._known.values() if node.id not in self._let_go]

    def type_of(self, node: str) -> str:
        """The partition by which this node is reached; "" if it is not known."""
        return self._known[node].type if node in self._known else ""

    def use(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        """Use this many nodes of the type, and not those to remove. Raises ProvisioningError if Slurm has fewer."""
        self._let_go.update(remove)
        there = [node.id for node in self._known.values() if node_type in ("*", node.type)]
        spare = [node for node in there if node in self._let_go and node not in remove]
        missing = target - sum(node not in self._let_go for node in there)
        self._let_go.difference_update(spare[: max(0, missing)])
        if target > len(there):
            raise ProvisioningError(
                f"Slurm has {len(there)} nodes of type {node_type!r}, not {target}; only its administrators add more"
            )


def node_infos(lines: Iterable[SlurmNode]) -> list[NodeInfo]:
    """One for each node. Its type is the default partition if it is in that one, else its first."""
    chosen: dict[str, SlurmNode] = {}
    for line in lines:
        if line.name not in chosen or (line.is_default and not chosen[line.name].is_default):
            chosen[line.name] = line
    return [_node_info(line) for line in chosen.values()]


def _node_info(line: SlurmNode) -> NodeInfo:
    state, problem = _state(line)
    names = [name for name, count in _gpus(line.gres) for _ in range(count)]
    features = () if line.features in ("", "(null)") else tuple(line.features.split(","))
    return NodeInfo(
        id=line.name,
        type=line.partition,
        address=line.address,
        labels=tuple((feature, "true") for feature in features),
        cpu_milli=1_000 * line.cpus,
        memory_bytes=line.memory_mb * _MIB,
        devices=tuple(f"{line.name}:gpu:{index}" for index in range(len(names))),
        device_names=tuple(names),
        device_memory_bytes=(0,) * len(names),
        state=state,
        problem=problem,
    )


def _state(line: SlurmNode) -> tuple[NodeState, str]:
    base = line.state.rstrip(_FLAGS).lower()
    reason = "" if line.reason in ("", "none") else f": {line.reason}"
    if base in _DRAINING:
        return NodeState.draining, f"Slurm says {base}{reason}"
    if base not in _UP:
        return NodeState.down, f"Slurm says {base}{reason}"
    if "*" in line.state:
        return NodeState.suspect, f"it does not answer Slurm{reason}"
    return NodeState.up, ""


def _gpus(gres: str) -> list[tuple[str, int]]:
    """`gpu:a100:4(S:0-1),nvme:1` -> [("a100", 4)]."""
    return [(name or "gpu", int(count)) for name, count in _GPU.findall(gres)]
