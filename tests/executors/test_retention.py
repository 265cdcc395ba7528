"""Directories of ended attempts go by number and by age; what somebody may still need stays."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agentorch.errors import ExecutorError
from agentorch.executors.local import LocalExecutor
from agentorch.executors.retention import Keep, due
from agentorch.executors.store import AttemptStore
from agentorch.model.attempts import AttemptPhase
from tests.executors.ends import Ends
from tests.executors.rigs import shell
from tests.executors.waiting import eventually

DAY_MS = 86_400_000


def directories(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}


async def ended(executor: LocalExecutor, *names: str) -> None:
    """One after another, so that their order is known."""
    async with Ends(executor) as ends:
        for name in names:
            await executor.launch([shell(name, "mkdir -p deep/er; echo x > deep/er/file; echo hello")])
            await ends.of(f"{name}.1")


def test_the_newest_stay_and_logs_of_the_others_say_why_they_are_gone(tmp_path: Path) -> None:
    async def run() -> None:
        executor = LocalExecutor(tmp_path, keep=Keep(count=2, age_ms=DAY_MS, least_ms=50))
        await executor.open(1)
        await ended(executor, "a", "b", "c", "d")
        await asyncio.to_thread(eventually, lambda: directories(tmp_path) == {"c.1", "d.1"}, "two that are left")
        assert (await executor.logs("d.1", "stdout", 0, 100))[0] == b"hello\n"
        with pytest.raises(ExecutorError, match=r"a\.1: unknown to .*logs were removed"):
            await executor.logs("a.1", "stdout", 0, 100)
        await asyncio.to_thread(eventually, lambda: list((tmp_path / ".new").iterdir()) == [], "nothing in the scratch")
        await executor.close()

    asyncio.run(run())


def test_the_old_go_but_not_what_runs_or_what_nobody_was_told(tmp_path: Path) -> None:
    async def run() -> None:
        first = LocalExecutor(tmp_path, keep=None)
        await first.open(1)
        await first.launch([shell("running", "sleep 600")])
        await ended(first, "told")
        await first.inspect(["fenced.1"])
        await first.close()
        second = LocalExecutor(tmp_path, keep=Keep(count=100, age_ms=50, least_ms=50))
        await second.open(2)
        await second.launch([shell("untold", "exit 3")])
        await asyncio.to_thread(eventually, lambda: directories(tmp_path) == {"running.1", "untold.1"}, "two left")
        async with Ends(second) as ends:
            assert (await ends.of("untold.1")).exit_code == 3
            await asyncio.to_thread(eventually, lambda: directories(tmp_path) == {"running.1"}, "the last one")
            await second.inspect(["running.1"])
            await second.stop("running.1", "cancelled", 0)
            assert (await ends.of("running.1")).phase is AttemptPhase.ended
        await second.close()

    asyncio.run(run())


def test_an_older_runtime_removes_nothing_of_a_newer_one(tmp_path: Path) -> None:
    async def run() -> None:
        older = LocalExecutor(tmp_path, keep=None)
        await older.open(1)
        await ended(older, "a")
        newer = LocalExecutor(tmp_path, keep=None)
        await newer.open(2)
        store = AttemptStore(tmp_path, {})
        store.open(2)
        with pytest.raises(ExecutorError, match="epoch 1 is over"):
            older._store.forget(["a.1"])
        assert directories(tmp_path) == {"a.1"}
        store.forget(["a.1", "never.1"])
        assert directories(tmp_path) == set()
        store.close()
        await newer.close()
        await older.close()

    asyncio.run(run())


def test_what_is_due_is_counted_from_the_newest_and_never_too_young(tmp_path: Path) -> None:
    store = AttemptStore(tmp_path, {})
    for age_s in (10, 20, 30, 40):
        (tmp_path / f"{age_s}.1").mkdir()
        os.utime(tmp_path / f"{age_s}.1", (1_000 - age_s, 1_000 - age_s))
    (tmp_path / ".new").mkdir()
    (tmp_path / "epoch").touch()
    now_ms = 1_000_000
    assert due(store, Keep(count=2, age_ms=DAY_MS, least_ms=0), now_ms) == ["40.1", "30.1"]
    assert due(store, Keep(count=0, age_ms=DAY_MS, least_ms=15_000), now_ms) == ["40.1", "30.1", "20.1"]
    assert due(store, Keep(count=9, age_ms=35_000, least_ms=0), now_ms) == ["40.1"]
    assert due(store, Keep(count=9, age_ms=0, least_ms=35_000), now_ms) == ["40.1"]
