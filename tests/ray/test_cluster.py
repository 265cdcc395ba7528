"""A real cluster: who is where, what is pinned, what ends, what comes and goes; and what Ray must not do here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from agentorch.errors import ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.executors.ray.options import TYPE_LABELS, RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import kill, marked
from tests.executors.remote.cluster import until
from tests.executors.rigs import shell
from tests.executors.test_trees import family
from tests.executors.waiting import eventually
from tests.ray.cluster import Cluster, Runtime, needs_ray, play, until_gone, until_up

pytestmark = needs_ray


def test_nodes_say_their_type_their_labels_and_what_ray_was_told_that_they_have(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        nodes = await until_up(executor, 3)
        assert sorted(node.type for node in nodes) == ["a", "a", "b"]
        for node in nodes:
            assert node.cpu_milli == 2_000
            assert node.memory_bytes == psutil.virtual_memory().total
            assert node.address == "127.0.0.1"
            assert dict(node.labels)[TYPE_LABELS[0]] == node.type
            assert node.samples

    play(runtime, scenario)


def test_a_job_runs_where_it_was_put_at_nice_0_with_its_log_read_from_there(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        nodes = await until_up(executor, 3)
        async with Ends(executor) as ends:
            script = "echo $AGENTORCH_ATTEMPT_DIR; nice"
            await asyncio.gather(*(executor.launch([shell(node.id[:8], script, node=node.id)]) for node in nodes))
            for node in nodes:
                attempt = f"{node.id[:8]}.1"
                assert (await ends.of(attempt)).exit_code == 0
                log, _, whole = await executor.logs(attempt, "stdout", 0, 1_000)
                assert (log.decode(), whole) == (f"{runtime.attempts(node.id)}/{attempt}\n0\n", True)

    play(runtime, scenario)


def test_a_cancelled_tree_with_daemons_leaves_nobody(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        node = (await until_up(executor, 3))[0].id
        async with Ends(executor) as ends:
            spec = msgspec.structs.replace(family("tree"), node=node)
            await executor.launch([spec])
            await until_logged(executor, "tree.1", b"ready")
            eventually(lambda: len(marked(runtime.attempts(node), "tree.1")) >= 5, "the tree has grown")
            await executor.stop("tree.1", Cause.cancelled, 200)
            assert (await ends.of("tree.1")).cause is Cause.cancelled
            assert marked(runtime.attempts(node), "tree.1") == []

    play(runtime, scenario)


def test_a_lost_node_tells_each_of_its_ten_jobs_lost_once_after_its_lease(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        node = (await until_up(executor, 3))[0]
        told: list[tuple[str, Cause | None]] = []

        async def listen() -> None:
            async for status in executor.events():
                told.append((status.id, status.cause))
                assert marked(runtime.attempts(node.id), status.id) == []

        listening = asyncio.create_task(listen())
        names = [f"j{number}" for number in range(10)]
        await executor.launch([shell(name, "sleep 600", node=node.id) for name in names])
        machine = runtime.cluster.machine(node)
        kill(runtime.cluster.process(machine, "raylet").pid)
        await until_gone(executor, node.id)
        await executor.launch([shell("after", "true", node="")])

        async def all_told() -> bool:
            return len(told) >= len(names)

        await until(all_told, "ten losses")
        assert sorted(told) == sorted((f"{name}.1", Cause.node_lost) for name in names)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    play(runtime, scenario)


def test_nodes_come_and_go_by_type_and_the_logs_of_those_that_went_are_kept(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        await until_up(executor, 3)
        await executor.scale("c", 1, [])
        first = next(node for node in await until_up(executor, 4) if node.type == "c")
        await executor.scale("c", 3, [])
        await executor.scale("c", 3, [])  # wanted, not added
        nodes = [node for node in await until_up(executor, 6) if node.type == "c"]
        async with Ends(executor) as ends:
            for node in nodes:
                await executor.launch([shell(node.id[:8], "echo hello", node=node.id)])
                await ends.of(f"{node.id[:8]}.1")
        gone = [node for node in nodes if node.id != first.id]
        machines = [runtime.cluster.machine(node) for node in gone]
        await executor.scale("c", 1, [node.id for node in gone])
        left = await until_up(executor, 4)
        assert [node.id for node in left if node.type == "c"] == [first.id]
        assert not any(psutil.pid_exists(machine.pid) for machine in machines)
        assert (await executor.logs(f"{gone[0].id[:8]}.1", "stdout", 0, 100))[0] == b"hello\n"
        await executor.scale("c", 0, [first.id])
        assert {node.type for node in await until_up(executor, 3)} == {"a", "b"}

    play(runtime, scenario)


def test_a_node_that_works_is_not_released(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        node = (await until_up(executor, 3))[0]
        await executor.launch([shell("a", "sleep 600", node=node.id)])
        with pytest.raises(ProvisioningError, match=r"a\.1 may still run there"):
            await executor.scale(node.type, 0, [node.id])
        async with Ends(executor) as ends:
            await executor.stop("a.1", Cause.cancelled, 0)
            await ends.of("a.1")

    play(runtime, scenario)


def test_a_node_that_is_to_be_taken_says_when(runtime: Runtime) -> None:
    """As a provider of spot machines announces it: Ray is told to drain the node until then."""
    code = (
        "import sys; from ray._raylet import GcsClient\n"
        "print(GcsClient(address=sys.argv[1]).drain_node(sys.argv[2], 2, 'preempted', int(sys.argv[3])))"
    )

    async def scenario(executor: RemoteExecutor) -> None:
        node = (await until_up(executor, 3))[0]
        options, at_ms = runtime.cluster.options(), (time.time_ns() // 1_000_000) + 600_000
        command = [sys.executable, "-c", code, options.where(), node.id, str(at_ms)]
        await asyncio.to_thread(subprocess.run, command, env=options.environment(), check=True, capture_output=True)

        async def noticed() -> bool:
            return {info.id: info.notice_ms for info in await executor.nodes()}[node.id] == at_ms

        await until(noticed, "the notice")
        runtime.cluster.machines.stop(runtime.cluster.machine(node))

    play(runtime, scenario)


def test_two_runtimes_share_a_cluster_by_namespace(cluster: Cluster, runtime: Runtime, tmp_path: Path) -> None:
    other = Runtime(cluster, tmp_path / "other")

    async def run() -> None:
        one, two = runtime.executor(), other.executor()
        await one.open(1)
        await two.open(5)
        node = (await until_up(one, 3))[0].id
        await until_up(two, 3)
        for executor in (one, two):
            (status,) = await executor.launch([shell("a", "sleep 600", node=node)])
            assert status.phase is AttemptPhase.running
            async with Ends(executor) as ends:
                await executor.stop("a.1", Cause.cancelled, 0)
                assert (await ends.of("a.1")).cause is Cause.cancelled
        await one.close()
        await two.close()

    asyncio.run(run())
    other.end()


def test_nothing_listens_beyond_loopback_and_nothing_is_left_in_the_home(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        await until_up(executor, 3)
        ours = {process.pid for process in processes_of(runtime)}
        listening = [
            connection.laddr.ip
            for connection in psutil.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN and connection.pid in ours
        ]
        assert len(listening) > 5
        assert {address.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}

    before = home_of_ray()
    play(runtime, scenario)
    assert home_of_ray() == before
    token = runtime.cluster.options().state / "token"
    assert token.stat().st_mode & 0o777 == 0o600


def processes_of(runtime: Runtime) -> list[psutil.Process]:
    roots = [machine.pid for machine in runtime.cluster.machines.running()]
    roots += [transport.bridge_pid for transport in runtime.transports if transport.bridge_pid]
    found = [psutil.Process(pid) for pid in roots]
    return found + [child for process in list(found) for child in process.children(recursive=True)]


def home_of_ray() -> list[tuple[str, float]] | None:
    folder = Path.home() / ".ray"
    return [(str(path), path.stat().st_mtime) for path in sorted(folder.rglob("*"))] if folder.exists() else None


def test_every_process_of_ray_is_at_nice_0(runtime: Runtime) -> None:
    async def scenario(executor: RemoteExecutor) -> None:
        for node in await until_up(executor, 3):
            assert psutil.Process(runtime.agent_pid(node.id)).nice() == 0

    play(runtime, scenario)


def test_nothing_of_ray_is_loaded_by_the_runtime(runtime: Runtime) -> None:
    code = (
        "import asyncio, sys, pathlib\n"
        "from agentorch.executors.ray.options import RayOptions\n"
        "from agentorch.executors.ray.transport import RayTransport\n"
        "async def run():\n"
        "    transport = RayTransport(RayOptions(state=pathlib.Path(sys.argv[1])))\n"
        "    await transport.open(); print(len(await transport.members())); await transport.close()\n"
        "asyncio.run(run())\n"
        "print(sorted(name for name in sys.modules if name == 'ray' or name.startswith('ray.')))"
    )
    command = [sys.executable, "-c", code, str(runtime.cluster.options().state)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["3", "[]"]


def test_without_the_token_nobody_gets_in(cluster: Cluster, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)

    async def run() -> None:
        transport = RayTransport(cluster.options(token_file=str(wrong), address=cluster.options().where()))
        await transport.open()  # what does not answer today may answer tomorrow
        with pytest.raises(NodeUnreachable, match=r"can't be reached: .*InvalidAuthToken"):
            await transport.members()
        await transport.close()

    asyncio.run(run())


def test_a_cluster_that_is_not_there_is_said_so_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        options = RayOptions(state=tmp_path, address="127.0.0.1:9", token_file="none")
        transport = RayTransport(options)
        await transport.open()
        with pytest.raises(NodeUnreachable, match="Connection refused"):
            await transport.members()
        await transport.close()
        with pytest.raises(ExecutorError, match="agentorch ray up"):
            await RayTransport(RayOptions(state=tmp_path)).open()

    asyncio.run(run())


def test_an_interpreter_without_ray_is_named(cluster: Cluster, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o700)

    async def run() -> None:
        with pytest.raises(ExecutorError, match="No module named"):
            await RayTransport(cluster.options(python=str(python))).open()

    asyncio.run(run())


def test_a_node_that_ray_does_not_list_is_unreachable(runtime: Runtime) -> None:
    async def run() -> None:
        transport = RayTransport(runtime.cluster.options(namespace=runtime.namespace))
        await transport.open()
        with pytest.raises(NodeUnreachable, match="lists no node"):
            await transport.call("f" * 56, "open", b"", 5.0)
        await transport.close()

    asyncio.run(run())


def test_a_bridge_whose_runtime_died_ends(runtime: Runtime) -> None:
    code = (
        "import asyncio, sys, pathlib\n"
        "from agentorch.executors.ray.options import RayOptions\n"
        "from agentorch.executors.ray.transport import RayTransport\n"
        "async def run():\n"
        "    transport = RayTransport(RayOptions(state=pathlib.Path(sys.argv[1])))\n"
        "    await transport.open(); print(transport.bridge_pid, flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(run())"
    )
    command = [sys.executable, "-c", code, str(runtime.cluster.options().state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        bridge = psutil.Process(int(process.stdout.readline()))
        process.kill()
    bridge.wait(30)
