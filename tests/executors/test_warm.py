"""Attempts with an entry point keep the contract, and end as a program that did the same would."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError
from agentorch.executors.contract import Executor
from agentorch.executors.lease import write_lease
from agentorch.executors.local import LocalExecutor
from agentorch.executors.warm import calling
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.jobs import Cause, EntryPoint
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import marked
from tests.executors.rigs import attempt
from tests.executors.waiting import eventually

HERE = str(Path(__file__).resolve().parent)
FOREVER = "/no/such/file"


def entry(name: str, function: str, *args: object, **fields: object) -> AttemptSpec:
    """The first attempt of a job that calls `entry_jobs:function`."""
    point = EntryPoint(call=f"entry_jobs:{function}", args=args)
    return attempt(name, **{"entry": point, "workdir": HERE, "durable": False, **fields})  # type: ignore[arg-type]


Scenario = Callable[[LocalExecutor, Ends], Awaitable[None]]


def play(root: Path, scenario: Scenario, **options: bool) -> None:
    async def run() -> None:
        executor = LocalExecutor(root, **options)  # type: ignore[arg-type]
        await executor.open(1)
        try:
            async with Ends(executor) as ends:
                await scenario(executor, ends)
        finally:
            await executor.close()

    asyncio.run(run())


async def outcome(executor: Executor, ends: Ends, spec: AttemptSpec) -> AttemptStatus:
    await executor.launch([spec])
    return await ends.of(spec.id)


def warm(root: Path) -> list[int]:
    """Processes of the workers below the root."""
    found = []
    for folder in (root / ".warm").glob("w*"):
        found += marked(root / ".warm", folder.name)
    return found


# -- how calls end


def test_a_function_returns_json(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", "add", 2, 40))
        assert (status.phase, status.cause, status.exit_code) == (AttemptPhase.ended, Cause.completed, 0)
        assert json.loads(status.result) == 42
        assert status.started_ms is not None
        assert status.ended_ms is not None
        assert status.ended_ms >= status.started_ms

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("function", "args", "cause", "code", "signal", "message"),
    [
        ("leave", (None,), Cause.completed, 0, None, ""),
        ("leave", (0,), Cause.completed, 0, None, ""),
        ("leave", (3,), Cause.error, 3, None, ""),
        ("leave", ("why",), Cause.error, 1, None, "why"),
        ("fail", ("why",), Cause.error, 1, None, "ValueError: why"),
        ("not_json", (), Cause.error, 1, None, "what it returned is not JSON: TypeError"),
        ("huge", (), Cause.error, 1, None, "what it returned is 70002 bytes of JSON, at most 65536"),
        ("end_process", (0,), Cause.error, 0, None, "its worker process ended amid the call"),
        ("end_process", (7,), Cause.error, 7, None, "its worker process ended amid the call"),
        ("kill_process", (9,), Cause.error, None, 9, "its worker process ended amid the call"),
        ("kill_process", (11,), Cause.error, None, 11, "its worker process ended amid the call"),
        ("nothing", (), Cause.exec_failed, None, None, "can't find entry_jobs:nothing: AttributeError"),
        ("calls", (), Cause.exec_failed, None, None, "entry_jobs:calls is no function"),
    ],
)
def test_every_end_has_its_cause(
    tmp_path: Path,
    function: str,
    args: tuple[object, ...],
    cause: Cause,
    code: int | None,
    signal: int | None,
    message: str,
) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", function, *args))
        assert (status.cause, status.exit_code, status.signal) == (cause, code, signal)
        assert status.message.startswith(message)
        assert (status.started_ms is None) == (cause is Cause.exec_failed)
        after = await outcome(executor, ends, entry("b", "add", 1))
        assert after.result == "2"

    play(tmp_path, scenario)


def test_an_exception_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await outcome(executor, ends, entry("a", "fail", "why"))
        text = (await executor.logs("a.1", "stderr", 0, 10_000))[0].decode()
        assert "in fail" in text
        assert text.endswith("ValueError: why\n")
        assert "calling.py" not in text

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"entry": EntryPoint(call="entry_jobs:add", python="/no/such/python")}, "/no/such/python"),
        ({"workdir": "/no/such/folder"}, "can't work in '/no/such/folder'"),
        ({"entry": EntryPoint(call="entry_jobs:add", python="/bin/false")}, "exit code 1"),
        ({"entry": EntryPoint(call="no_such_module:x")}, "No module named 'no_such_module'"),
    ],
)
def test_what_can_not_be_called_ends_without_having_started(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", "add", 1, **fields))
        assert (status.phase, status.cause, status.exit_code) == (AttemptPhase.ended, Cause.exec_failed, None)
        assert status.started_ms is None
        assert message in status.message

    play(tmp_path, scenario)


def test_a_worker_knows_the_limit_of_results() -> None:
    """It imports nothing but the standard library, so it can't ask."""
    assert calling.RESULT_MAX_BYTES == limits.ENTRY_RESULT_MAX_BYTES


# -- what a call sees


def test_modules_are_imported_once_and_calls_see_a_fresh_process_otherwise(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        counts = [(await outcome(executor, ends, entry(f"c{n}", "count"))).result for n in range(3)]
        assert counts == ["1", "2", "3"]
        for name, rank in (("a", "0"), ("b", "1")):
            spec = entry(name, "surroundings", env={"MINE": "x", "RANK": rank}, devices=("GPU-1",))
            seen = json.loads((await outcome(executor, ends, spec)).result)
            assert seen == {
                "cwd": HERE,
                "attempt": f"{name}.1",
                "mine": "x",
                "spoilt": None,
                "cuda": "GPU-1",
                "rank": rank,
            }
            assert (await executor.logs(f"{name}.1", "stderr", 0, 100))[0] == b""
        await executor.launch([entry("d", "wait", FOREVER, env={"MINE": "x"}, devices=("GPU-1",))])
        await until_logged(executor, "d.1", b"ready")
        await executor.stop("d.1", "cancelled", 60_000)
        assert (await ends.of("d.1")).signal == 15

    play(tmp_path, scenario)


def test_other_devices_or_another_environment_are_another_process(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        kinds: list[dict[str, object]] = [{}, {"devices": ("GPU-1",)}, {"env": {"A": "1"}}, {"memory_bytes": 1 << 30}]
        pids = set()
        for number, fields in enumerate(kinds):
            pids.add((await outcome(executor, ends, entry(f"a{number}", "pid", **fields))).result)
        assert len(pids) == len(kinds)
        ours = {"AGENTORCH_TOKEN": "t", "MASTER_PORT": "1"}
        assert (await outcome(executor, ends, entry("b", "pid", env=ours))).result in pids

    play(tmp_path, scenario)


def test_a_module_that_changed_is_imported_anew(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    module = tmp_path / "mine" / "changing.py"

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        point = EntryPoint(call="changing:value")
        for number in range(2):
            module.write_text(f"def value(): return {number}{' ' * number}\n")
            os.utime(module, (number, number))
            spec = entry(f"a{number}", "", entry=point, workdir=str(tmp_path / "mine"))
            assert (await outcome(executor, ends, spec)).result == str(number)

    play(tmp_path / "root", scenario)


def test_logs_of_calls_are_apart(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        specs = [entry(f"a{n}", "say", f"out {n}", f"err {n}") for n in range(20)]
        await executor.launch(specs)
        for number in range(20):
            await ends.of(f"a{number}.1")
            out = f"out {number}\n".encode()
            assert await executor.logs(f"a{number}.1", "stdout", 0, 100) == (out, len(out), True)
            assert await executor.logs(f"a{number}.1", "stdout", 2, 3) == (out[2:5], 5, False)
            assert await executor.logs(f"a{number}.1", "stdout", 100, 3) == (b"", 100, True)
            assert (await executor.logs(f"a{number}.1", "stderr", 0, 100))[0] == f"err {number}".encode()
        with pytest.raises(ExecutorError, match="no log 'stdin'"):
            await executor.logs("a0.1", "stdin", 0, 1)

    play(tmp_path, scenario)


def test_a_flood_is_kept_within_its_quota(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        size = 8 << 20
        await outcome(executor, ends, entry("a", "flood", size, log_quota_bytes=1 << 20))
        data, following, whole = await executor.logs("a.1", "stdout", size - 10, 100)
        assert data.endswith(b"end\n")
        assert (following, whole) == (size + 4, True)
        folder = tmp_path / ".warm"

        def kept() -> bool:
            return sum(path.stat().st_blocks for path in folder.glob("w*/stdout.log")) * 512 <= 1 << 20

        await asyncio.to_thread(eventually, kept, "the quota")
        data, following, _ = await executor.logs("a.1", "stdout", 0, 1 << 20)
        assert following - len(data) > 0
        assert set(data[:10]) == {ord("x")}

    play(tmp_path, scenario)


# -- many at once


def test_calls_of_one_launch_run_at_the_same_time_however_many_they_are(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        size = 8
        specs = [entry(f"r{rank}", "meet", str(tmp_path), rank, size, cpu_milli=10) for rank in range(size)]
        await executor.launch(specs)
        for rank in range(size):
            assert (await ends.of(f"r{rank}.1")).result == str(rank)

    play(tmp_path, scenario)


def test_entries_and_commands_in_one_launch(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        specs = [entry("a", "add", 1), attempt("b", "/bin/true"), entry("c", "add", 2)]
        statuses = await executor.launch(specs)
        assert [status.id for status in statuses] == ["a.1", "b.1", "c.1"]
        assert {(await ends.of(spec.id)).cause for spec in specs} == {Cause.completed}

    play(tmp_path, scenario)


# -- stop


@pytest.mark.parametrize("reason", [Cause.cancelled, Cause.preempted])
def test_a_stop_is_told_with_its_reason_and_spares_the_others(tmp_path: Path, reason: Cause) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        release = tmp_path / "release"
        names = [f"a{n}" for n in range(6)]
        await executor.launch([entry(name, "wait", str(release), cpu_milli=10) for name in names])
        for name in ("a0", "a5"):
            await executor.stop(f"{name}.1", reason, 60_000)
            status = await ends.of(f"{name}.1")
            assert status.cause is reason
            assert (status.signal, status.started_ms) in ((15, status.started_ms), (None, None))
        await executor.stop("a0.1", "requeued", 0)
        (after,) = await executor.inspect(["a0.1"])
        assert after.cause is reason
        release.touch()
        assert {(await ends.of(f"{name}.1")).result for name in names[1:5]} == {'"released"'}

    play(tmp_path, scenario)


def test_what_ignores_the_stop_signal_is_killed_and_a_second_stop_can_only_hurry(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([entry("a", "wait_stubbornly")])
        await until_logged(executor, "a.1", b"ready")
        await executor.stop("a.1", "preempted", 600_000)
        await executor.stop("a.1", "cancelled", 0)
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (Cause.preempted, 9)

    play(tmp_path, scenario)


def test_a_stop_ends_the_whole_tree(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([entry("a", "wait_with_daemons")])
        await until_logged(executor, "a.1", b"ready")
        await asyncio.to_thread(eventually, lambda: len(warm(tmp_path)) >= 7, "the daemons")
        await executor.stop("a.1", "cancelled", 100)
        status = await ends.of("a.1")
        assert status.leftovers >= 4
        assert warm(tmp_path) == []

    play(tmp_path, scenario)


def test_what_a_function_leaves_behind_is_killed_and_its_process_replaced(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", "leave_daemon"))
        assert status.cause is Cause.completed
        assert status.leftovers >= 1
        assert not Path(f"/proc/{status.result}").exists()
        first = (await outcome(executor, ends, entry("b", "leave_thread"))).result
        second = (await outcome(executor, ends, entry("c", "forks_and_falls_through"))).result
        third = (await outcome(executor, ends, entry("d", "pid"))).result
        assert first != second
        assert second == third

    play(tmp_path, scenario)


def test_a_stop_before_the_launch_wins(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.stop("a.1", "cancelled", 0)
        assert (await ends.of("a.1")).cause is Cause.cancelled
        (status,) = await executor.launch([entry("a", "add", 1)])
        assert (status.phase, status.cause, status.started_ms) == (AttemptPhase.ended, Cause.cancelled, None)

    play(tmp_path, scenario)


# -- limits


def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", "wait", FOREVER, timeout_ms=200))
        assert (status.cause, status.signal) == (Cause.timeout, 15)
        assert status.message == "ran longer than 200 ms"
        stubborn = entry("b", "wait_stubbornly", timeout_ms=200, grace_ms=100)
        assert (await outcome(executor, ends, stubborn)).signal == 9
        quick = await outcome(executor, ends, entry("c", "add", 1, timeout_ms=60_000))
        assert quick.cause is Cause.completed

    play(tmp_path, scenario)


def test_a_call_over_its_memory_is_ended(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        status = await outcome(executor, ends, entry("a", "eat", 200 << 20, memory_bytes=100 << 20))
        assert (status.cause, status.signal) == (Cause.oom, 9)
        assert "over its limit" in status.message

    play(tmp_path, scenario)


def test_calls_end_with_the_lease(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        write_lease(tmp_path, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 3_000_000_000)
        await executor.launch([entry("a", "wait", FOREVER)])
        await until_logged(executor, "a.1", b"ready")
        assert (await ends.of("a.1")).cause is Cause.node_lost
        late = await outcome(executor, ends, entry("b", "add", 1))
        assert (late.cause, late.started_ms) == (Cause.node_lost, None)

    play(tmp_path, scenario, lease=True)


def test_the_interpreter_is_the_jobs_own_if_it_names_one(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        point = EntryPoint(call="os:getcwd", python=sys.executable)
        status = await outcome(executor, ends, entry("a", "", entry=point, workdir=""))
        assert json.loads(status.result).startswith(str(tmp_path))

    play(tmp_path, scenario)


def test_a_worker_which_imports_nothing_of_ours_keeps_the_same_limit() -> None:
    assert calling.RESULT_MAX_BYTES == limits.ENTRY_RESULT_MAX_BYTES
