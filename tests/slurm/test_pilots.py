"""Many short attempts on a few allocations: pilots as the nodes of the remote executor."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from agentorch.errors import NodeUnreachable, ProvisioningError
from agentorch.executors.contract import Executor
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.slurm.door import TOKEN
from agentorch.executors.slurm.pilots import PilotShape, SlurmTransport
from agentorch.model.attempts import AttemptPhase, NodeInfo
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import marked
from tests.executors.rigs import shell
from tests.executors.test_trees import family
from tests.slurm.rig import SlurmRig

_PATIENCE_S = 40.0


def transport(rig: SlurmRig) -> SlurmTransport:
    shapes = {"small": PilotShape(cpus=2, memory_bytes=200 << 20)}
    return SlurmTransport(rig.root, shapes, rig.options)


@asynccontextmanager
async def opened(rig: SlurmRig, epoch: int = 1) -> AsyncIterator[RemoteExecutor]:
    executor = RemoteExecutor(transport(rig), rig.root.parent / "control", name="slurm", lease_s=3.0, margin_s=1.0)
    await executor.open(epoch)
    try:
        yield executor
    finally:
        await executor.close()


async def nodes_when(executor: Executor, count: int) -> list[NodeInfo]:
    """The nodes, once there are that many of them up."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            await asyncio.to_thread(threading.Event().wait, 0.05)  # the loop is free meanwhile
            try:
                nodes = [node for node in await executor.nodes() if node.state == "up"]
            except NodeUnreachable:
                nodes = []
            if len(nodes) == count:
                return nodes


def test_pilots_come_work_and_go(rig: SlurmRig) -> None:
    async def run() -> None:
        async with opened(rig) as executor, Ends(executor) as ends:
            assert await nodes_when(executor, 0) == []
            await executor.scale("small", 2, [])
            first, second = await nodes_when(executor, 2)
            assert (first.type, first.cpu_milli, first.memory_bytes) == ("small", 2_000, 200 << 20)
            assert first.address == "127.0.0.1"
            specs = [
                shell(f"j{number}", f"exit {number % 7}", node=(first, second)[number % 2].id) for number in range(40)
            ]
            await executor.launch(specs)
            for number in range(40):
                assert (await ends.of(f"j{number}.1")).exit_code == number % 7
            await executor.launch([msgspec.structs.replace(family("a"), node=second.id)])
            await until_logged(executor, "a.1", b"ready")
            await executor.stop("a.1", "cancelled", 100)
            assert (await ends.of("a.1")).cause is Cause.cancelled
            assert marked(rig.root / "pilots" / second.id / "node" / "attempts", "a.1") == []
            await executor.scale("small", 1, [first.id])
            (left,) = await nodes_when(executor, 1)
            assert left.id == second.id
        async with opened(rig, 2) as executor:
            (found,) = await nodes_when(executor, 1)
            assert found.id == second.id
            await executor.scale("small", 0, [second.id])
            await nodes_when(executor, 0)

    asyncio.run(run())


def test_a_pilot_lets_nobody_in_without_the_token(rig: SlurmRig) -> None:
    async def run() -> None:
        async with opened(rig) as executor:
            await executor.scale("small", 1, [])
            (node,) = await nodes_when(executor, 1)
            (rig.root / "pilots" / TOKEN).write_bytes(b"another")
            stranger = transport(rig)
            await stranger.open()
            with pytest.raises(NodeUnreachable, match="did not let us in"):
                await stranger.call(node.id, "list", b"", 10.0)
            await stranger.close()
            await executor.scale("small", 0, [node.id])
            await nodes_when(executor, 0)

    asyncio.run(run())


def test_there_are_no_pilots_of_an_unknown_type_nor_of_an_impossible_shape(rig: SlurmRig) -> None:
    async def run() -> None:
        impossible = SlurmTransport(rig.root, {"huge": PilotShape(memory_bytes=1 << 50)}, rig.options)
        await impossible.open()
        with pytest.raises(ProvisioningError, match=r"no such pilots; there are \['huge'\]"):
            await impossible.resize("small", 1, [])
        with pytest.raises(ProvisioningError, match="Memory specification can not be satisfied"):
            await impossible.resize("huge", 1, [])
        assert await impossible.members() == []
        await impossible.close()

    asyncio.run(run())


def test_folders_of_pilots_that_ended_long_ago_go(rig: SlurmRig) -> None:
    folders = [rig.root / "pilots" / name for name in ("old", "new")]
    for folder in folders:
        (folder / "node" / "attempts").mkdir(parents=True)
    for place in (folders[0], folders[0] / "node" / "attempts"):
        os.utime(place, (0, 0))
    os.utime(folders[1], (0, 0))  # it began long ago, and had work until now

    async def run() -> None:
        slurm = transport(rig)
        await slurm.open()
        await slurm.close()

    asyncio.run(run())
    assert [folder.exists() for folder in folders] == [False, True]


def test_a_pilot_that_slurm_warns_gives_notice_and_one_that_is_killed_takes_its_work_along(rig: SlurmRig) -> None:
    async def run() -> None:
        async with opened(rig) as executor, Ends(executor) as ends:
            await executor.scale("small", 1, [])
            (node,) = await nodes_when(executor, 1)
            job = dict(node.labels)["slurm_job"]
            await executor.launch([msgspec.structs.replace(family("a"), node=node.id)])
            await until_logged(executor, "a.1", b"ready")
            await asyncio.to_thread(rig.cluster.command, "scancel", "--batch", "--signal=TERM", job)
            async with asyncio.timeout(_PATIENCE_S):
                while (await nodes_when(executor, 1))[0].notice_ms is None:
                    pass
            await asyncio.to_thread(rig.cluster.command, "scancel", "--batch", "--signal=KILL", job)
            status = await ends.of("a.1")
            assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.node_lost)
            assert marked(rig.root / "pilots" / node.id / "node" / "attempts", "a.1") == []
            await nodes_when(executor, 0)

    asyncio.run(run())
