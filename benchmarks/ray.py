"""Short jobs through the agents of a Ray cluster: `true` as an attempt, from its launch until its end is told.

A head and two nodes on this machine; beside them plain Ray tasks on the same cluster that do nothing but run the same
command. Every exit code is looked at, and that each end is told once.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from agentorch.executors.contract import Executor
from agentorch.executors.ray.machines import Machines
from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.fleet import NodeState
from benchmarks.measure import Size, Table, in_turns, milliseconds, spread
from benchmarks.processes import spawn_limit
from benchmarks.remote import IN_FLIGHT, jobs, opened

NODES = 2
_PEER = Path(__file__).parent / "peers" / "ray_subprocess.py"


async def run(size: Size) -> Table:
    count, others = size.of(2_000, 200), size.of(1_000, 100)
    columns = ["", "jobs/s (lowest-highest)", "ms a job"]
    table = Table(
        name="ray", question="What does a short job cost on a node of a Ray cluster?", columns=columns, rows=[]
    )
    if importlib.util.find_spec("ray") is None:
        table.rows.append(["agentorch on Ray", "ray is not installed: pip install 'agentorch[ray]'", ""])
        return table
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        options = RayOptions(state=root / "ray", agent_root=str(root / "agents"))
        await stack.enter_async_context(cluster(options))
        executor = RemoteExecutor(RayTransport(options), root / "control", name="ray")
        await stack.enter_async_context(opened(executor))
        nodes = await up(executor)
        contenders[f"agentorch, {NODES} Ray nodes, durable"] = jobs(executor, nodes, count, durable=True)
        contenders[f"agentorch, {NODES} Ray nodes, durable=false"] = jobs(executor, nodes, others, durable=False)
        contenders["peer: Ray tasks that run it, no logs, no kill, no recovery"] = plain_tasks(options, others)
        contenders[f"limit: posix_spawn and wait, {IN_FLIGHT} at a time"] = spawn_limit(others, IN_FLIGHT)
        rates = await in_turns(contenders, size.rounds)
    table.rows.extend([name, spread(values), milliseconds(1 / median(values))] for name, values in rates.items())
    table.notes.append(
        f"Median of {size.rounds} rounds in turns, {IN_FLIGHT} in flight: {count} durable jobs through agents, "
        f"{others} of each other kind; so {size.rounds * count} durable ones in all, each told once, with exit code 0. "
        "Executors only: no ledger."
    )
    return table


@asynccontextmanager
async def cluster(options: RayOptions) -> AsyncIterator[None]:
    machines = Machines(options)
    try:
        await asyncio.to_thread(machines.start_head, port=0)
        for _ in range(NODES):
            await asyncio.to_thread(machines.join, cpus=IN_FLIGHT // NODES)
        yield
    finally:
        await asyncio.to_thread(machines.stop_all)


async def up(executor: Executor) -> list[str]:
    """The nodes, once all are up."""
    async with asyncio.timeout(60):
        while True:
            found = [node.id for node in await executor.nodes() if node.state is NodeState.up]
            if len(found) == NODES:
                return found
            await asyncio.sleep(0.05)


def plain_tasks(options: RayOptions, count: int) -> Callable[[], Awaitable[float]]:
    async def once() -> float:
        command = [sys.executable, str(_PEER), options.where(), str(count)]
        child = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=options.environment()
        )
        printed, _ = await child.communicate()
        return float(json.loads(printed.splitlines()[-1])["per_s"])

    return once
