"""kill -9 of everything that can be killed: the runtime, the zygote, a shim before it has begun."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentorch.executors import attempt_dir
from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.local import LocalExecutor
from agentorch.executors.records import SPEC, STARTED, VERDICT
from agentorch.model.attempts import AttemptPhase
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import kill, marked, shim_of
from tests.executors.rigs import shell
from tests.executors.runtime_under_fire import code_of, read_ledger
from tests.executors.test_trees import play
from tests.executors.waiting import eventually

SOURCE = Path(__file__).resolve().parents[2]


def start_runtime(root: Path, epoch: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.executors.runtime_under_fire", str(root), str(epoch), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SOURCE)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_runtime_loses_nothing_and_runs_nothing_twice(tmp_path: Path, seed: int) -> None:
    count = 60
    chance = random.Random(seed)
    kills = 0
    for epoch in range(1, 100):
        with start_runtime(tmp_path, epoch, count) as runtime:
            assert runtime.stdout is not None
            lines = chance.randrange(1, 40)
            for _ in range(lines):
                if not runtime.stdout.readline():
                    break
            else:
                runtime.kill()
                kills += 1
                continue
            assert runtime.wait() == 0
            break
    assert kills >= 3
    ordered, ended = read_ledger(tmp_path)
    assert ordered == set(ended) == set(range(count))
    for number in range(count):
        runs = tmp_path / f"runs-{number}"
        if ended[number] == "absent None":
            assert not runs.exists()
        else:
            assert ended[number] == f"ended {code_of(number)}"
            assert runs.read_text() == "run\n"
            assert (tmp_path / "attempts" / f"j{number}.1" / "stdout.log").read_text() == "done\n"


def test_a_killed_zygote_takes_nothing_with_it_and_is_replaced(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        fifo = tmp_path / "go"
        os.mkfifo(fifo)
        await executor.launch([shell("a", f"read line < {fifo}; exit 5")])
        zygote = executor.zygote_pid
        kill(zygote)
        (status,) = await executor.launch([shell("b", "exit 6")])
        assert status.phase is AttemptPhase.running
        assert executor.zygote_pid not in (0, zygote)
        assert (await ends.of("b.1")).exit_code == 6
        await asyncio.to_thread(fifo.write_text, "go\n")
        assert (await ends.of("a.1")).exit_code == 5

    play(tmp_path, scenario)


def test_zygotes_that_die_amid_launches_lose_and_repeat_nothing(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        for wave in range(4):
            names = [f"j{wave}-{number}" for number in range(12)]
            specs = [shell(name, f"echo run >> {tmp_path}/runs-{name}") for name in names]
            launching = asyncio.gather(*(executor.launch([spec]) for spec in specs))
            await executor.launch([shell(f"first-{wave}", "exit 0")])
            kill(executor.zygote_pid)
            await launching
            for name in names:
                assert (await ends.of(f"{name}.1")).exit_code == 0
                assert (tmp_path / f"runs-{name}").read_text() == "run\n"

    play(tmp_path, scenario)


def test_a_lost_attempt_is_found_lost_by_the_next_runtime(tmp_path: Path) -> None:
    async def first() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(1)
        await executor.launch([shell("a", "sleep 600")])
        await executor.close()

    async def second() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(2)
        (status,) = await executor.inspect(["a.1"])
        assert (status.phase, status.cause, status.message) == (AttemptPhase.lost, Cause.lost, "its shim was killed")
        assert status.started_ms is not None
        await executor.close()

    asyncio.run(first())
    kill(shim_of(tmp_path, "a.1"))
    asyncio.run(second())


def test_a_child_does_not_outlive_its_shim_even_while_no_runtime_is_there(tmp_path: Path) -> None:
    async def launch() -> None:
        executor = LocalExecutor(tmp_path)
        await executor.open(1)
        await executor.launch([shell("a", "sleep 600 & echo ready; sleep 600")])
        await until_logged(executor, "a.1", b"ready")
        await executor.close()

    asyncio.run(launch())
    assert len(marked(tmp_path, "a.1")) == 3
    kill(shim_of(tmp_path, "a.1"))
    eventually(lambda: marked(tmp_path, "a.1") == [], "the end of the child and its group")


def test_after_a_restart_of_the_machine_unfinished_attempts_are_lost(tmp_path: Path) -> None:
    """An attempt directory as a power cut leaves it: the spec of another boot, or torn; no claim."""
    for name, text in (("a.1", json.dumps({"boot_id": "another"})), ("b.1", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / SPEC).write_text(text)

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        for status in await executor.inspect(["a.1", "b.1"]):
            assert (status.phase, status.message) == (AttemptPhase.lost, "the machine restarted")
        (launched,) = await executor.launch([shell("a", "exit 0")])
        assert launched.phase is AttemptPhase.lost

    play(tmp_path, scenario)


def test_a_verdict_survives_a_crash_of_both_sides(tmp_path: Path) -> None:
    async def run(epoch: int) -> tuple[AttemptPhase, int | None, tuple[bytes, int, bool]]:
        executor = LocalExecutor(tmp_path)
        await executor.open(epoch)
        if epoch == 1:
            async with Ends(executor) as ends:
                await executor.launch([shell("a", "echo kept; exit 9")])
                await ends.of("a.1")
        (status,) = await executor.inspect(["a.1"])
        log = await executor.logs("a.1", "stdout", 0, 100)
        await executor.close()
        return status.phase, status.exit_code, log

    assert asyncio.run(run(1)) == asyncio.run(run(2)) == (AttemptPhase.ended, 9, (b"kept\n", 5, True))


def test_one_claim_is_won_once_and_dies_with_its_holder(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    release_reading, release_writing = os.pipe()
    holder = os.fork()
    if holder == 0:
        os.close(release_writing)  # so that it ends with the test, however that ends
        with AttemptDirectory(str(tmp_path)) as directory:
            os.write(writing, b"1" if directory.claim() is not None else b"0")
            os.read(release_reading, 1)
        os._exit(0)
    assert os.read(reading, 1) == b"1"
    with AttemptDirectory(str(tmp_path)) as directory:
        assert directory.claimed_by() == attempt_dir.Claim(holder, fence=False)
        assert not directory.fence()
        assert directory.claim() is None
        assert directory.claimed_by() == attempt_dir.Claim(holder, fence=False)
        os.write(release_writing, b"1")
        os.waitpid(holder, 0)
        assert directory.claimed_by() == attempt_dir.Claim(0, fence=False)
        assert directory.claim() is None
    for fd in (reading, writing, release_reading, release_writing):
        os.close(fd)


def test_a_fenced_attempt_never_starts_even_if_a_shim_comes_late(tmp_path: Path) -> None:
    """A predecessor asked its zygote for the shim; it is forked only after the successor fenced the attempt."""

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        spec = shell("a", f"echo run > {tmp_path}/ran")
        root_fd, scratch_fd = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / ".new", os.O_RDONLY)
        record = {"epoch": 1, "attempt": "a.1", "boot_id": attempt_dir.boot_id(), "command": list(spec.command)}
        assert attempt_dir.create(root_fd, scratch_fd, "a.1", record)
        os.close(root_fd)
        os.close(scratch_fd)
        (status,) = await executor.inspect(["a.1"])
        assert status.phase is AttemptPhase.absent
        late = "import socket, sys; sys.path.append(sys.argv[1])\n"
        late += "from agentorch.executors.shim import catch_signals, run_attempt, wakeup_pipe; catch_signals()\n"
        late += "run_attempt(sys.argv[2], wakeup_pipe(), socket.socketpair()[0])"
        command = [sys.executable, "-c", late, str(SOURCE), str(tmp_path / "a.1")]
        done = await asyncio.to_thread(subprocess.run, command, start_new_session=False, check=False)
        assert done.returncode == 0
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "a.1" / VERDICT).exists()

    play(tmp_path, scenario)


def test_a_runtime_that_dies_leaves_no_zygote(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, pathlib\n"
        "from agentorch.executors.local import LocalExecutor\n"
        "async def run():\n"
        "    executor = LocalExecutor(pathlib.Path(sys.argv[1])); await executor.open(1)\n"
        "    print(executor.zygote_pid, flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(run())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as runtime:
        assert runtime.stdout is not None
        zygote = int(runtime.stdout.readline())
        assert Path(f"/proc/{zygote}").exists()
        runtime.kill()
    eventually(lambda: not Path(f"/proc/{zygote}").exists(), "the end of the zygote")


def test_an_end_is_seen_by_the_newest_runtime_while_an_older_one_still_listens(tmp_path: Path) -> None:
    """A stopped runtime never closes its sockets: its shims must not stay for it."""

    async def run() -> None:
        fifo = tmp_path / "go"
        os.mkfifo(fifo)
        older, newer = LocalExecutor(tmp_path), LocalExecutor(tmp_path)
        await older.open(1)
        await older.launch([shell("a", f"read line < {fifo}; exit 4")])
        os.kill(older.zygote_pid, signal.SIGSTOP)
        await newer.open(2)
        async with Ends(newer) as ends:
            (status,) = await newer.inspect(["a.1"])
            assert status.phase is AttemptPhase.running
            await asyncio.to_thread(fifo.write_text, "go\n")
            assert (await ends.of("a.1")).exit_code == 4
        os.kill(older.zygote_pid, signal.SIGCONT)
        await newer.close()
        await older.close()

    asyncio.run(run())


def test_a_shim_killed_while_idle_harms_nobody(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        for number in range(3):
            await executor.launch([shell(f"j{number}", "exit 0")])
            await ends.of(f"j{number}.1")
            kill(json.loads((tmp_path / f"j{number}.1" / STARTED).read_text())["shim_pid"])
        (status,) = await executor.launch([shell("a", "exit 0")])
        assert status.phase is AttemptPhase.running

    play(tmp_path, scenario)


def test_a_shim_runs_the_next_attempt_as_if_it_were_its_first(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        spoil = "cd /; umask 0; ulimit -n 64; trap '' TERM INT; sleep 600 & exit 0"
        look = "pwd; umask; ulimit -n; grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l"
        seen, shims = [], set()
        for name, script in (("a", look), ("b", spoil), ("c", look)):
            await executor.launch([shell(name, script)])
            await ends.of(f"{name}.1")
            shims.add(json.loads((tmp_path / f"{name}.1" / STARTED).read_text())["shim_pid"])
            log, _, _ = await executor.logs(f"{name}.1", "stdout", 0, 1000)
            seen.append(log.decode().replace(f"/{name}.1/", "/x/"))
        assert len(shims) == 1
        assert seen[0] == seen[2]

    play(tmp_path, scenario)
