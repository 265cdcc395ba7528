"""An attempt gets as many cores as it asked for, and no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentorch.executors.cores import Cores
from agentorch.executors.local import LocalExecutor
from tests.executors.ends import Ends
from tests.executors.rigs import shell
from tests.executors.test_trees import play


def test_the_least_held_cores_are_taken_and_given_back() -> None:
    cores = Cores(range(4))
    assert cores.take("a", 1_500) == (0, 1)
    assert cores.take("b", 1_000) == (2,)
    assert cores.take("c", 250) == (3,)
    assert cores.take("d", 250) == (3,)
    assert cores.take("e", 1_000) == (3,)
    cores.release("a")
    assert cores.take("f", 2_000) == (0, 1)
    cores.release("nobody")


def test_who_asks_for_all_is_bound_to_none() -> None:
    cores = Cores(range(2))
    assert cores.take("a", 2_000) == ()
    assert cores.take("b", 64_000) == ()
    assert Cores(()).take("a", 1_000) == ()


def test_the_same_attempt_is_counted_once() -> None:
    cores = Cores(range(2))
    assert cores.take("a", 1_000) == cores.take("a", 1_000) == (0,)
    assert cores.take("b", 1_000) == (1,)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core can't be limited to fewer")
def test_a_program_is_bound_to_what_its_job_asked_for(tmp_path: Path) -> None:
    async def scenario(executor: LocalExecutor, ends: Ends) -> None:
        await executor.launch([shell("a", "nproc", cpu_milli=500), shell("b", "nproc", cpu_milli=64_000)])
        for attempt, count in (("a.1", 1), ("b.1", len(os.sched_getaffinity(0)))):
            await ends.of(attempt)
            text, _, _ = await executor.logs(attempt, "stdout", 0, 100)
            assert int(text) == count

    play(tmp_path, scenario)
