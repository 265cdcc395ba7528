"""Performs what durable events order: launches and stops, in order per executor, and brings back what executors saw."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from agentorch.core import gangs
from agentorch.core.facts import Facts
from agentorch.core.instruct import AttemptOrder, Launch, Stop, live_ranks, stops_to_repeat, unfinished
from agentorch.errors import ExecutorError, Refused, RuntimeStopped
from agentorch.executors.contract import Executor
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, attempt_id, parse_attempt_id
from agentorch.model.jobs import Attempt, Cause, Job, Rank

if TYPE_CHECKING:
    from agentorch.runtime.loop import Loop

log = logging.getLogger(__name__)

JobEnvironment = Callable[[Job], dict[str, str]]


class Performer:
    """One queue and one pump per executor. Nothing here decides: it performs and reports."""

    def __init__(self, executors: Mapping[str, Executor], environment: JobEnvironment) -> None:
        self.executors = dict(executors)
        self._environment = environment
        self._orders: dict[str, list[AttemptOrder]] = {name: [] for name in executors}
        self._news: dict[str, asyncio.Event] = {name: asyncio.Event() for name in executors}
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: Loop

    def attach(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def facts(self) -> Facts:
        return self._loop.state.facts

    def perform(self, orders: list[AttemptOrder]) -> None:
        """Called with the instructions of a durable commit."""
        for order in orders:
            executor = self._executor_of(order.job)
            if executor is not None:
                self._orders[executor].append(order)
                self._news[executor].set()

    def _executor_of(self, name: str) -> str | None:
        job = self.facts.jobs.get(name)
        if job is None or not job.attempts:
            return None
        pool = self.facts.pools.get(job.attempts[-1].pool)
        return pool.spec.executor if pool is not None else next(iter(self.executors))

    # -- life

    async def open(self, epoch: int) -> None:
        for executor in self.executors.values():
            await executor.open(epoch)

    async def recover(self) -> None:
        """Ask every executor for the truth about each attempt that the ledger believes alive, and report it."""
        by_executor: dict[str, list[str]] = {name: [] for name in self.executors}
        for job, number, rank in unfinished(self.facts):
            name = self._executor_of(job)
            if name in by_executor:
                by_executor[name].append(attempt_id(job, number, rank))
        for name, attempts in by_executor.items():
            await self._report(await self.executors[name].inspect(attempts), recovering=True)
        await self._loop.settled()
        for stop in stops_to_repeat(self.facts):
            self.perform([stop])

    def start(self) -> None:
        for name, executor in self.executors.items():
            orders = asyncio.create_task(self._work(name, executor), name=f"orders-{name}")
            events = asyncio.create_task(self._pump(executor), name=f"events-{name}")
            self._tasks.extend(self._loop.watched(task) for task in (orders, events))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for executor in self.executors.values():
            await executor.close()

    # -- orders

    async def _work(self, name: str, executor: Executor) -> None:
        waiting, news = self._orders[name], self._news[name]
        while True:
            if not waiting:
                news.clear()
                await news.wait()
            orders = waiting[: limits.DISPATCH_PER_PASS]
            del waiting[: limits.DISPATCH_PER_PASS]
            try:
                # Launches first: a stop in the same batch may be for one of them, never the other way round.
                await self._launch(executor, [order for order in orders if isinstance(order, Launch)])
                await self._stop(executor, [order for order in orders if isinstance(order, Stop)])
            except RuntimeStopped:
                return

    async def _launch(self, executor: Executor, orders: list[Launch]) -> None:
        all_specs = [spec for order in orders for spec in self._specs(order)]
        for start in range(0, len(all_specs), limits.DISPATCH_PER_PASS):
            specs = all_specs[start : start + limits.DISPATCH_PER_PASS]
            try:
                statuses = await executor.launch(specs)
            except (ExecutorError, OSError) as error:
                log.warning("launch of %d attempts failed: %s", len(specs), error)
                statuses = [await self._failed_launch(executor, spec.id, error) for spec in specs]
            await self._report(statuses)

    async def _failed_launch(self, executor: Executor, attempt: str, error: Exception) -> AttemptStatus:
        """A batch failed: each attempt's own truth, so that none is run twice and none is forgotten."""
        (status,) = await executor.inspect([attempt])
        if status.phase is not AttemptPhase.absent:
            return status
        return AttemptStatus(
            id=attempt,
            phase=AttemptPhase.lost,
            cause=Cause.no_capacity,
            message=str(error),
            ended_ms=self._loop.now_ms(),
        )

    def _specs(self, order: Launch) -> list[AttemptSpec]:
        """What to run, each rank of a gang; nothing when the attempt was overtaken (it ended before its launch)."""
        job = self.facts.jobs.get(order.job)
        if job is None or job.attempts_made != order.attempt or job.id not in self.facts.running:
            return []
        env = {**job.spec.env, **self._environment(job)}
        attempt = job.attempts[-1]
        if not attempt.ranks:
            return [_spec(job, 0, attempt, env, ())]
        return [
            _spec(job, number, rank, {**env, **more}, gangs.visible_devices(attempt, number))
            for number, (rank, more) in enumerate(
                zip(attempt.ranks, gangs.environments(self.facts, attempt), strict=True)
            )
            if rank.ended_ms is None
        ]

    async def _stop(self, executor: Executor, orders: list[Stop]) -> None:
        for order in orders:
            job = self.facts.jobs.get(order.job)
            ranks = [0] if job is None else live_ranks(job, order.attempt)
            ids = [attempt_id(order.job, order.attempt, rank) for rank in ranks]
            await asyncio.gather(*(self._stop_one(executor, attempt, order) for attempt in ids))

    async def _stop_one(self, executor: Executor, attempt: str, order: Stop) -> None:
        try:
            await executor.stop(attempt, order.cause, order.grace_ms)
        except (ExecutorError, OSError) as error:
            # The order stays in the ledger as `stopping`; the next start repeats it. People are told now.
            await self._loop.ask(
                cmd.RaiseAlert(code="stop-failed", text=f"{attempt} could not be stopped: {error}", by="runtime")
            )

    # -- reports

    async def _pump(self, executor: Executor) -> None:
        reported = 0
        async for status in executor.events():
            try:
                await self._report([status])
            except RuntimeStopped:
                return
            reported += 1
            if reported % limits.DISPATCH_PER_PASS == 0:
                await asyncio.sleep(0)  # many may be there at once: others get their turn

    async def _report(self, statuses: Sequence[AttemptStatus], *, recovering: bool = False) -> None:
        """Hand them to the loop, which commits them with whatever else has come by then.

        Nothing waits for that commit: if it fails, the next start asks the executor again. Reports are never dropped:
        when the loop is full, this waits for it.
        """
        for status in statuses:
            command = self._command(status, recovering=recovering)
            while command is not None:
                try:
                    self._loop.take(command)
                except Refused as error:
                    if error.code == "overloaded":
                        await self._loop.clock.wait(error.retry_after_s or 1.0)
                        continue
                    log.error("report %s refused: %s", command, error)
                break

    def _command(self, status: AttemptStatus, *, recovering: bool) -> cmd.ReportRunning | cmd.ReportEnded | None:
        """What to tell the core; None when it knows already."""
        job, number, rank = parse_attempt_id(status.id)
        if status.phase is AttemptPhase.running:
            return cmd.ReportRunning(job=job, attempt=number, rank=rank)
        cause, message = status.cause, status.message
        if status.phase is AttemptPhase.absent:
            if not recovering:
                return None
            # Ordered and never started: fenced now, so another attempt may be, and nobody is to blame.
            cause, message = Cause.requeued, "never started: the runtime ended first"
        return cmd.ReportEnded(
            job=job,
            attempt=number,
            rank=rank,
            cause=cause or Cause.lost,
            started_ms=status.started_ms,
            ended_ms=status.ended_ms or self._loop.now_ms(),
            exit_code=status.exit_code,
            signal=status.signal,
            message=message,
            usage=status.usage,
            result=status.result,
        )


def _spec(job: Job, number: int, place: Attempt | Rank, env: dict[str, str], visible: tuple[str, ...]) -> AttemptSpec:
    attempt, spec = job.attempts[-1], job.spec
    return AttemptSpec(
        id=attempt_id(job.id, attempt.number, number),
        job=job.id,
        number=attempt.number,
        worker=place.worker,
        node=place.node,
        rank=number,
        command=spec.command,
        entry=spec.entry,
        env=env,
        workdir=spec.workdir,
        devices=place.devices,
        visible=visible,
        cpu_milli=attempt.resources.cpu_milli,
        memory_bytes=attempt.resources.memory_bytes,
        timeout_ms=spec.max_duration_ms,
        grace_ms=spec.grace_ms,
        stop_signal=spec.checkpoint.signal if spec.checkpoint else "SIGTERM",
        durable=spec.durable,
    )
