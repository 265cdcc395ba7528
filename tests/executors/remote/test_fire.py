"""kill -9 of every part while 200 jobs run on three nodes: none lost, none run twice, codes and logs right."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from tests.executors.processes import kill, shim_of
from tests.executors.remote.cluster import Cluster, Told, opened
from tests.executors.remote.runtime_under_fire import NODES, node_of
from tests.executors.rigs import shell
from tests.executors.runtime_under_fire import code_of, job, read_ledger

SOURCE = Path(__file__).resolve().parents[3]
COUNT = 200
AT_ONCE = 24


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, NODES)
    yield made
    made.close()


def check_ran_once(cluster: Cluster, number: int) -> None:
    attempt = f"j{number}.1"
    assert (cluster.root / f"runs-{number}").read_text() == "run\n"
    assert (cluster.attempts(node_of(attempt)) / attempt / "stdout.log").read_text() == "done\n"


def test_a_killed_runtime_loses_nothing_and_runs_nothing_twice(cluster: Cluster) -> None:
    chance = random.Random(7)
    kills = 0
    for epoch in range(1, 100):
        command = [sys.executable, "-m", "tests.executors.remote.runtime_under_fire"]
        command += [str(cluster.root), str(epoch), str(COUNT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SOURCE) as runtime:
            assert runtime.stdout is not None
            for _ in range(chance.randrange(1, 250)):
                if not runtime.stdout.readline():
                    break
            else:
                runtime.kill()
                kills += 1
                continue
            assert runtime.wait() == 0
            break
    assert kills >= 2
    ordered, ended = read_ledger(cluster.root)
    assert ordered == set(ended) == set(range(COUNT))
    for number in range(COUNT):
        if ended[number] == "absent None":
            assert not (cluster.root / f"runs-{number}").exists()
        else:
            assert ended[number] == f"ended {code_of(number)}"
            check_ran_once(cluster, number)


async def load(cluster: Cluster, executor: RemoteExecutor, told: Told) -> None:
    """Keep `AT_ONCE` of the jobs going until each has been launched and has ended."""
    room = asyncio.Semaphore(AT_ONCE)

    async def run(number: int) -> None:
        async with room:
            spec = job(cluster.root, number)
            await executor.launch([msgspec.structs.replace(spec, node=node_of(spec.id))])
            await told.of(spec.id)

    await asyncio.gather(*(run(number) for number in range(COUNT)))


def part_of(cluster: Cluster, node: str, part: str) -> int:
    agent = cluster.agent_pid(node)
    if part == "agent":
        return agent
    return next(child.pid for child in psutil.Process(agent).children() if "zygote" in " ".join(child.cmdline()))


@pytest.mark.parametrize("part", ["agent", "zygote"])
def test_a_killed_part_of_a_node_loses_nothing_and_repeats_nothing(cluster: Cluster, part: str) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            loading = asyncio.create_task(load(cluster, executor, told))
            noticed = []
            for number, after in enumerate((20, 60, 100)):
                node = f"node-{number + 1}"
                await told.of(*[f"j{index}.1" for index in range(after)])
                kill(part_of(cluster, node, part))
                killed_s = time.monotonic()
                await executor.launch([shell(f"probe-{number}", "exit 0", node=node)])
                noticed.append(time.monotonic() - killed_s)
            await loading
            print(f"{part}: killed to answering again: {', '.join(f'{seconds:.2f} s' for seconds in noticed)}")
            for number in range(COUNT):
                status = told.statuses[f"j{number}.1"]
                assert (status.phase, status.exit_code) == (AttemptPhase.ended, code_of(number))
                check_ran_once(cluster, number)
            assert set(told.times.values()) == {1}

    asyncio.run(run())


def test_a_killed_shim_is_the_only_one_lost(cluster: Cluster) -> None:
    async def run() -> None:
        async with opened(cluster) as (executor, told):
            loading = asyncio.create_task(load(cluster, executor, told))
            victims = [f"victim-{number}" for number in range(NODES)]
            specs = [shell(name, "sleep 600", node=f"node-{number + 1}") for number, name in enumerate(victims)]
            await executor.launch(specs)
            await told.of(*[f"j{index}.1" for index in range(50)])
            noticed = []
            for spec in specs:
                kill(shim_of(cluster.attempts(spec.node), spec.id))
                killed_s = time.monotonic()
                (status,) = await told.of(spec.id)
                noticed.append(time.monotonic() - killed_s)
                assert (status.phase, status.message) == (AttemptPhase.lost, "its shim was killed")
            await loading
            print(f"shim: killed to told lost: {', '.join(f'{seconds:.2f} s' for seconds in noticed)}")
            ended: list[AttemptStatus] = [told.statuses[f"j{number}.1"] for number in range(COUNT)]
            assert [status.exit_code for status in ended] == [code_of(number) for number in range(COUNT)]
            for number in range(COUNT):
                check_ran_once(cluster, number)
            assert set(told.times.values()) == {1}

    asyncio.run(run())
