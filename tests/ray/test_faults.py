"""SIGKILL of every part under a load of 200 jobs on three nodes: 0 lost, 0 run twice, exit codes and logs right."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.executors.processes import kill, marked, shim_of
from tests.executors.remote.cluster import until, until_state
from tests.executors.rigs import shell
from tests.executors.waiting import eventually
from tests.ray.cluster import Cluster, Runtime, needs_ray, play, until_gone, until_up
from tests.ray.load import LEASE_S, MARGIN_S, Load, check, lost, read_ledger

pytestmark = needs_ray
SOURCE = Path(__file__).resolve().parents[2]
COUNT = 200

Fault = Callable[[RemoteExecutor, Load, list[NodeInfo]], Awaitable[None]]


def under_load(runtime: Runtime, root: Path, fault: Fault, count: int = COUNT) -> None:
    """Run the load, do the fault amid it, and see that everything came to its end."""

    async def run() -> None:
        load = Load(root, count)
        executor = runtime.executor(placement=load.node_of, lease_s=LEASE_S, margin_s=MARGIN_S)
        await executor.open(1)
        try:
            nodes = await until_up(executor, 3)
            running = asyncio.create_task(load.run(executor))

            async def busy() -> bool:
                return len(load.ended) > count // 8 and all(load.running_on(node.id) for node in nodes)

            await until(busy, "work on every node")
            try:
                await fault(executor, load, nodes)
                await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            logs = [await log_of(executor, attempt) for attempt, run in read_ledger(root).items() if run.is_final]
        finally:
            await executor.close()
        # Of a node that is gone the logs are too, and that is said.
        assert set(logs) <= {"done\n", "gone"}

    asyncio.run(run())
    assert check(root, count) == []


async def log_of(executor: RemoteExecutor, attempt: str) -> str:
    try:
        return (await executor.logs(attempt, "stdout", 0, 100))[0].decode()
    except Exception as error:
        if "is gone" not in str(error):
            raise
        return "gone"


def noticed(what: str, since: float) -> None:
    """For the table in docs/failures.md: pytest -s shows it."""
    print(f"\n{what}: {time.monotonic() - since:.2f} s")


def test_the_bridge(runtime: Runtime, tmp_path: Path) -> None:
    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        transport = runtime.transports[-1]
        killed, at = transport.bridge_pid, time.monotonic()
        kill(killed)

        async def back() -> bool:
            return transport.bridge_pid not in (0, killed)

        await until(back, "another bridge")
        await transport.members()
        noticed("bridge: the cluster answers again", at)

    under_load(runtime, tmp_path, fault)
    assert lost(tmp_path) == {}


def test_an_agent(runtime: Runtime, tmp_path: Path) -> None:
    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        node = nodes[0].id
        pid, at = runtime.agent_pid(node), time.monotonic()
        kill(pid)

        async def another() -> bool:
            return await asyncio.to_thread(runtime.agent_pid, node) not in (0, pid)

        # Its node may be in doubt for so short a time that nobody who looks now and then sees it.
        await until(another, "another agent")
        await until_state(executor, node, NodeState.up)
        noticed("agent: another one answers", at)

    under_load(runtime, tmp_path, fault)
    # Only what was never started, because the launch was on its way, may be ordered again.
    assert set(lost(tmp_path).values()) <= {Cause.requeued, Cause.no_capacity}


def test_a_zygote(runtime: Runtime, tmp_path: Path) -> None:
    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        for node in nodes:
            kill(zygote_of(runtime.agent_pid(node.id)))

    under_load(runtime, tmp_path, fault)
    assert lost(tmp_path) == {}


def zygote_of(agent: int) -> int:
    return next(child.pid for child in psutil.Process(agent).children() if "zygote" in " ".join(child.cmdline()))


def test_a_shim(runtime: Runtime, tmp_path: Path) -> None:
    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        def running() -> tuple[str, int] | None:
            for node in nodes:
                for attempt in load.running_on(node.id):
                    number = int(attempt[1:].partition(".")[0])
                    if number % 4 == 0 and (load.root / f"runs-{attempt}").exists():
                        return attempt, shim_of(runtime.attempts(node.id), attempt)
            return None

        async def look() -> tuple[str, int] | None:
            return running()

        attempt, shim = await until(look, "a long attempt")
        at = time.monotonic()
        kill(shim)

        async def told() -> bool:
            return attempt in load.ended

        await until(told, "its loss")
        noticed("shim: its attempt is told lost", at)

    under_load(runtime, tmp_path, fault)
    assert set(lost(tmp_path).values()) == {Cause.lost}


def test_a_raylet(runtime: Runtime, tmp_path: Path) -> None:
    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        node, cluster = nodes[0], runtime.cluster
        raylet = cluster.process(cluster.machine(node), "raylet").pid
        at = time.monotonic()
        kill(raylet)
        await until_state(executor, node.id, NodeState.suspect)
        noticed("raylet: its node is in doubt", at)
        await until_gone(executor, node.id)
        noticed("raylet: its node is down, what ran there is told lost", at)

    under_load(runtime, tmp_path, fault)
    assert set(lost(tmp_path).values()) <= {Cause.node_lost, Cause.no_capacity}


def test_the_head_does_not_answer_for_a_while(runtime: Runtime, tmp_path: Path) -> None:
    """Calls go to the nodes themselves: work goes on, launches included, and nothing is concluded."""

    async def fault(executor: RemoteExecutor, load: Load, nodes: list[NodeInfo]) -> None:
        head = next(machine for machine in runtime.cluster.machines.running() if machine.head)
        head_process = runtime.cluster.process(head, "gcs_server")
        head_process.suspend()
        try:
            before = len(load.ended)

            async def more() -> bool:
                return len(load.ended) >= min(before + 50, COUNT)

            await until(more, "ends without a head")
        finally:
            head_process.resume()
        assert all(node.state is NodeState.up for node in await executor.nodes())

    under_load(runtime, tmp_path, fault)
    assert lost(tmp_path) == {}


def test_the_runtime_again_and_again(runtime: Runtime, tmp_path: Path) -> None:
    chance, kills = random.Random(7), 0
    for epoch in range(1, 20):
        with start_runtime(runtime, tmp_path, epoch) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(20, 90)):
                if not process.stdout.readline():
                    break
            else:
                process.kill()
                kills += 1
                continue
            assert process.wait() == 0
            break
    assert kills >= 2
    assert check(tmp_path, COUNT) == []
    assert set(lost(tmp_path).values()) <= {Cause.requeued, Cause.no_capacity}


def start_runtime(runtime: Runtime, root: Path, epoch: int) -> subprocess.Popen[str]:
    options = runtime.cluster.options(namespace=runtime.namespace)
    fields = {"state": str(options.state), "agent_root": options.agent_root, "namespace": options.namespace}
    arguments = [str(root), str(root / "control"), str(epoch), str(COUNT), json.dumps(fields)]
    command = [sys.executable, "-m", "tests.ray.load", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SOURCE)


@pytest.mark.skipif(os.environ.get("AGENTORCH_SOAK") != "1", reason="two clusters of its own: make soak-ray")
def test_the_head_dies_and_another_one_is_started(tmp_path: Path) -> None:
    """Nodes are spoken to without it. With their end work ends, is told lost once; nodes of the next cluster serve."""
    cluster = Cluster(tmp_path)
    runtime = Runtime(cluster, tmp_path)

    async def scenario(executor: RemoteExecutor) -> None:
        (node,) = await until_up(executor, 1)
        told: list[str] = []

        async def listen() -> None:
            async for status in executor.events():
                told.append(f"{status.id} {status.cause}")
                assert marked(runtime.attempts(node.id), status.id) == []

        listening = asyncio.create_task(listen())
        await executor.launch([shell(f"j{number}", "sleep 600", node=node.id) for number in range(5)])
        head = next(machine for machine in cluster.machines.running() if machine.head)
        kill(cluster.process(head, "gcs_server").pid)
        eventually(lambda: not cluster.machines.running()[0].head, "the end of the head")
        await executor.launch([shell("without", "exit 0", node=node.id)])
        kill(cluster.process(cluster.machine(node), "raylet").pid)  # without a head it would heed SIGTERM late
        await asyncio.to_thread(cluster.machines.stop_all)
        await asyncio.to_thread(cluster.start, "a")
        (fresh,) = await until_up(executor, 1)
        assert fresh.id != node.id
        await executor.launch([shell("after", "exit 0", node=fresh.id)])

        async def all_told() -> bool:
            return len(told) == 7

        await until(all_told, "five losses, and an end on either cluster")
        assert sorted(told) == [
            "after.1 completed",
            *(f"j{number}.1 node_lost" for number in range(5)),
            "without.1 completed",
        ]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    cluster.start("a")
    try:
        play(runtime, scenario)
    finally:
        cluster.close()
