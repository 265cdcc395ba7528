"""Limits that the shim keeps: time, memory, logs; also while no runtime is there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import marked, shim_of
from tests.executors.rigs import attempt, shell
from tests.executors.test_trees import play
from tests.executors.waiting import eventually

MIB = 1 << 20


def test_a_timeout_ends_the_tree_with_its_cause(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "sleep 600 & sleep 600", timeout_ms=200, grace_ms=60_000)])
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (Cause.timeout, 15)
        assert "200 ms" in status.message
        assert marked(tmp_path, "a.1") == []

    play(tmp_path, scenario)


def test_a_job_may_end_well_in_the_grace_of_a_timeout(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        script = "trap 'echo saved; exit 0' USR1; echo ready; while :; do sleep 0.01; done"
        await executor.launch([shell("a", script, timeout_ms=300, grace_ms=60_000, stop_signal="SIGUSR1")])
        status = await ends.of("a.1")
        assert (status.cause, status.exit_code, status.signal) == (Cause.timeout, 0, None)
        assert (await executor.logs("a.1", "stdout", 0, 100))[0] == b"ready\nsaved\n"

    play(tmp_path, scenario)


def test_a_timeout_holds_while_the_runtime_is_down(tmp_path: Path) -> None:
    async def launch() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(1)
        await executor.launch([shell("a", "sleep 600", timeout_ms=200, grace_ms=0)])
        await executor.close()

    async def find() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(2)
        (status,) = await executor.inspect(["a.1"])
        assert (status.phase, status.cause) == (AttemptPhase.ended, Cause.timeout)
        await executor.close()

    asyncio.run(launch())
    eventually(lambda: shim_of(tmp_path, "a.1") == 0, "the end of the shim")
    asyncio.run(find())


def test_memory_of_the_whole_tree_counts(tmp_path: Path) -> None:
    eater = "import os, time\nos.fork()\nblock = bytearray(b'x') * (60 * 2**20)\ntime.sleep(600)"

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", sys.executable, "-c", eater, memory_bytes=100 * MIB)])
        status = await ends.of("a.1")
        assert (status.cause, status.signal) == (Cause.oom, 9)
        assert status.usage.memory_peak_bytes > 100 * MIB
        assert marked(tmp_path, "a.1") == []

    play(tmp_path, scenario)


def test_shared_memory_counts_once(tmp_path: Path) -> None:
    script = (
        "import os, time\n"
        "block = bytearray(b'x') * (60 * 2**20)\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0: time.sleep(1); os._exit(0)\n"
        "for _ in range(3): os.wait()"
    )

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", sys.executable, "-c", script, memory_bytes=150 * MIB)])
        status = await ends.of("a.1")
        assert (status.cause, status.message) == (Cause.completed, "")
        assert status.usage.memory_peak_bytes > 60 * MIB

    play(tmp_path, scenario)


def test_usage_is_what_the_kernel_counted(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        script = "import time\nwhile time.process_time() < 0.2: pass"
        await executor.launch([attempt("a", sys.executable, "-c", script)])
        usage = (await ends.of("a.1")).usage
        assert usage.cpu_ms >= 200
        assert usage.memory_peak_bytes > MIB

    play(tmp_path, scenario)


def test_a_quota_keeps_the_newest_half_and_offsets_stay_true(tmp_path: Path) -> None:
    quota = 64 * 1024
    writer = f"import sys\nfor number in range({4 * quota} // 8): sys.stdout.write('%07d\\n' % number)"

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", sys.executable, "-c", writer, log_quota_bytes=quota)])
        await ends.of("a.1")
        data, following, whole = await executor.logs("a.1", "stdout", 0, 8 * quota)
        assert (following, whole) == (4 * quota, True)
        assert len(data) == quota // 2
        first = following - len(data)
        assert data.split()[0] == b"%07d" % (first // 8)
        again, _, _ = await executor.logs("a.1", "stdout", first + 800, 8)
        assert again == b"%07d\n" % (first // 8 + 100)
        log = (tmp_path / "a.1" / "stdout.log").stat()
        assert log.st_blocks * 512 <= quota

    play(tmp_path, scenario)


def test_a_quota_is_kept_while_the_job_writes(tmp_path: Path) -> None:
    quota = 1 << 20
    writer = "import os\nline = b'x' * 1023 + b'\\n'\nwhile True: os.write(1, line)"

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([attempt("a", sys.executable, "-c", writer, log_quota_bytes=quota)])
        dropped = tmp_path / "a.1" / "stdout.dropped"
        eventually(dropped.exists, "the first dropped bytes")
        data, following, _ = await executor.logs("a.1", "stdout", 0, 2048)
        assert following - len(data) > 0
        assert set(data) == set(b"x\n")
        await executor.stop("a.1", "cancelled", 0)
        await ends.of("a.1")

    play(tmp_path, scenario)


def test_a_log_is_followed_while_it_grows(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        fifo = tmp_path / "go"
        await executor.launch([shell("a", f"mkfifo {fifo}; echo one; read line < {fifo}; echo $line; echo err >&2")])
        await until_logged(executor, "a.1", b"one\n")
        assert await executor.logs("a.1", "stdout", 0, 100) == (b"one\n", 4, False)
        await asyncio.to_thread(fifo.write_text, "two\n")
        await ends.of("a.1")
        assert await executor.logs("a.1", "stdout", 4, 100) == (b"two\n", 8, True)
        assert await executor.logs("a.1", "stderr", 0, 100) == (b"err\n", 4, True)

    play(tmp_path, scenario)
