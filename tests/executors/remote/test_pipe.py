"""Agents as processes: one for each root, started when it is needed, gone when it is forgotten."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors import lease
from agentorch.executors.remote import frames, wire
from agentorch.executors.remote.agent import NodeAgent
from agentorch.executors.remote.agent_main import LOG, Server
from agentorch.executors.remote.frames import Reply
from agentorch.executors.remote.pipe import PipeTransport
from tests.executors.remote.cluster import Cluster

OPEN = wire.encode(wire.Open(epoch=1, control="c"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_an_agent_is_started_for_the_first_question_and_outlives_the_transport(cluster: Cluster) -> None:
    async def run() -> tuple[str, int]:
        transport = cluster.transport()
        await transport.open()
        opened = wire.opened(wire.Opened, await transport.call("node-1", "open", OPEN, 30))
        await transport.close()
        return opened.incarnation, transport.agent_pid("node-1")

    assert asyncio.run(run()) == asyncio.run(run())


def test_one_agent_runs_in_a_root(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        await transport.open()
        await transport.call("node-1", "open", OPEN, 30)
        await transport.close()

    asyncio.run(run())
    root = cluster.root / "nodes" / "node-1"
    command = [sys.executable, "-m", "agentorch.executors.remote.agent_main", str(root), "node-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(root / LOG) in done.stderr
    assert "another agent runs in" in (root / LOG).read_text()


def test_nothing_listens_on_a_network(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        await transport.open()
        await transport.call("node-1", "open", OPEN, 30)
        agent = psutil.Process(transport.agent_pid("node-1"))
        for process in (agent, *agent.children(recursive=True)):
            assert process.net_connections(kind="inet") == []
        await transport.close()

    asyncio.run(run())


def test_an_agent_that_can_not_be_started_is_a_node_that_can_not_be_reached(cluster: Cluster) -> None:
    async def run() -> None:
        transport = cluster.transport()
        await transport.open()
        in_its_way = cluster.root / "nodes" / "node-1"
        in_its_way.write_text("")
        with pytest.raises(NodeUnreachable, match="node-1"):
            await transport.call("node-1", "open", OPEN, 30)
        with pytest.raises(NodeUnreachable, match="not there any more"):
            await transport.call("node-2", "open", OPEN, 30)
        in_its_way.unlink()
        await transport.close()

    asyncio.run(run())


def test_a_book_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    book = tmp_path / "nodes.json"
    for text in ("{", "[]", '{"next": 1}'):
        book.write_text(text)
        with pytest.raises(ExecutorError, match=r"nodes\.json"):
            asyncio.run(PipeTransport(tmp_path).open())


def test_a_forgotten_agent_ends_when_its_lease_is_over_and_not_before(tmp_path: Path) -> None:
    async def run() -> None:
        agent = NodeAgent(tmp_path, "n-1")
        opened = wire.opened(wire.Opened, await agent.handle("open", OPEN))
        renew = wire.Renew(epoch=1, incarnation=opened.incarnation, echo_ns=opened.clock_ns, seconds=1.0)
        renewed = wire.opened(wire.Renewed, await agent.handle("renew", wire.encode(renew)))
        async with asyncio.timeout(30):
            await Server(agent, orphaned_s=0.05).until_over()
        assert lease.now_ns() >= renewed.deadline_ns
        await agent.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x09abc"]
)
def test_a_stream_that_holds_no_frames_is_given_up(data: bytes) -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        with pytest.raises(ConnectionError):
            await frames.read(reader, Reply)

    asyncio.run(run())
