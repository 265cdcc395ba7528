"""Short jobs on Slurm: `true` as a batch job of its own, and as an attempt on a pilot; from launch to its end told.

The cluster is that of the tests: slurmctld and slurmd of this machine alone, scheduling as often as they can. Where
they are not installed there is nothing to measure, and the table says so.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from agentorch.errors import NodeUnreachable
from agentorch.executors.contract import Executor
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.slurm.executor import SlurmExecutor
from agentorch.executors.slurm.options import SlurmOptions
from agentorch.executors.slurm.pilots import PilotShape, SlurmTransport
from benchmarks.measure import Size, Table, in_turns, milliseconds, spread
from benchmarks.remote import IN_FLIGHT, jobs, opened
from tests.slurm.cluster import SlurmCluster, missing

_COLUMNS = ["", "jobs/s (lowest-highest)", "ms a job"]
_QUESTION = "What does a short job cost on Slurm, with a batch job of its own and on a pilot?"


async def run(size: Size) -> Table:
    problem = missing()
    if problem:
        return Table(name="slurm", question=_QUESTION, columns=_COLUMNS, rows=[], notes=[f"Not measured: {problem}."])
    count, batch = size.of(1_000, 200), size.of(96, 32)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        cluster = SlurmCluster(Path(folder) / "cluster")
        try:
            cluster.start()
            rates = await _rates(cluster, Path(folder), size.rounds, count, batch)
        finally:
            cluster.stop()
    return Table(
        name="slurm",
        question=_QUESTION,
        columns=_COLUMNS,
        rows=[[name, spread(values), milliseconds(1 / median(values))] for name, values in rates.items()],
        notes=[
            f"Median of {size.rounds} rounds in turns, {IN_FLIGHT} in flight, durable: {batch} batch jobs, {count} "
            "jobs on two pilots; each told once, with exit code 0. Executors only: no ledger. Slurm starts batch jobs "
            "about once a second, so a batch job costs what the number in flight makes of that second.",
        ],
    )


async def _rates(cluster: SlurmCluster, folder: Path, rounds: int, count: int, batch: int) -> dict[str, list[float]]:
    options = SlurmOptions(conf=cluster.conf, poll_s=0.2)
    transport = SlurmTransport(folder / "pilots", {"two": PilotShape(cpus=2)}, options)
    async with (
        opened(SlurmExecutor(folder / "batch", options)) as each,
        opened(RemoteExecutor(transport, folder / "control")) as pilots,
    ):
        await pilots.scale("two", 2, [])
        nodes = await _nodes(pilots)
        contenders: dict[str, Callable[[], Awaitable[float]]] = {
            "agentorch, a batch job each": jobs(each, ("",), batch, durable=True),
            "agentorch, on two pilots": jobs(pilots, nodes, count, durable=True),
        }
        rates = await in_turns(contenders, rounds)
        await pilots.scale("two", 0, nodes)
    return dict(rates)


async def _nodes(executor: Executor) -> list[str]:
    """The two pilots, once they are up."""
    while True:
        try:
            nodes = [node.id for node in await executor.nodes() if node.state == "up"]
        except NodeUnreachable:
            nodes = []
        if len(nodes) == 2:
            return nodes
        await asyncio.sleep(0.1)
