"""Python functions as jobs, made by warm workers: calls a second, and how long a single one takes.

A call is an attempt like any other: it is journaled before and after, has its exit code, its log and its result, can
be stopped, and is found again after a crash. The peers run functions and keep nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import operator
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median

import msgspec

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec
from agentorch.model.jobs import EntryPoint, JobState
from agentorch.runtime.runtime import Runtime
from benchmarks import rig
from benchmarks.measure import Size, Table, in_turns, milliseconds, percentile, spread

IN_FLIGHT = 256
BATCH = 128
ENTRY = EntryPoint(call="operator:add", args=(2, 40))


async def run(size: Size) -> Table:
    calls, single = size.of(5_000, 500), size.of(200, 40)
    timed: dict[str, list[float]] = {}
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        executor = await stack.enter_async_context(Calls(root / "executor").opened())
        made = await stack.enter_async_context(local(root / "runtime"))
        pool = stack.enter_context(multiprocessing.get_context("forkserver").Pool(os.cpu_count()))
        futures = stack.enter_context(ProcessPoolExecutor(mp_context=multiprocessing.get_context("forkserver")))
        contenders["agentorch, runtime and ledger, durable=false"] = jobs(made, calls, durable=False)
        contenders["agentorch, runtime and ledger, durable"] = jobs(made, calls, durable=True)
        contenders["agentorch, executor alone, durable=false"] = lambda: executor.many(calls, durable=False)
        contenders["agentorch, executor alone, durable"] = lambda: executor.many(calls, durable=True)
        contenders["peer: concurrent.futures.ProcessPoolExecutor"] = lambda: asyncio.to_thread(submit, futures, calls)
        contenders["peer: multiprocessing.Pool.imap, one at a time"] = lambda: asyncio.to_thread(imap, pool, calls, 1)
        contenders[f"limit: multiprocessing.Pool.imap, {BATCH} at a time"] = lambda: asyncio.to_thread(
            imap, pool, calls, BATCH
        )
        rates = await in_turns(contenders, size.rounds)
        timed["agentorch, runtime and ledger, durable=false"] = await one_job_at_a_time(made, single)
        timed["agentorch, executor alone, durable=false"] = await executor.one_at_a_time(single)
        timed["peer: concurrent.futures.ProcessPoolExecutor"] = await asyncio.to_thread(
            one_future_at_a_time, futures, single
        )
    return Table(
        name="warm",
        question="How many Python functions a second does one machine call as jobs, and how long does one take?",
        columns=["", "calls/s (lowest-highest)", "single p50 ms", "single p99 ms"],
        rows=[[name, spread(values), *latency(timed.get(name))] for name, values in rates.items()],
        notes=[
            f"`operator.add`; median of {size.rounds} rounds of {calls} calls in turns, at most {IN_FLIGHT} in flight "
            f"(the peers have all of them at once); {os.cpu_count()} workers. A single call: {single} one after the "
            "other, submit to end. Our calls are journaled and keep result, exit code and log; a job is also four "
            "events, synced.",
        ],
    )


def latency(seconds: list[float] | None) -> list[str]:
    return [milliseconds(median(seconds)), milliseconds(percentile(seconds, 99))] if seconds else ["", ""]


class Calls:
    """The executor by itself, and the ends that it tells."""

    def __init__(self, root: Path) -> None:
        self.executor = LocalExecutor(root)
        self.made = 0
        self.ended = 0
        self.news = asyncio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Calls]:
        await self.executor.open(1)
        follower = asyncio.create_task(self._follow())
        await self.many(IN_FLIGHT, durable=False)
        try:
            yield self
        finally:
            await self.executor.close()
            await follower

    async def _follow(self) -> None:
        async for status in self.executor.events():
            assert status.result == "42", status
            self.ended += 1
            self.news.set()

    async def many(self, count: int, *, durable: bool) -> float:
        """Launched in batches; calls that ended a second."""
        began, goal = time.perf_counter(), self.made + count
        while self.made < goal:
            await self._until(self.made - (IN_FLIGHT - BATCH))
            await self.executor.launch([self._spec(durable) for _ in range(min(BATCH, goal - self.made))])
        await self._until(goal)
        return count / (time.perf_counter() - began)

    async def one_at_a_time(self, count: int) -> list[float]:
        took = []
        for _ in range(count):
            began = time.perf_counter()
            (status,) = await self.executor.launch([self._spec(durable=False)])
            if status.phase is AttemptPhase.running:
                await self._until(self.made)
            took.append(time.perf_counter() - began)
        return took

    def _spec(self, durable: bool) -> AttemptSpec:
        self.made += 1
        name = f"job-{self.made:06d}"
        return AttemptSpec(
            id=f"{name}.1", job=name, number=1, worker="bench", entry=ENTRY, cpu_milli=1_000, durable=durable
        )

    async def _until(self, ended: int) -> None:
        while self.ended < ended:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Runtime]:
    folder.mkdir()
    async with rig.runtime(folder / "ledger.db", LocalExecutor(folder / "attempts"), IN_FLIGHT) as made:
        await jobs(made, IN_FLIGHT, durable=False)()
        yield made


def jobs(made: Runtime, count: int, *, durable: bool) -> Callable[[], Awaitable[float]]:
    """Submit them all at once and wait until the last end is durable: jobs a second."""
    spec = msgspec.structs.replace(rig.NOOP, command=(), entry=ENTRY, durable=durable)

    async def once() -> float:
        before, began = rig.finished(made), time.perf_counter()
        good = succeeded(made)
        ended = asyncio.create_task(rig.until_finished(made, before + count))
        await rig.submit_all(made, count, spec)
        await ended
        assert succeeded(made) == good + count
        return count / (time.perf_counter() - began)

    return once


def succeeded(made: Runtime) -> int:
    return int(made.loop.state.facts.ended_by_state.get(JobState.succeeded, 0))


async def one_job_at_a_time(made: Runtime, count: int) -> list[float]:
    one = jobs(made, 1, durable=False)
    return [1 / await one() for _ in range(count)]


def submit(pool: ProcessPoolExecutor, count: int) -> float:
    began = time.perf_counter()
    futures = [pool.submit(operator.add, 2, 40) for _ in range(count)]
    assert all(future.result() == 42 for future in futures)
    return count / (time.perf_counter() - began)


def one_future_at_a_time(pool: ProcessPoolExecutor, count: int) -> list[float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        pool.submit(operator.add, 2, 40).result()
        took.append(time.perf_counter() - began)
    return took


def imap(pool: Pool, count: int, chunk: int) -> float:
    began = time.perf_counter()
    assert all(value == 42 for value in pool.imap_unordered(forty_two, range(count), chunk))
    return count / (time.perf_counter() - began)


def forty_two(_number: int) -> int:
    return int(operator.add(2, 40))
