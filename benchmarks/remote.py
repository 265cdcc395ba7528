"""Short jobs through the agents of nodes elsewhere: `true` as an attempt, from its launch until its end is told.

Two agents on this machine, each a process of its own behind a socket, under leases; beside them the same executor
without the way in between. Every exit code is looked at, and that each end is told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import psutil

from agentorch.executors.contract import Executor
from agentorch.executors.local import LocalExecutor
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.remote.pipe import PipeTransport
from agentorch.model.attempts import AttemptSpec
from benchmarks.measure import Size, Table, in_turns, milliseconds, spread
from benchmarks.processes import spawn_limit

IN_FLIGHT = 32
NODES = ("node-1", "node-2")


async def run(size: Size) -> Table:
    count, others = size.of(2_000, 200), size.of(1_000, 100)
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        two = await stack.enter_async_context(elsewhere(root / "remote"))
        here = await stack.enter_async_context(opened(LocalExecutor(root / "local")))
        contenders["agentorch, two agents, durable"] = jobs(two, NODES, count, durable=True)
        contenders["agentorch, two agents, durable=false"] = jobs(two, NODES, others, durable=False)
        contenders["agentorch, the local executor itself, durable"] = jobs(here, ("",), others, durable=True)
        contenders["agentorch, the local executor itself, durable=false"] = jobs(here, ("",), others, durable=False)
        contenders[f"limit: posix_spawn and wait, {IN_FLIGHT} at a time"] = spawn_limit(others, IN_FLIGHT)
        rates = await in_turns(contenders, size.rounds)
    return Table(
        name="remote",
        question="What does a short job cost when it runs on another node?",
        columns=["", "jobs/s (lowest-highest)", "ms a job"],
        rows=[[name, spread(values), milliseconds(1 / median(values))] for name, values in rates.items()],
        notes=[
            f"Median of {size.rounds} rounds in turns, {IN_FLIGHT} in flight: {count} durable jobs through agents, "
            f"{others} of each other kind; so {size.rounds * count} durable ones in all, each told once, with exit "
            "code 0. Executors only: no ledger.",
        ],
    )


@asynccontextmanager
async def opened(executor: Executor) -> AsyncIterator[Executor]:
    await executor.open(1)
    yield executor
    await executor.close()


@asynccontextmanager
async def elsewhere(root: Path) -> AsyncIterator[Executor]:
    """Two nodes; their agents are killed at the end."""
    transport = PipeTransport(root / "nodes", {"cpu": len(NODES)})
    async with opened(RemoteExecutor(transport, root / "control")) as executor:
        try:
            yield executor
        finally:
            agents = [psutil.Process(transport.agent_pid(node)) for node in NODES]
            for agent in agents:
                agent.kill()
            with contextlib.suppress(psutil.TimeoutExpired):
                psutil.wait_procs(agents, timeout=10)


def jobs(executor: Executor, nodes: Sequence[str], count: int, *, durable: bool) -> Callable[[], Awaitable[float]]:
    """Launch that many, so many in flight, and hear of every end: jobs a second."""
    rounds = iter(range(1_000_000))
    cursor = 0

    async def once() -> float:
        nonlocal cursor
        name = f"{'durable' if durable else 'quick'}-{next(rounds)}"
        specs = [
            AttemptSpec(
                id=f"{name}-{number}.1",
                job=f"{name}-{number}",
                number=1,
                worker="w-1",
                node=nodes[number % len(nodes)],
                command=("true",),
                durable=durable,
            )
            for number in range(count)
        ]
        waiting = iter(specs)
        ended: set[str] = set()
        launches: set[asyncio.Task[object]] = set()

        def launch_next() -> None:
            spec = next(waiting, None)
            if spec is not None:
                task: asyncio.Task[object] = asyncio.create_task(executor.launch([spec]))
                launches.add(task)
                task.add_done_callback(launches.discard)

        began = time.perf_counter()
        for _ in range(IN_FLIGHT):
            launch_next()
        async for status in executor.events(cursor):
            if status.id in ended or (status.id.startswith(f"{name}-") and status.exit_code != 0):
                raise RuntimeError(f"a bad end: {status}")
            cursor = status.cursor
            if status.id.startswith(f"{name}-"):
                ended.add(status.id)
                launch_next()
            if len(ended) == count:
                break
        return count / (time.perf_counter() - began)

    return once
