"""Nodes of this machine to be cut off, stopped and killed: real agents, as processes, behind the pipe transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentorch.errors import NodeUnreachable
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.remote.pipe import PipeTransport
from agentorch.executors.remote.transport import Member
from agentorch.model.attempts import AttemptStatus, NodeInfo
from agentorch.model.fleet import NodeState
from tests.executors.processes import kill

Found = TypeVar("Found")
_PATIENCE_S = 60.0


class Cuttable(PipeTransport):
    """A pipe transport whose calls to the nodes in `cut` fail at once, as when a cable is pulled.

    What is under way to a node in `deaf` arrives, and its answer does not.
    """

    def __init__(self, directory: Path, nodes: Mapping[str, int]) -> None:
        super().__init__(directory, nodes)
        self.cut: set[str] = set()
        self.deaf: set[str] = set()
        self.notices: dict[str, int] = {}  # node -> when its provider takes it away
        self.vanished: set[str] = set()  # that the engine lists no more, though they live

    async def members(self) -> list[Member]:
        return [
            msgspec.structs.replace(member, notice_ms=self.notices.get(member.id))
            for member in await super().members()
            if member.id not in self.vanished
        ]

    async def call(self, node: str, method: str, body: bytes, timeout_s: float) -> bytes:
        if node in self.cut:
            raise NodeUnreachable(f"node {node}: the cable is pulled")
        answer = await super().call(node, method, body, timeout_s)
        if node in self.cut or node in self.deaf:
            raise NodeUnreachable(f"node {node}: the answer was lost")
        return answer


class Cluster:
    """`nodes` agents below a directory, and executors that speak to them. `close` leaves nothing running."""

    def __init__(self, root: Path, nodes: int = 1) -> None:
        self.root = root
        self._nodes = nodes
        self.names = [f"node-{number + 1}" for number in range(nodes)]

    def transport(self) -> Cuttable:
        return Cuttable(self.root / "nodes", {"cpu": self._nodes})

    def executor(self, transport: Cuttable | None = None, **settings: Any) -> RemoteExecutor:
        """A new executor on the same nodes, as after a restart of the runtime."""
        return RemoteExecutor(transport or self.transport(), self.root / "control", **settings)

    def attempts(self, node: str = "node-1") -> Path:
        """Where the attempt directories of the node are."""
        return self.root / "nodes" / node / "attempts"

    def agent_pid(self, node: str) -> int:
        return self.transport().agent_pid(node)

    def signal_agent(self, node: str, number: signal.Signals) -> None:
        os.kill(self.agent_pid(node), number)

    def kill_agent(self, node: str) -> None:
        kill(self.agent_pid(node))

    def close(self) -> None:
        """Kill the agents; without leases, what they ran ends too."""
        for node in (self.root / "nodes").glob("node-*"):
            (node / "attempts" / "lease").unlink(missing_ok=True)
            try:
                pid = self.agent_pid(node.name)
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ValueError):
                continue
            if str(node).encode() in command:
                os.kill(pid, signal.SIGCONT)
                kill(pid)


class Told:
    """Every end that an executor told, as often as it did."""

    def __init__(self, executor: RemoteExecutor) -> None:
        self._executor = executor
        self._news = asyncio.Condition()
        self.statuses: dict[str, AttemptStatus] = {}
        self.times: Counter[str] = Counter()

    async def follow(self) -> None:
        async for status in self._executor.events():
            async with self._news:
                self.statuses[status.id] = status
                self.times[status.id] += 1
                self._news.notify_all()

    async def of(self, *attempts: str) -> list[AttemptStatus]:
        async with asyncio.timeout(_PATIENCE_S), self._news:
            await self._news.wait_for(lambda: all(attempt in self.statuses for attempt in attempts))
        return [self.statuses[attempt] for attempt in attempts]


@contextlib.asynccontextmanager
async def opened(
    cluster: Cluster, epoch: int = 1, transport: Cuttable | None = None, **settings: Any
) -> AsyncIterator[tuple[RemoteExecutor, Told]]:
    """An executor of the cluster, and what it tells, until it is closed."""
    executor = cluster.executor(transport, **settings)
    await executor.open(epoch)
    told = Told(executor)
    following = asyncio.create_task(told.follow())
    try:
        yield executor, told
    finally:
        await executor.close()
        await following


async def until(look: Callable[[], Awaitable[Found]], what: str) -> Found:
    """What `look` returns once it is true; the loop is free meanwhile."""
    pause = threading.Event()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not (found := await look()):
                await asyncio.to_thread(pause.wait, 0.02)
    except TimeoutError as error:
        raise AssertionError(f"waited {_PATIENCE_S:.0f} s in vain: {what}") from error
    return found


async def until_state(executor: RemoteExecutor, node: str, state: NodeState) -> NodeInfo:
    async def look() -> NodeInfo | None:
        return next((info for info in await executor.nodes() if (info.id, info.state) == (node, state)), None)

    return await until(look, f"{node} to be {state}")
