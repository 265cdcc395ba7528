"""What every executor keeps, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError
from agentorch.executors.contract import Executor
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.rigs import FakeRig, LocalRig, RemoteRig, Rig, attempt, shell

FOREVER = "sleep 600"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 600; done"


@pytest.fixture(params=["local", "remote", "fake"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "remote":
        remote = RemoteRig(tmp_path)
        yield remote
        remote.cluster.close()
    else:
        yield LocalRig(tmp_path) if request.param == "local" else FakeRig()


Scenario = Callable[[Executor, Ends], Awaitable[None]]


def play(rig: Rig, scenario: Scenario) -> None:
    async def run() -> None:
        executor = rig.executor()
        await executor.open(1)
        try:
            async with Ends(executor) as ends:
                await scenario(executor, ends)
        finally:
            await executor.close()

    asyncio.run(run())


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_codes_are_told_as_they_were(rig: Rig, code: int) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        (started,) = await executor.launch([shell("a", f"exit {code}")])
        rig.advance(executor)
        status = await ends.of("a.1")
        assert started.started_ms is not None
        assert (status.phase, status.exit_code, status.signal) == (AttemptPhase.ended, code, None)
        assert status.cause is (Cause.completed if code == 0 else Cause.error)
        assert status.started_ms is not None
        assert status.ended_ms is not None
        assert status.ended_ms >= status.started_ms

    play(rig, scenario)


def test_a_signal_is_told_as_a_signal(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.launch([shell("a", "kill -9 $$")])
        rig.advance(executor)
        status = await ends.of("a.1")
        assert (status.cause, status.exit_code, status.signal) == (Cause.error, None, 9)

    play(rig, scenario)


def test_launching_twice_runs_once(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        spec = shell("a", FOREVER)
        (first,), (second,) = await asyncio.gather(executor.launch([spec]), executor.launch([spec]))
        (third,) = await executor.launch([spec])
        assert first.phase is second.phase is third.phase is AttemptPhase.running
        await executor.stop("a.1", "cancelled", 0)
        ended = await ends.of("a.1")
        (again,) = await executor.launch([spec])
        assert again.phase is AttemptPhase.ended
        assert again.ended_ms == ended.ended_ms

    play(rig, scenario)


def test_a_program_that_is_not_there_ends_without_having_started(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        (status,) = await executor.launch([attempt("a", "/no/such/program")])
        assert (status.phase, status.cause, status.exit_code) == (AttemptPhase.ended, Cause.exec_failed, None)
        assert status.started_ms is None
        assert "/no/such/program" in status.message
        assert (await ends.of("a.1")).cause is Cause.exec_failed

    play(rig, scenario)


@pytest.mark.parametrize("reason", [Cause.cancelled, Cause.budget, Cause.preempted, Cause.requeued, Cause.interruption])
def test_a_stop_is_told_with_its_reason(rig: Rig, reason: Cause) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.launch([shell("a", FOREVER)])
        await executor.stop("a.1", reason, 60_000)
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (reason, 15)
        await executor.stop("a.1", "cancelled", 0)
        (after,) = await executor.inspect(["a.1"])
        assert after.cause is reason

    play(rig, scenario)


def test_what_ignores_the_stop_signal_is_killed_after_its_grace(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.launch([shell("a", STUBBORN)])
        await until_logged(executor, "a.1", b"ready")
        await executor.stop("a.1", "cancelled", 200)
        rig.advance(executor)
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (Cause.cancelled, 9)

    play(rig, scenario)


def test_a_second_stop_can_only_hurry_and_the_first_reason_stays(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.launch([shell("a", STUBBORN)])
        await until_logged(executor, "a.1", b"ready")
        await executor.stop("a.1", "preempted", 600_000)
        await executor.stop("a.1", "cancelled", 0)
        rig.advance(executor)
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (Cause.preempted, 9)

    play(rig, scenario)


def test_a_stop_before_the_launch_wins(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.stop("a.1", "cancelled", 0)
        assert (await ends.of("a.1")).cause is Cause.cancelled
        (status,) = await executor.launch([shell("a", FOREVER)])
        assert (status.phase, status.cause, status.started_ms) == (AttemptPhase.ended, Cause.cancelled, None)

    play(rig, scenario)


def test_a_stop_needs_a_reason_that_is_a_cause(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        with pytest.raises(ExecutorError, match="because"):
            await executor.stop("a.1", "because", 0)

    play(rig, scenario)


def test_what_was_found_absent_never_starts(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        (found,) = await executor.inspect(["a.1"])
        (launched,) = await executor.launch([shell("a", FOREVER)])
        (again,) = await executor.inspect(["a.1"])
        assert found.phase is launched.phase is again.phase is AttemptPhase.absent

    play(rig, scenario)


def test_logs_are_read_from_any_offset_and_say_when_they_are_whole(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        await executor.launch([shell("a", "echo hello")])
        rig.advance(executor)
        await ends.of("a.1")
        assert await executor.logs("a.1", "stdout", 0, 100) == (b"hello\n", 6, True)
        assert await executor.logs("a.1", "stdout", 0, 2) == (b"he", 2, False)
        assert await executor.logs("a.1", "stdout", 2, 100) == (b"llo\n", 6, True)
        assert await executor.logs("a.1", "stdout", 6, 100) == (b"", 6, True)
        assert await executor.logs("a.1", "stderr", 0, 100) == (b"", 0, True)
        with pytest.raises(ExecutorError, match="no log 'stdin'"):
            await executor.logs("a.1", "stdin", 0, 1)
        with pytest.raises(ExecutorError, match=r"b\.1: unknown"):
            await executor.logs("b.1", "stdout", 0, 1)

    play(rig, scenario)


def test_events_resume_after_a_cursor_and_end_when_the_executor_closes(rig: Rig) -> None:
    async def run() -> None:
        executor = rig.executor()
        await executor.open(1)
        async with Ends(executor) as ends:
            for name in "abc":
                await executor.launch([shell(name, "exit 0")])
                rig.advance(executor)
                await ends.of(f"{name}.1")
        await executor.close()
        told = [status async for status in executor.events()]
        assert [status.id for status in told] == ["a.1", "b.1", "c.1"]
        rest = [status async for status in executor.events(told[1].cursor)]
        assert [status.id for status in rest] == ["c.1"]

    asyncio.run(run())


def test_work_outlives_its_runtime_and_is_found_again(rig: Rig) -> None:
    async def run() -> None:
        first = rig.executor()
        await first.open(1)
        await first.launch([shell("a", FOREVER)])
        await first.close()
        second = rig.executor()
        await second.open(2)
        (found,) = await second.inspect(["a.1"])
        assert found.phase is AttemptPhase.running
        assert found.started_ms is not None
        async with Ends(second) as ends:
            await second.stop("a.1", "cancelled", 60_000)
            assert (await ends.of("a.1")).cause is Cause.cancelled
        await second.close()

    asyncio.run(run())


def test_an_older_epoch_is_refused(rig: Rig) -> None:
    async def run() -> None:
        newer, older = rig.executor(), rig.executor()
        await older.open(6)
        await newer.open(7)
        for call in (older.launch([shell("a", FOREVER)]), older.stop("a.1", "cancelled", 0), older.inspect(["a.1"])):
            with pytest.raises(ExecutorError, match="epoch 6 is over"):
                await call
        third = rig.executor()
        with pytest.raises(ExecutorError, match="epoch 6 is over"):
            await third.open(6)
        (found,) = await newer.inspect(["a.1"])
        assert found.phase is AttemptPhase.absent
        await older.close()
        await newer.close()

    asyncio.run(run())


def test_nothing_is_served_before_open_or_after_close(rig: Rig) -> None:
    async def run() -> None:
        executor = rig.executor()
        with pytest.raises(ExecutorError, match="not open"):
            await executor.launch([shell("a", FOREVER)])
        await executor.open(1)
        await executor.close()
        with pytest.raises(ExecutorError, match="not open"):
            await executor.inspect(["a.1"])

    asyncio.run(run())


def test_there_is_a_node(rig: Rig) -> None:
    async def scenario(executor: Executor, ends: Ends) -> None:
        (node,) = await executor.nodes()
        assert node.cpu_milli >= 1_000
        assert node.memory_bytes > 0

    play(rig, scenario)
