"""What runs under a lease ends with it, by itself; nobody but the shim is there to see to that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from agentorch.executors.attempt_dir import boot_id
from agentorch.executors.lease import LEASE, left_s, now_ns, write_lease
from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import marked, shim_of
from tests.executors.rigs import shell
from tests.executors.test_trees import family
from tests.executors.waiting import eventually

OVER = "the lease of this node is over"


def extend(root: Path, ms: int) -> None:
    write_lease(root, now_ns() + ms * 1_000_000)


def ended(root: Path, name: str) -> bool:
    """Looked at from outside: also while no runtime is there."""
    return (root / f"{name}.1" / "exit.json").exists() and shim_of(root, f"{name}.1") == 0


def test_what_is_left_is_told_on_a_clock_that_never_stops(tmp_path: Path) -> None:
    path = str(tmp_path / LEASE)
    assert left_s(path, boot_id()) < 0
    extend(tmp_path, 60_000)
    assert 50 < left_s(path, boot_id()) <= 60
    assert left_s(path, "another boot") < 0
    for torn in ("", "{", "7", "[]", '{"boot_id": "x"}', json.dumps({"boot_id": boot_id(), "deadline_ns": None})):
        Path(path).write_text(torn)
        assert left_s(path, boot_id()) < 0


def test_a_lease_that_runs_out_ends_the_whole_tree_without_a_runtime(tmp_path: Path) -> None:
    async def launch() -> None:
        executor = LocalExecutor(tmp_path, lease=True)
        await executor.open(1)
        extend(tmp_path, 60_000)
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        eventually(lambda: len(marked(tmp_path, "a.1")) == 5, "a family of five")
        await executor.close()

    async def find() -> None:
        executor = LocalExecutor(tmp_path, lease=True)
        await executor.open(2)
        (status,) = await executor.inspect(["a.1"])
        assert (status.phase, status.cause, status.message) == (AttemptPhase.ended, Cause.node_lost, OVER)
        assert status.signal == 9
        await executor.close()

    asyncio.run(launch())
    extend(tmp_path, 0)
    eventually(lambda: ended(tmp_path, "a"), "the end of the attempt")
    assert marked(tmp_path, "a.1") == []
    asyncio.run(find())


def test_a_lease_that_is_extended_in_time_keeps_what_runs(tmp_path: Path) -> None:
    async def run() -> None:
        executor = LocalExecutor(tmp_path, lease=True)
        await executor.open(1)
        extend(tmp_path, 2_000)
        last = now_ns() + 2_000_000_000
        async with Ends(executor) as ends:
            await executor.launch([shell("kept", "sleep 600"), shell("short", "echo started; exit 3")])
            assert (await ends.of("short.1")).exit_code == 3
            while now_ns() <= last:  # until after the first deadline
                extend(tmp_path, 2_000)
                await executor.logs("short.1", "stdout", 0, 100)
            (status,) = await executor.inspect(["kept.1"])
            assert status.phase is AttemptPhase.running
            await executor.stop("kept.1", "cancelled", 60_000)
            assert (await ends.of("kept.1")).cause is Cause.cancelled
        await executor.close()

    asyncio.run(run())


def test_nothing_starts_when_the_lease_is_over(tmp_path: Path) -> None:
    async def run() -> None:
        executor = LocalExecutor(tmp_path, lease=True)
        await executor.open(1)
        extend(tmp_path, 60_000)
        other = json.loads((tmp_path / LEASE).read_text()) | {"boot_id": "another"}
        async with Ends(executor) as ends:
            for name, lease in (("none", None), ("over", 0), ("boot", other)):
                (tmp_path / LEASE).unlink()
                if lease is not None:
                    extend(tmp_path, 0) if lease == 0 else (tmp_path / LEASE).write_text(json.dumps(lease))
                (status,) = await executor.launch([shell(name, f"echo run > {tmp_path}/ran")])
                assert (status.phase, status.cause, status.message) == (AttemptPhase.ended, Cause.node_lost, OVER)
                assert status.started_ms is None
                assert (await ends.of(f"{name}.1")).cause is Cause.node_lost
                extend(tmp_path, 0)
        await executor.close()
        assert not (tmp_path / "ran").exists()

    asyncio.run(run())


def test_a_lease_that_is_over_is_not_revived_by_the_next_one(tmp_path: Path) -> None:
    """The machine stood still while the lease ran out; a new one is there before the shim looks again."""

    async def run() -> None:
        executor = LocalExecutor(tmp_path, lease=True)
        await executor.open(1)
        extend(tmp_path, 60_000)
        async with Ends(executor) as ends:
            await executor.launch([shell("a", "sleep 600")])
            shim = shim_of(tmp_path, "a.1")
            os.kill(shim, signal.SIGSTOP)
            extend(tmp_path, 0)
            extend(tmp_path, 60_000)
            os.kill(shim, signal.SIGCONT)
            status = await ends.of("a.1")
            assert (status.cause, status.message) == (Cause.node_lost, OVER)
            await executor.launch([shell("b", "exit 5")])
            assert (await ends.of("b.1")).exit_code == 5
        await executor.close()

    asyncio.run(run())


def test_without_a_lease_the_file_means_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(1)
        extend(tmp_path, 0)
        async with Ends(executor) as ends:
            await executor.launch([shell("a", "exit 4")])
            assert (await ends.of("a.1")).exit_code == 4
        await executor.close()

    asyncio.run(run())
