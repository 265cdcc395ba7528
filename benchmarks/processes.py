"""Real processes a second, end to end: `true` as a job, from its submit until its end is durable.

Each is an attempt of its own: claimed, watched, its exit code and logs kept. Durable attempts sync their directory.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptSpec
from agentorch.runtime.runtime import Runtime
from benchmarks import rig
from benchmarks.measure import Size, Table, in_turns, spread
from benchmarks.peers import environment as peers

IN_FLIGHT = (8, 16)


async def run(size: Size) -> Table:
    durable, quick_end, bare = size.of(200, 40), size.of(400, 80), size.of(600, 100)
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        for slots in IN_FLIGHT:
            made = await stack.enter_async_context(local(root / str(slots), slots))
            contenders[f"agentorch, durable, {slots} in flight"] = jobs(made, durable, durable=True)
            contenders[f"agentorch, durable=false, {slots} in flight"] = jobs(made, quick_end, durable=False)
        alone = LocalExecutor(root / "alone")
        await alone.open(1)
        stack.push_async_callback(alone.close)
        for kind, syncs, count in (("durable", True, durable), ("durable=false", False, quick_end)):
            contenders[f"executor alone, {kind}, {IN_FLIGHT[-1]} in flight"] = attempts(
                alone, count, IN_FLIGHT[-1], durable=syncs
            )
        for slots in IN_FLIGHT:
            contenders[f"limit: posix_spawn and wait, {slots} in flight"] = spawn_limit(bare, slots)
        missing = with_hyperqueue(contenders, root, quick_end)
        rates = await in_turns(contenders, size.rounds)
    return Table(
        name="processes",
        question="How many processes a second does one machine run as jobs, each with its exit code and its logs?",
        columns=["", "jobs/s (lowest-highest)"],
        rows=[[name, spread(values)] for name, values in rates.items()] + missing,
        notes=[
            f"Median of {size.rounds} rounds of {durable} durable, {quick_end} other and {bare} bare processes, in "
            "turns. HyperQueue keeps no journal here; its worker has as many slots as we have jobs in flight.",
            "Executor alone: attempts launched one by one on the executor itself, without a ledger and a scheduler.",
        ],
    )


@asynccontextmanager
async def local(folder: Path, slots: int) -> AsyncIterator[Runtime]:
    """A runtime on this machine's own executor, which runs that many at once. It has run one job already."""
    folder.mkdir()
    async with rig.runtime(folder / "ledger.db", LocalExecutor(folder / "attempts"), slots) as made:
        await jobs(made, slots, durable=False)()
        yield made


def jobs(made: Runtime, count: int, *, durable: bool) -> Callable[[], Awaitable[float]]:
    """Submit them all at once and wait for the last end: jobs a second."""
    spec = msgspec.structs.replace(rig.NOOP, durable=durable)

    async def once() -> float:
        before, began = rig.finished(made), time.perf_counter()
        ended = asyncio.create_task(rig.until_finished(made, before + count))
        await rig.submit_all(made, count, spec)
        await ended
        return count / (time.perf_counter() - began)

    return once


def attempts(executor: LocalExecutor, count: int, slots: int, *, durable: bool) -> Callable[[], Awaitable[float]]:
    """Launch that many, so many at a time, and wait until the last has ended: attempts a second."""
    serial, cursor = itertools.count(), 0

    async def once() -> float:
        room = asyncio.Semaphore(slots)
        waited_for = {f"{'durable' if durable else 'quick'}-{next(serial)}.1" for _ in range(count)}

        async def follow() -> None:
            nonlocal cursor
            async for status in executor.events(cursor):
                cursor = status.cursor
                if status.id in waited_for:
                    waited_for.remove(status.id)
                    room.release()
                if not waited_for:
                    return

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            for name in list(waited_for):
                await room.acquire()
                group.create_task(executor.launch([_true(name, durable=durable)]))
        return count / (time.perf_counter() - began)

    return once


def _true(name: str, *, durable: bool) -> AttemptSpec:
    return AttemptSpec(id=name, job=name[:-2], number=1, worker="w-1", command=("true",), durable=durable)


def spawn_limit(count: int, slots: int) -> Callable[[], Awaitable[float]]:
    """What the machine starts and reaps with nothing else done, by a small process of its own."""

    async def once() -> float:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.spawning", str(count), str(slots), stdout=subprocess.PIPE
        )
        printed, _ = await child.communicate()
        return float(printed)

    return once


def with_hyperqueue(contenders: dict[str, Callable[[], Awaitable[float]]], root: Path, count: int) -> list[list[str]]:
    """Add the peer, or return rows that say why not."""
    names = {slots: f"peer: HyperQueue, {slots} in flight" for slots in IN_FLIGHT}
    try:
        peers.python_with("hyperqueue")
    except peers.PeerMissing as error:
        return [[name, str(error)] for name in names.values()]

    def once(slots: int) -> float:
        with tempfile.TemporaryDirectory(dir=root) as own:
            return peers.run("hyperqueue_true", "hyperqueue", own, str(count), str(slots))["per_s"]

    for slots, name in names.items():
        contenders[name] = partial(asyncio.to_thread, once, slots)
    return []
