"""Attempts with an entry point: made by warm workers, and kept to the same promises as processes.

This is what the executor that owns the root speaks to. Workers are attempts of an executor of processes that is opened
for them alone, when the first one is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from agentorch.errors import EpochOver, ExecutorError
from agentorch.executors.contract import Executor
from agentorch.executors.stream import EventStream
from agentorch.executors.warm import folder, recovery, wire
from agentorch.executors.warm.history import Past
from agentorch.executors.warm.link import Batch, Call, Worker
from agentorch.executors.warm.orders import key_of, order_of
from agentorch.executors.warm.pools import Pools
from agentorch.executors.warm.tasks import Tasks
from agentorch.executors.warm.telling import Telling
from agentorch.executors.warm.workers import Workers
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus

FOLDER: Final = ".warm"
#: A launch waits this long for its calls to end; one that takes longer is told as running.
PATIENCE_S: Final = 0.005


class WarmCalls:
    """Calls below `root`. `processes` makes the executor, with a root of its own, that runs the workers.

    `elsewhere` says whether an attempt is known to whoever owns `root`: such a one is not launched here. Ends go to
    `stream`. Methods raise ExecutorError.
    """

    def __init__(
        self,
        root: Path,
        processes: Callable[[Path], Executor],
        stream: EventStream,
        elsewhere: Callable[[str], bool],
    ) -> None:
        self._folder = root / FOLDER
        self._make_processes = processes
        self._elsewhere = elsewhere
        self._epoch = -1
        self._opened = 0  # the number of this opening
        self._opening = asyncio.Lock()
        self._tasks = Tasks()
        self._telling = Telling(stream, self._tasks, self._on_over, self._remove)
        self._processes: Executor | None = None
        self._workers: Workers
        self._pools: Pools

    # -- life

    async def open(self, epoch: int) -> None:
        """Take the folder for this epoch, and find out what earlier ones left."""
        self._epoch = epoch
        names = await asyncio.to_thread(self._take_folder)
        if names:
            await self._begin(names)

    def _take_folder(self) -> list[str]:
        self._opened = folder.take(self._folder, self._epoch)
        self._folder = self._folder.resolve()
        return recovery.left_behind(self._folder)

    async def _begin(self, names: Sequence[str] = ()) -> None:
        async with self._opening:
            if self._processes is not None:
                return
            processes = self._make_processes(self._folder)
            await processes.open(self._epoch)
            try:
                self._workers = Workers(self._folder, self._epoch, self._opened, processes, self._tasks)
                self._pools = self._workers.attach(self._telling)
                await self._recover(processes, names)
            except OSError as error:
                await processes.close()
                raise ExecutorError(f"can't open {self._folder}: {error}") from error
            self._processes = processes
            self._tasks.later(self._workers.follow())

    async def _recover(self, processes: Executor, names: Sequence[str]) -> None:
        remains = await asyncio.to_thread(recovery.fence_all, self._folder, names, self._epoch)
        statuses = await processes.inspect(list(remains))
        await asyncio.to_thread(recovery.settle_all, remains, statuses)
        history = self._telling.history
        for status in statuses:
            name, found = status.id, remains[status.id]
            alive = status.phase is AttemptPhase.running
            past = self._telling.born(name) if alive else Past(name)
            for end in found.ended:
                known = history.end_of(end.call)
                if known is None or known.lost:
                    history.add(past, end.call, wire.encode(end))
            if not alive:
                found.reading.close()
                history.close(past)
                continue
            worker = Worker(name, None, self._folder / name)
            worker.reading, worker.closing = found.reading, True
            for begun in found.reading.begun.values():
                call = Call(begun.call, None, b"", cpu_milli=0, durable=True, accepted_ms=begun.started_ms)
                call.worker = worker
                self._telling.calls[call.id] = worker.queue[call.id] = call
            self._workers.adopt(worker)
        await self._telling.remove_old()

    async def close(self) -> None:
        """Workers finish what they run, and exit."""
        await self._tasks.close()
        if self._processes is not None:
            self._workers.close()
            await self._processes.close()

    # -- the contract, for attempts with an entry point

    async def launch(self, specs: Sequence[AttemptSpec]) -> list[AttemptStatus | None]:
        """As `Executor.launch`; None for one that is known elsewhere."""
        self._check_epoch()
        if self._processes is None:
            await self._begin()
        batch = Batch()
        now_ms = time.time_ns() // 1_000_000
        calls = [self._call(spec, batch, now_ms) for spec in specs if self._is_new(spec.id)]
        if calls:
            batch.left = len(calls)
            self._pools.add(calls)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await batch.over.wait()
            except TimeoutError:
                pass  # they are accepted: their ends are events
        return [self._telling.status(spec.id) for spec in specs]

    def _is_new(self, attempt: str) -> bool:
        return not self._telling.knows(attempt) and not self._elsewhere(attempt)

    def _call(self, spec: AttemptSpec, batch: Batch, now_ms: int) -> Call:
        call = Call(
            spec.id,
            key_of(spec),
            order_of(spec),
            cpu_milli=spec.cpu_milli,
            durable=spec.durable,
            accepted_ms=now_ms,
        )
        call.batch = batch
        self._telling.calls[spec.id] = call
        return call

    def status(self, attempt: str) -> AttemptStatus | None:
        """As `Executor.inspect`; None = it is not known here."""
        return self._telling.status(attempt)

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> bool:
        """As `Executor.stop`; False when it is not known here."""
        call = self._telling.calls.get(attempt)
        if call is None:
            return attempt in self._telling.history
        self._check_epoch()
        try:
            await self._workers.stop(call, reason, grace_ms)
        except OSError as error:
            raise ExecutorError(f"attempt {attempt}: it could not be stopped: {error}") from error
        return True

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        """As `Executor.logs`: the part of the worker's log between the beginning of the call and its end."""
        assert self._processes is not None
        call = self._telling.calls.get(attempt)
        if call is not None:
            return await self._live_logs(call, stream, offset, limit)
        end = self._telling.history.end_of(attempt)
        assert end is not None
        first, last = (end.stdout, end.stdout_end) if stream == "stdout" else (end.stderr, end.stderr_end)
        if first + offset >= last:
            return b"", offset, True
        worker = self._telling.history.worker_of(attempt)
        data, following, _ = await self._processes.logs(
            worker, stream, first + offset, min(limit, last - first - offset)
        )
        if following > last:  # a quota has dropped the beginning, and what was read may be another call's
            data = data[: max(0, last - following + len(data))]
            following = last
        return data, following - first, following >= last

    async def _live_logs(self, call: Call, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        worker = call.worker
        if worker is None or worker.reading is None:
            await asyncio.sleep(0)  # whoever asks again and again leaves room for its start
            return b"", offset, False
        self._telling.finish_all(worker, await asyncio.to_thread(worker.reading.read))
        begun = worker.reading.begun.get(call.id)
        if begun is None:
            return b"", offset, False
        assert self._processes is not None
        first = begun.stdout if stream == "stdout" else begun.stderr
        data, following, _ = await self._processes.logs(worker.name, stream, first + offset, limit)
        return data, following - first, False

    def _remove(self, names: list[str]) -> None:
        folder.remove(self._folder, self._opened, names)

    def _on_over(self, call: Call) -> None:
        self._pools.forget(call)

    def _check_epoch(self) -> None:
        stored = folder.stored_epoch(self._folder.parent)
        if stored != self._epoch:
            raise EpochOver(f"epoch {self._epoch} is over: {self._folder.parent} was opened by epoch {stored}")
        if folder.newest_opening(self._folder) != self._opened:
            raise EpochOver(f"epoch {self._epoch} of {self._folder.parent} was opened again, and this is the older one")
