"""A real Ray cluster of loopback nodes, and executors that speak to it. Nothing in this process imports ray."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentorch.executors.contract import Executor
from agentorch.executors.ray.machines import Machine, Machines
from agentorch.executors.ray.options import MACHINE_LABEL, RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.remote.transport import Member
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState
from tests.executors.remote.cluster import until
from tests.executors.waiting import eventually

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'agentorch[ray]'"
)


class OneNode(RayTransport):
    """Shows only one node of the cluster: what a suite for one machine expects."""

    only = ""

    async def members(self) -> list[Member]:
        found = sorted(await super().members(), key=lambda member: member.id)
        self.only = self.only or found[0].id
        return [member for member in found if member.id == self.only]


class Cluster:
    """A head without processors, and nodes. `close` leaves nothing of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machines = Machines(self.options())

    def options(self, **changes: Any) -> RayOptions:
        fields: dict[str, Any] = {
            "state": self.root / "ray",
            "agent_root": str(self.root / "agents"),
            "provider": "local",
            "node_cpus": 2,
            **changes,
        }
        return RayOptions(**fields)

    def start(self, *types: str) -> None:
        self.machines.start_head(port=0)

        async def join() -> None:
            await asyncio.gather(*(asyncio.to_thread(self.machines.join, cpus=2, node_type=kind) for kind in types))

        asyncio.run(join())

    def close(self) -> None:
        self.machines.stop_all()

    def machine(self, node: NodeInfo) -> Machine:
        name = dict(node.labels)[MACHINE_LABEL]
        return next(machine for machine in self.machines.running() if machine.name == name)

    def process(self, machine: Machine, name: str) -> psutil.Process:
        """The process of that name below the node's own."""
        below = psutil.Process(machine.pid).children(recursive=True)
        return next(child for child in below if name in " ".join(child.cmdline()[:1]))


class Runtime:
    """One namespace of its own on the cluster: agents that nobody has spoken to. `end` ends them."""

    def __init__(self, cluster: Cluster, root: Path, transport: type[RayTransport] = RayTransport) -> None:
        self.cluster = cluster
        self.namespace = f"test-{secrets.token_hex(4)}"
        self._root = root / "control"
        self._transport = transport
        self.transports: list[RayTransport] = []

    def executor(self, **settings: Any) -> RemoteExecutor:
        """A new executor of the same runtime, as after its restart."""
        transport = self._transport(self.cluster.options(namespace=self.namespace))
        self.transports.append(transport)
        settings = {"lease_s": 4.0, "margin_s": 2.0, **settings}
        return RemoteExecutor(transport, self._root, name="ray", **settings)

    def attempts(self, node: str) -> Path:
        """Where the attempt directories of the node are."""
        return self.cluster.root / "agents" / self.namespace / node / "attempts"

    def agent_pid(self, node: str) -> int:
        """Of the process whose zygote and lease they are."""
        mark = f"{self.namespace}/{node}"
        return next(pid for pid in psutil.pids() if mark in _open_files(pid))

    def end(self) -> None:
        async def dismiss() -> None:
            transport = RayTransport(self.cluster.options(namespace=self.namespace))
            await transport.open()
            try:
                await transport.dismiss()
            finally:
                await transport.close()

        asyncio.run(dismiss())


class RayRig:
    """One node of the cluster, for the suite that every executor passes."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self.runtime = Runtime(cluster, root, OneNode)

    def executor(self) -> RemoteExecutor:
        return self.runtime.executor()

    def advance(self, executor: Executor) -> None:
        """Real time passes by itself."""


def _open_files(pid: int) -> str:
    try:
        name = psutil.Process(pid).name()
        if not name.startswith("ray::"):
            return ""
        return json.dumps([file.path for file in psutil.Process(pid).open_files()])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


async def until_up(executor: RemoteExecutor, count: int) -> list[NodeInfo]:
    """The nodes, once exactly so many are up."""

    async def look() -> list[NodeInfo] | None:
        up = [node for node in await executor.nodes() if node.state is NodeState.up]
        return up if len(up) == count else None

    return await until(look, f"{count} nodes to be up")


def play(runtime: Runtime, scenario: Callable[[RemoteExecutor], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        executor = runtime.executor(**settings)
        await executor.open(1)
        try:
            await scenario(executor)
        finally:
            await executor.close()

    asyncio.run(run())


__all__ = ["Cluster", "OneNode", "RayRig", "Runtime", "eventually", "needs_ray", "play", "until_up"]
