"""kill -9 of the runtime, the worker, its shim and the zygote amid calls, and what a newer runtime finds."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agentorch.errors import EpochOver, ExecutorError
from agentorch.executors.attempt_dir import boot_id
from agentorch.executors.local import LocalExecutor
from agentorch.executors.warm import pools, wire
from agentorch.executors.warm.journal import JOURNAL, Journal
from agentorch.executors.warm.reading import Reading
from agentorch.executors.warm.recovery import Remains
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.processes import kill, marked, shim_of
from tests.executors.runtime_under_fire import read_ledger
from tests.executors.test_warm import FOREVER, entry, play, warm
from tests.executors.waiting import eventually

SOURCE = Path(__file__).resolve().parents[2]


def start_runtime(root: Path, epoch: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.executors.warm_under_fire", str(root), str(epoch), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SOURCE)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_runtime_loses_no_call_and_makes_none_twice(tmp_path: Path, seed: int) -> None:
    count = 1_000
    chance = random.Random(seed)
    kills = 0
    for epoch in range(1, 100):
        with start_runtime(tmp_path, epoch, count) as runtime:
            assert runtime.stdout is not None
            for _ in range(chance.randrange(1, 400)):
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
            assert ended[number] == "ended 0"
            assert runs.read_text() == "run\n"


# -- the others that can be killed

Victim = Callable[[Path, str], int]


def worker(root: Path, name: str) -> int:
    """The worker's own process: the first of its tree."""
    return min(marked(root, name), default=0)


def zygote(root: Path, name: str) -> int:
    """The parent of the shim, while that is a zygote: orphaned shims belong to the machine's first process."""
    shim = shim_of(root, name)
    if not shim:
        return 0
    parent = int(Path(f"/proc/{shim}/stat").read_text().rpartition(")")[2].split()[1])
    return parent if b"agentorch.executors.zygote" in Path(f"/proc/{parent}/cmdline").read_bytes() else 0


@pytest.mark.parametrize("victim", [worker, shim_of, zygote])
def test_whoever_is_killed_no_call_is_lost_and_none_is_made_twice(tmp_path: Path, victim: Victim) -> None:
    count, batch = 1_000, 50
    root = tmp_path / "root"
    ends: dict[str, AttemptStatus] = {}

    def run_of(number: int) -> Path:
        return tmp_path / f"runs-{number}"

    def kill_one(epoch: int) -> None:
        names = sorted((root / ".warm").glob("w*-*"), key=lambda path: path.stat().st_ctime_ns)
        alive = [pid for name in names if (pid := victim(root / ".warm", name.name))]
        if alive:
            kill(alive[-1])

    async def scenario(executor: LocalExecutor, told: Ends) -> None:
        for start in range(0, count, batch):
            numbers = range(start, start + batch)
            calls = [entry(f"j{n}", "once", str(run_of(n)), 0.002, cpu_milli=40) for n in numbers]
            await executor.launch(calls)
            if start % 200 == 0:
                await asyncio.to_thread(kill_one, start)
        for number in range(count):
            ends[f"j{number}.1"] = await told.of(f"j{number}.1")

    play(root, scenario)
    for number in range(count):
        status = ends[f"j{number}.1"]
        runs = run_of(number).read_text() if run_of(number).exists() else ""
        if status.cause is Cause.completed:
            assert runs == "run\n"
        elif victim is worker:
            assert (status.phase, status.cause, status.signal) == (AttemptPhase.ended, Cause.error, 9)
        else:
            assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.lost)
        assert runs in ("", "run\n")
    causes = Counter(status.cause for status in ends.values())
    assert causes[Cause.completed] >= count - 5  # at most the one call of each that was killed
    if victim is zygote:
        assert causes[Cause.completed] == count


# -- what a newer runtime finds


def test_a_call_outlives_its_runtime_and_is_found_again(tmp_path: Path) -> None:
    release = tmp_path / "release"

    async def run() -> None:
        first = LocalExecutor(tmp_path / "root")
        await first.open(1)
        await first.launch([entry("a", "wait", str(release)), entry("b", "wait", FOREVER), entry("c", "add", 1)])
        async with Ends(first) as ends:
            await ends.of("c.1")
            for name in "ab":
                await until_logged(first, f"{name}.1", b"ready")
        await first.close()
        second = LocalExecutor(tmp_path / "root")
        await second.open(2)
        found = await second.inspect(["a.1", "b.1", "c.1", "d.1"])
        phases = [AttemptPhase.running, AttemptPhase.running, AttemptPhase.ended, AttemptPhase.absent]
        assert [status.phase for status in found] == phases
        assert found[0].started_ms is not None
        assert (found[2].result, found[2].exit_code) == ("2", 0)
        assert (await second.logs("a.1", "stdout", 0, 100)) == (b"ready\n", 6, False)
        async with Ends(second) as ends:
            release.touch()
            ended = await ends.of("a.1")
            assert (ended.cause, ended.result) == (Cause.completed, '"released"')
            assert (await second.logs("a.1", "stdout", 0, 100)) == (b"ready\n", 6, True)
            await second.stop("b.1", "cancelled", 60_000)
            assert (await ends.of("b.1")).cause is Cause.cancelled
            (again,) = await second.launch([entry("d", "add", 1)])
            assert again.phase is AttemptPhase.absent
        await second.close()
        third = LocalExecutor(tmp_path / "root")
        await third.open(3)
        later = await third.inspect(["a.1", "b.1", "c.1", "d.1"])
        assert [status.cause for status in later] == [Cause.completed, Cause.cancelled, Cause.completed, None]
        await third.close()

    asyncio.run(run())


@pytest.mark.parametrize("epoch", [2, 1])
def test_nothing_of_an_older_runtime_begins_once_a_newer_one_is_open(tmp_path: Path, epoch: int) -> None:
    release = tmp_path / "release"
    count = 8

    async def run() -> None:
        older, newer = LocalExecutor(tmp_path / "root"), LocalExecutor(tmp_path / "root")
        await older.open(1)
        async with Ends(older) as ends:
            await older.launch([entry("warm", "add", 1)])
            await ends.of("warm.1")
        # All go to the warm worker: one runs, the others wait behind it.
        await older.launch([entry(f"j{n}", "wait", str(release), cpu_milli=10) for n in range(count)])
        await newer.open(epoch)
        found = await newer.inspect([f"j{n}.1" for n in range(count)])
        running = [status.id for status in found if status.phase is AttemptPhase.running]
        assert {status.phase for status in found} == {AttemptPhase.running, AttemptPhase.absent}
        for call in (older.launch([entry("x", "add", 1)]), older.stop(running[0], "cancelled", 0)):
            with pytest.raises(EpochOver, match=r"epoch 1 (is over|of .* was opened again)"):
                await call
        async with Ends(newer) as ends:
            release.touch()
            for name in running:
                assert (await ends.of(name)).cause is Cause.completed
        for status in found:
            data, _, _ = await newer.logs(status.id, "stdout", 0, 100)
            assert data == (b"ready\n" if status.id in running else b"")
        await older.close()
        await newer.close()

    asyncio.run(run())


def test_a_runtime_that_dies_leaves_no_idle_worker(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([entry("a", "add", 1)])
        await ends.of("a.1")

    play(tmp_path, scenario)
    names = [path.name for path in (tmp_path / ".warm").glob("w*")]
    eventually(lambda: not any(marked(tmp_path / ".warm", name) for name in names), "the end of the worker")


def test_a_stop_of_a_call_that_no_worker_has_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        first = LocalExecutor(tmp_path)
        await first.open(1)
        async with Ends(first) as ends:
            await first.launch([entry("a", "add", 1)])  # its worker is being started
            await first.stop("a.1", "preempted", 0)
            assert (await ends.of("a.1")).cause is Cause.preempted
        await first.close()
        second = LocalExecutor(tmp_path)
        await second.open(2)
        (found,) = await second.inspect(["a.1"])
        assert (found.phase, found.cause, found.started_ms) == (AttemptPhase.ended, Cause.preempted, None)
        await second.close()

    asyncio.run(run())


def test_old_calls_are_forgotten_with_their_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WARM_CALLS_PER_WORKER", 20)
    monkeypatch.setattr(limits, "WARM_CALLS_KEPT", 50)

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        for number in range(200):
            await executor.launch([entry(f"a{number}", "say", "x")])
            await ends.of(f"a{number}.1")
        folders = list((tmp_path / ".warm").glob("w*"))
        assert len(folders) <= 8
        assert (await executor.logs("a199.1", "stdout", 0, 10))[0] == b"x\n"
        with pytest.raises(ExecutorError, match=r"a0\.1: unknown"):
            await executor.logs("a0.1", "stdout", 0, 10)

    play(tmp_path, scenario)


def test_idle_workers_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WARM_IDLE_MS", 1)
    monkeypatch.setattr(pools, "IDLE_LOOK_S", 0.05)

    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        for name in ("a", "b"):  # also the one that is started after all were let go
            await executor.launch([entry(name, "add", 1)])
            await ends.of(f"{name}.1")
            await asyncio.to_thread(eventually, lambda: not warm(tmp_path), "the end of the worker")
        (found,) = await executor.inspect(["a.1"])
        assert found.result == "2"

    play(tmp_path, scenario)


# -- the journal alone


def test_the_order_of_lines_decides(tmp_path: Path) -> None:
    journal, reading = Journal(str(tmp_path)), Reading(tmp_path)
    assert journal.append('["w",1,"w1-1","boot"]\n') == []
    assert journal.append('["s","a",5,0,0,null,0]\n') == []
    reading.forbid([wire.Void("a", "cancelled", 1), wire.Void("b", "", 1)], durable=False)
    assert set(reading.begun) == {"a"}
    end = '["e","a",5,9,"completed",0,"","1",0,0,0,0,0,0,0]\n'
    assert journal.append(f'{end}["s","b",9,0,0,null,0]\n') == [["v", "a", "cancelled", 1], ["v", "b", "", 1]]
    (ended,) = reading.read()
    assert (ended.call, ended.cause, ended.result) == ("a", "cancelled", "1")
    assert reading.begun == {}
    reading.forbid([wire.Void("", "", 2)], durable=True)
    assert journal.append('["s","c",9,0,0,null,0]\n') == [["v", "", "", 2]]
    assert reading.read() == []
    assert reading.begun == {}
    reading.close()


def test_half_a_line_of_a_dead_worker_is_no_line(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b'["w",1,"w1-1","boot"]\n["s","a",5,0,0,null,0]\n["e","a",5,9,"comp')
    remains = Remains(Reading(tmp_path))
    remains.fence(2)
    dead = AttemptStatus(id="w1-1", phase=AttemptPhase.ended, cause=Cause.error, signal=9, ended_ms=8)
    remains.settle(dead)
    (ended,) = remains.ended
    assert (ended.call, ended.cause, ended.signal, ended.lost) == ("a", "error", 9, False)
    remains.reading.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_after_a_restart_of_the_machine_what_was_taken_in_may_have_run(tmp_path: Path, restarted: bool) -> None:
    boot = "another" if restarted else boot_id()
    (tmp_path / JOURNAL).write_text(f'["w",1,"w1-1","{boot}"]\n["t",["a","b"]]\n["s","a",5,0,0,null,0]\n')
    remains = Remains(Reading(tmp_path))
    remains.fence(2)
    remains.settle(AttemptStatus(id="w1-1", phase=AttemptPhase.lost, cause=Cause.lost, message="x", ended_ms=8))
    assert [(end.call, end.lost) for end in remains.ended] == [("a", True)] + [("b", True)] * restarted
    remains.reading.close()
