"""After the end of an attempt nothing of it lives, whatever it tried."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import kill, marked, shim_of
from tests.executors.rigs import attempt, shell
from tests.executors.waiting import eventually

#: Grandchildren in the same group, in a session of their own, as a daemon (double fork), and one that ignores TERM.
FAMILY = """
import os, signal, sys, time
def child(*steps):
    if os.fork() == 0:
        for step in steps:
            step()
        time.sleep(600)
        os._exit(0)
def orphan():
    if os.fork():
        os._exit(0)
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child()
child(os.setsid)
child(os.setsid, orphan)
child(os.setsid, orphan, deaf, orphan)
print("ready", flush=True)
time.sleep(600) if len(sys.argv) < 2 else os._exit(int(sys.argv[1]))
"""


def family(name: str, *arguments: str) -> AttemptSpec:
    return attempt(name, sys.executable, "-c", FAMILY, *arguments)


def sessions(pids: list[int]) -> list[int]:
    """How many of these processes are in each session."""
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            session = os.getsid(pid)
            found[session] = found.get(session, 0) + 1
    return list(found.values())


def play(root: Path, scenario: Callable[[LocalExecutor, Ends], Awaitable[None]]) -> None:
    async def run() -> None:
        executor = LocalExecutor(root)
        await executor.open(1)
        try:
            async with Ends(executor) as ends:
                await scenario(executor, ends)
        finally:
            await executor.close()

    asyncio.run(run())


@pytest.mark.parametrize("grace_ms", [0, 300])
def test_a_stop_leaves_no_descendant(tmp_path: Path, grace_ms: int) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        eventually(lambda: len(marked(tmp_path, "a.1")) == 5, "a family of five")
        await executor.stop("a.1", "cancelled", grace_ms)
        status = await ends.of("a.1")
        assert status.cause is Cause.cancelled
        assert marked(tmp_path, "a.1") == []

    play(tmp_path, scenario)


def test_leftovers_die_with_the_main_process_and_are_counted(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([family("a", "7")])
        status = await ends.of("a.1")
        assert (status.cause, status.exit_code) == (Cause.error, 7)
        assert status.leftovers >= 4
        assert marked(tmp_path, "a.1") == []

    play(tmp_path, scenario)


def test_a_tree_that_keeps_forking_is_ended(tmp_path: Path) -> None:
    bomb = "import os, time\nfor _ in range(7): os.fork()\nprint('ready', flush=True)\ntime.sleep(600)"

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", sys.executable, "-c", bomb)])
        await until_logged(executor, "a.1", b"ready")
        await executor.stop("a.1", "cancelled", 0)
        await ends.of("a.1")
        assert marked(tmp_path, "a.1") == []

    play(tmp_path, scenario)


def test_a_killed_shim_is_lost_and_nothing_of_it_lives(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([family("a")])
        await until_logged(executor, "a.1", b"ready")
        eventually(lambda: sorted(sessions(marked(tmp_path, "a.1"))) == [1, 1, 1, 2], "four sessions of a family")
        kill(shim_of(tmp_path, "a.1"))
        status = await ends.of("a.1")
        assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.lost)
        assert status.message == "its shim was killed"
        assert status.leftovers == 3  # the group of the main process died with the shim
        assert marked(tmp_path, "a.1") == []
        (again,) = await executor.inspect(["a.1"])
        assert (again.phase, again.ended_ms) == (AttemptPhase.lost, status.ended_ms)

    play(tmp_path, scenario)


def test_a_sweep_spares_an_attempt_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    async def run() -> None:
        one, two = LocalExecutor(tmp_path / "one"), LocalExecutor(tmp_path / "two")
        for executor in (one, two):
            await executor.open(1)
            await executor.launch([shell("a", "sleep 600")])
        async with Ends(one) as ends:
            kill(shim_of(tmp_path / "one", "a.1"))
            assert (await ends.of("a.1")).phase is AttemptPhase.lost
        (other,) = await two.inspect(["a.1"])
        assert other.phase is AttemptPhase.running
        async with Ends(two) as ends:
            await two.stop("a.1", "cancelled", 0)
            await ends.of("a.1")
        await one.close()
        await two.close()

    asyncio.run(run())


def test_a_killed_shim_takes_the_main_process_with_it_while_no_runtime_is_there(tmp_path: Path) -> None:
    async def launch() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(1)
        await executor.launch([attempt("a", "/bin/sleep", "600")])
        await executor.close()

    asyncio.run(launch())
    assert len(marked(tmp_path, "a.1")) == 1
    kill(shim_of(tmp_path, "a.1"))
    eventually(lambda: marked(tmp_path, "a.1") == [], "the death of the main process")


def test_of_two_stops_that_the_shim_hears_at_once_the_first_one_counts(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", "/bin/sleep", "600")])
        shim = shim_of(tmp_path, "a.1")
        os.kill(shim, signal.SIGSTOP)
        await executor.stop("a.1", "preempted", 60_000)
        await executor.stop("a.1", "cancelled", 60_000)
        os.kill(shim, signal.SIGCONT)
        assert (await ends.of("a.1")).cause is Cause.preempted

    play(tmp_path, scenario)
