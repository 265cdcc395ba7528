"""Nodes are cut off while they work: the old run has always ended before the new one begins. Twenty cuts."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentorch.model.attempts import AttemptPhase
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.executors.ends import until_logged
from tests.executors.remote.cluster import Cluster, opened, until_state
from tests.executors.rigs import shell

NODES = 5  # that are cut off at once; one more takes what ran there
ROUNDS = 4
TERMS = {"lease_s": 3.0, "margin_s": 1.5, "patience_s": 30.0}

#: Says until when it ran, and so does a daemon that it leaves: `date` is the time of day of one machine here.
SCRIPT = """
write() {{ date +%s.%N > {out}.$1.new; mv {out}.$1.new {out}.$1; }}
write first
write last
write daemon
echo ready
setsid sh -c 'while :; do date +%s.%N > {out}.daemon.new; mv {out}.daemon.new {out}.daemon; sleep 0.05; done' &
while :; do write last; sleep 0.05; done
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, NODES + 1)
    yield made
    made.close()


def time_in(path: Path) -> float:
    return float(path.read_text())


@pytest.mark.slow
def test_two_runs_of_a_job_never_overlap_across_a_partition(cluster: Cluster) -> None:
    refuge = f"node-{NODES + 1}"
    gaps: list[float] = []
    noticed: list[float] = []

    async def cut_off(node: str, round_: int) -> None:
        job = f"{node}-{round_}"
        await executor.launch([shell(job, SCRIPT.format(out=cluster.root / f"{job}-old"), node=node)])
        await until_logged(executor, f"{job}.1", b"ready")
        cluster.signal_agent(node, signal.SIGSTOP)
        cut_s = time.time()
        (status,) = await told.of(f"{job}.1")
        noticed.append(time.time() - cut_s)
        assert (status.phase, status.cause) == (AttemptPhase.lost, Cause.node_lost)
        again = f"{job}-again"
        await executor.launch([shell(again, SCRIPT.format(out=cluster.root / f"{job}-new"), node=refuge)])
        await until_logged(executor, f"{again}.1", b"ready")
        await executor.stop(f"{again}.1", "cancelled", 0)
        await told.of(f"{again}.1")
        cluster.signal_agent(node, signal.SIGCONT)
        await until_state(executor, node, NodeState.up)
        old, new = cluster.root / f"{job}-old", cluster.root / f"{job}-new"
        ended_s = max(time_in(Path(f"{old}.{name}")) for name in ("last", "daemon"))
        gaps.append(time_in(Path(f"{new}.first")) - ended_s)

    async def run() -> None:
        nonlocal executor, told
        async with opened(cluster, **TERMS) as (executor, told):
            for round_ in range(ROUNDS):
                await asyncio.gather(*(cut_off(f"node-{number + 1}", round_) for number in range(NODES)))
            assert set(told.times.values()) == {1}

    executor = told = None  # type: ignore[assignment]
    asyncio.run(run())
    print(f"{len(gaps)} cuts: told lost after {min(noticed):.2f} to {max(noticed):.2f} s;", end=" ")
    print(f"the old run had ended {min(gaps):.2f} to {max(gaps):.2f} s before the new one began")
    assert len(gaps) == NODES * ROUNDS
    assert min(gaps) > 0
