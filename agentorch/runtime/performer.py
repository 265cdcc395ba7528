"""Performs what durable events order: launches and stops, in order per executor, and brings back what executors saw."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agentorch.core import gangs
from agentorch.core.facts import Facts
from agentorch.core.instruct import AttemptOrder, Launch, Stop, live_ranks, stops_to_repeat, unfinished
from agentorch.errors import EpochOver, ExecutorError, Refused, RuntimeStopped
from agentorch.executors.contract import Executor
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, attempt_id, parse_attempt_id
from agentorch.model.jobs import Attempt, Cause, Job, Rank

if TYPE_CHECKING:
    from agentorch.runtime.loop import Loop

log = logging.getLogger(__name__)

JobEnvironment = Callable[[Job], dict[str, str]]

#: Before an executor that could not do what it was told is told again, at first and at most.
_RETRY_S: Final = 1.0
_RETRY_CAP_S: Final = 30.0


class Performer:
    """One queue and one pump per executor. Nothing here decides: it performs and reports.

    `look` reports the nodes of an executor as they are now: a start that failed for its node's sake is no news of the
    worker, so the core hears of the node first.
    """

    def __init__(
        self,
        executors: Mapping[str, Executor],
        environment: JobEnvironment,
        look: Callable[[str], Awaitable[None]],
    ) -> None:
        self.executors = dict(executors)
        self._environment = environment
        self._look = look
        self._unstopped: dict[Stop, int] = {}  # how often in a row each could not be performed
        self._orders: dict[str, list[AttemptOrder]] = {name: [] for name in executors}
        self._news: dict[str, asyncio.Event] = {name: asyncio.Event() for name in executors}
        self._tasks: set[asyncio.Task[None]] = set()
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
            self._later(self._work(name, executor))
            self._later(self._pump(executor))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.watched(asyncio.create_task(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                await self._launch(name, executor, [order for order in orders if isinstance(order, Launch)])
                stops = [order for order in orders if isinstance(order, Stop)]
                await asyncio.gather(*(self._stop(executor, order) for order in stops))
            except RuntimeStopped:
                return

    async def _launch(self, name: str, executor: Executor, orders: list[Launch]) -> None:
        all_specs = [spec for order in orders for spec in self._specs(order)]
        for start in range(0, len(all_specs), limits.DISPATCH_PER_PASS):
            specs = all_specs[start : start + limits.DISPATCH_PER_PASS]
            try:
                statuses = await executor.launch(specs)
            except EpochOver:
                raise
            except (ExecutorError, OSError) as error:
                log.warning("launch of %d attempts failed: %s", len(specs), error)
                statuses = await self._after_failure(executor, [spec.id for spec in specs], error)
            if any(status.cause is Cause.no_capacity for status in statuses):
                await self._look(name)
            await self._report(statuses)

    async def _after_failure(self, executor: Executor, attempts: list[str], error: Exception) -> list[AttemptStatus]:
        """A batch failed: each attempt's own truth, so that none is run twice and none is forgotten.

        Asked until it is known: meanwhile nothing else can be said to this executor either.
        """
        pause_s = _RETRY_S
        while True:
            try:
                found = await executor.inspect(attempts)
                break
            except EpochOver:
                raise
            except (ExecutorError, OSError) as problem:
                log.warning("what became of them is not known yet: %s", problem)
                await self._loop.clock.wait(pause_s)
                pause_s = min(2 * pause_s, _RETRY_CAP_S)
        return [self._missed(status.id, error) if status.phase is AttemptPhase.absent else status for status in found]

    def _missed(self, attempt: str, error: Exception) -> AttemptStatus:
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

    async def _stop(self, executor: Executor, order: Stop) -> None:
        job = self.facts.jobs.get(order.job)
        ranks = [0] if job is None else live_ranks(job, order.attempt)
        ids = [attempt_id(order.job, order.attempt, rank) for rank in ranks]
        stops = (executor.stop(attempt, order.cause, order.grace_ms) for attempt in ids)
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(error, (ExecutorError, OSError)) and not isinstance(error, EpochOver):
                self._stop_failed(order, error)
                return
            if error is not None:
                raise error
        self._unstopped.pop(order, None)

    def _stop_failed(self, order: Stop, error: Exception) -> None:
        """It is tried again until the attempt has ended. People are told at the first failure."""
        failures = self._unstopped[order] = self._unstopped.get(order, 0) + 1
        text = f"{attempt_id(order.job, order.attempt)} could not be stopped: {error}"
        log.warning("%s", text)
        if failures == 1:
            with contextlib.suppress(Refused):  # full just now; the log has it
                self._loop.take(cmd.RaiseAlert(code="stop-failed", text=text, by="runtime"))
        self._later(self._stop_again(order, min(_RETRY_S * 2 ** min(failures - 1, 10), _RETRY_CAP_S)))

    async def _stop_again(self, order: Stop, pause_s: float) -> None:
        await self._loop.clock.wait(pause_s)
        job = self.facts.jobs.get(order.job)
        if job is not None and job.id in self.facts.running and job.attempts_made == order.attempt:
            self.perform([order])
        else:
            self._unstopped.pop(order, None)

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
