"""Durable jobs a second through the runtime's loop, in one process, with an empty queue and with a long one.

Submit, start and end of each job are each synced before anything follows from them: three commits a job, shared with
the other jobs of the moment. 64 clients each wait for their acknowledgement before they submit again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from agentorch.core.decide import decide
from agentorch.core.state import State
from agentorch.ledger import layout
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.events import Event
from agentorch.runtime.runtime import Runtime
from benchmarks import rig
from benchmarks.measure import Size, Table, in_turns, milliseconds, percentile, spread
from benchmarks.peers import environment as peers

CLIENTS = 64
SLOTS = 1_000_000
SEGMENT = 1_000


async def run(size: Size) -> Table:
    queued = size.of(1_000_000, 20_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        await fill(root / "long.db", queued)
        async with AsyncExitStack() as stack:
            empty = Window(await stack.enter_async_context(rig.runtime(root / "empty.db", rig.AtOnce(), SLOTS)), size)
            long = Window(await stack.enter_async_context(rig.runtime(root / "long.db", rig.AtOnce(), SLOTS)), size)
            contenders: dict[str, Callable[[], Awaitable[float]]] = {
                "agentorch, nothing queued": empty.run,
                f"agentorch, {queued:,} queued": long.run,
                "limit: one fsynced SQLite insert at a time": lambda: asyncio.to_thread(
                    commits, root, size.of(1000, 300)
                ),
            }
            missing = _with_huey(contenders, root, size)
            rates = await in_turns(contenders, size.rounds)
        rows = [[name, spread(values), "", "", ""] for name, values in rates.items()] + missing
        for row, window in zip(rows, (empty, long), strict=False):
            row[2:] = window.cells()
    return Table(
        name="in_process",
        question="How many durable jobs a second go through one process, and how long does a submit wait?",
        columns=["", "jobs/s (lowest-highest)", "ack p50 ms", "ack p99 ms", "commits/s"],
        rows=rows,
        notes=[
            f"{CLIENTS} clients; median of {size.rounds} windows of {empty.seconds:g} s, in turns with the peer and "
            "the limit; percentiles are medians of the windows'. A job is four events in three commits.",
            "The executor ends every job at once and starts no process. Huey: one enqueue is one commit, one thread.",
        ],
    )


class Window:
    """One runtime, looked at for a few seconds at a time."""

    def __init__(self, runtime: Runtime, size: Size) -> None:
        self.runtime = runtime
        self.seconds = size.of(20, 5) / 10
        self.acks: list[tuple[float, float]] = []  # p50 and p99 of each window, seconds
        self.commits: list[float] = []

    async def run(self) -> float:
        """Jobs that ended a second."""
        loop = self.runtime.loop
        took: list[float] = []
        await self._pause(paused=False)
        commits, ended, began = loop.commits, rig.finished(self.runtime), time.perf_counter()
        await asyncio.gather(*(self._client(index, began + self.seconds, took) for index in range(CLIENTS)))
        await self.runtime.settled()
        elapsed = time.perf_counter() - began
        rate = (rig.finished(self.runtime) - ended) / elapsed
        self.commits.append((loop.commits - commits) / elapsed)
        await self._pause(paused=True)
        self.acks.append((percentile(took, 50), percentile(took, 99)))
        return rate

    async def _pause(self, *, paused: bool) -> None:
        """Between its windows a long queue would go on running, and take the machine from the others."""
        await self.runtime.ask(cmd.PausePool(pool=rig.POOL, paused=paused, by="bench"))

    async def _client(self, index: int, until: float, took: list[float]) -> None:
        command = rig.submission(index)
        while (began := time.perf_counter()) < until:
            await self.runtime.ask(command)
            took.append(time.perf_counter() - began)

    def cells(self) -> list[str]:
        p50, p99 = (median(values) for values in zip(*self.acks, strict=True))
        return [milliseconds(p50), milliseconds(p99), f"{median(self.commits):,.0f}"]


async def fill(path: Path, jobs: int) -> None:
    """A ledger in which so many jobs of 20 tenants wait: written by the core, without a runtime."""
    ledger = SqliteLedger(path)
    await ledger.open()
    state = State()
    now_ms = time.time_ns() // 1_000_000
    events: list[Event] = []
    for command in rig.configuration(rig.AtOnce.name, SLOTS):
        events.extend(decide(state, command, now_ms)[0])
    for index in range(jobs):
        events.extend(decide(state, rig.submission(index), now_ms)[0])
        if len(events) >= SEGMENT:
            await ledger.commit(events, now_ms)
            events = []
    events.extend(decide(state, cmd.CloseRuntime(), now_ms)[0])
    await ledger.commit(events, now_ms)
    await ledger.close()


def commits(folder: Path, count: int) -> float:
    """Commits a second of one connection with the ledger's settings, a row of 200 bytes each."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        connection = sqlite3.connect(Path(own) / "limit.db", isolation_level=None)
        for pragma in layout.WRITER_PRAGMAS:
            connection.execute(pragma).fetchall()
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)")
        began = time.perf_counter()
        for _ in range(count):
            connection.execute("INSERT INTO t(body) VALUES (?)", (b"x" * 200,))
        took = time.perf_counter() - began
        connection.close()
    return count / took


def _with_huey(contenders: dict[str, Callable[[], Awaitable[float]]], root: Path, size: Size) -> list[list[str]]:
    name = "peer: Huey on SQLite, fsync on"
    try:
        peers.python_with("huey")
    except peers.PeerMissing as error:
        return [[name, str(error), "", "", ""]]

    def once() -> float:
        with tempfile.TemporaryDirectory(dir=root) as own:
            return peers.run("huey_noop", "huey", own, str(size.of(300, 100)))["per_s"]

    contenders[name] = lambda: asyncio.to_thread(once)
    return []
