"""Calls that are under way, and how their ends are told: once each, and synced before, if they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from agentorch.executors.stream import EventStream
from agentorch.executors.warm import wire
from agentorch.executors.warm.history import History, Past
from agentorch.executors.warm.link import Call, Worker
from agentorch.executors.warm.reading import Reading
from agentorch.executors.warm.tasks import Tasks
from agentorch.model.attempts import AttemptPhase, AttemptStatus


class Telling:
    """`on_over` hears of each call that is over, before its end is told; `remove` ends directories of workers."""

    def __init__(
        self,
        stream: EventStream,
        tasks: Tasks,
        on_over: Callable[[Call], None],
        remove: Callable[[list[str]], None],
    ) -> None:
        self._remove = remove
        self.calls: dict[str, Call] = {}  # whose end is not told yet
        self.history = History()
        self._pasts: dict[str, Past] = {}  # of workers that live
        self._stream = stream
        self._tasks = tasks
        self._on_over = on_over
        self._unsynced: list[tuple[Reading, Past, wire.Ended, bytes]] = []
        self._syncing = False

    def knows(self, attempt: str) -> bool:
        return attempt in self.calls or attempt in self.history

    def status(self, attempt: str) -> AttemptStatus | None:
        """What is known of it; None = nothing."""
        call = self.calls.get(attempt)
        if call is not None:
            return AttemptStatus(id=attempt, phase=AttemptPhase.running, started_ms=call.accepted_ms)
        end = self.history.end_of(attempt)
        return wire.status_of(end) if end is not None else None

    def born(self, name: str) -> Past:
        past = self._pasts[name] = Past(name)
        return past

    def finish(self, worker: Worker, end: wire.Ended, line: bytes = b"") -> None:
        """The call has ended so. Harmless when that is known already."""
        call = worker.queue.pop(end.call, None)
        if call is None or call.ended:
            return
        call.ended = True
        self._on_over(call)
        line = line or wire.encode(end)
        past = self._pasts[worker.name]
        if call.durable and worker.reading is not None:
            past.unsynced += 1
            self._unsynced.append((worker.reading, past, end, line))
            if not self._syncing:
                self._syncing = True
                self._tasks.later(self._sync())
        else:
            self._tell(past, end, line)

    def finish_all(self, worker: Worker, ends: Iterable[wire.Ended]) -> None:
        for end in ends:
            self.finish(worker, end)

    async def _sync(self) -> None:
        """Those that gather while one sync runs share the next one."""
        try:
            while self._unsynced:
                ends, self._unsynced = self._unsynced, []
                await asyncio.to_thread(_sync_each, {reading for reading, *_ in ends})
                for _, past, end, line in ends:
                    past.unsynced -= 1
                    self._tell(past, end, line)
        finally:
            self._syncing = False

    def _tell(self, past: Past, end: wire.Ended, line: bytes) -> None:
        call = self.calls.pop(end.call)
        self.history.add(past, end.call, line)
        past.told = self._stream.publish(wire.status_of(end))
        if call.batch is not None:
            call.batch.drop()
        if past.dead and not past.unsynced:
            self.history.close(past)

    # -- dead workers

    async def died(self, name: str) -> None:
        """Everything that the worker did has been handed in."""
        past = self._pasts.pop(name)
        past.dead = True
        if not past.unsynced:
            self.history.close(past)
        await self.remove_old()

    async def remove_old(self) -> None:
        old = list(self.history.forget(self._stream.told))
        if old:
            await asyncio.to_thread(self._remove, [past.name for past in old])


def _sync_each(readings: Iterable[Reading]) -> None:
    for reading in readings:
        reading.sync()
