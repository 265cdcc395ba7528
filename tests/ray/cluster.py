"""A real Ray cluster of loopback nodes, and executors that speak to it. Nothing in this process imports ray."""

from __future__ import annotations

import asyncio
import importlib.util
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
        self._janitor: RayTransport | None = None
        self._loop = asyncio.new_event_loop()  # of the janitor only

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

    def dismiss(self, namespace: str) -> None:
        """End the agents of a runtime; one transport does so for all tests."""

        async def ask() -> None:
            if self._janitor is None:
                self._janitor = RayTransport(self.options(namespace="janitor"))
                await self._janitor.open()
            await self._janitor.dismiss(namespace)

        self._loop.run_until_complete(ask())

    def close(self) -> None:
        if self._janitor is not None:
            self._loop.run_until_complete(self._janitor.close())
        self._loop.close()
        self.machines.stop_all()

    def refill(self) -> None:
        """Back to three nodes of types a, a and b, after a test that took one away or left one."""
        missing = ["a", "a", "b"]
        for machine in self.machines.running():
            if machine.type in missing:
                missing.remove(machine.type)
            elif not machine.head:
                self.machines.stop(machine)
        for kind in missing:
            self.machines.join(cpus=2, node_type=kind)

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
        return next((pid for pid in psutil.pids() if _holds(pid, mark)), 0)

    def end(self) -> None:
        self.cluster.dismiss(self.namespace)


class RayRig:
    """One node of the cluster, for the suite that every executor passes."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self.runtime = Runtime(cluster, root, OneNode)

    def executor(self) -> RemoteExecutor:
        return self.runtime.executor()

    def advance(self, executor: Executor) -> None:
        """Real time passes by itself."""


def _holds(pid: int, mark: str) -> bool:
    """Whether it is a process of Ray that has something open below a path with this in it."""
    try:
        if not Path(f"/proc/{pid}/comm").read_text().startswith("ray::"):
            return False
        return any(mark in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_up(executor: RemoteExecutor, count: int) -> list[NodeInfo]:
    """The nodes, once exactly so many are up."""

    async def look() -> list[NodeInfo] | None:
        up = [node for node in await executor.nodes() if node.state is NodeState.up]
        return up if len(up) == count else None

    return await until(look, f"{count} nodes to be up")


async def until_gone(executor: RemoteExecutor, node: str) -> None:
    """Until its lease is certainly over: it is down, or not listed any more because somebody else has seen that."""

    async def look() -> bool:
        states = {info.id: info.state for info in await executor.nodes()}
        return states.get(node, NodeState.down) is NodeState.down

    await until(look, f"{node} to be down")


def play(runtime: Runtime, scenario: Callable[[RemoteExecutor], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        executor = runtime.executor(**settings)
        await executor.open(1)
        try:
            await scenario(executor)
        finally:
            await executor.close()

    asyncio.run(run())
