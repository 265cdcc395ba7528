"""Workers as processes: started, heard, stopped, and read once they are dead."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentorch.errors import ExecutorError
from agentorch.executors.contract import Executor
from agentorch.executors.warm import recovery, wire
from agentorch.executors.warm.journal import worker_name
from agentorch.executors.warm.link import Call, Door, Key, Worker
from agentorch.executors.warm.orders import process_of
from agentorch.executors.warm.pools import Pools
from agentorch.executors.warm.reading import Reading, unstarted
from agentorch.executors.warm.tasks import Tasks
from agentorch.executors.warm.telling import Telling
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause

_START_AT_MOST: Final = 5
_TAIL_BYTES: Final = 4_096
_STOPPED: Final = "stopped before it started"
#: Ends of a worker's start that another try would not change.
_FINAL: Final = frozenset({Cause.exec_failed, Cause.node_lost, Cause.no_capacity})


class Workers:
    """`processes` runs them, in directories below `folder`, for this opening of it by the runtime of this epoch."""

    def __init__(self, folder: Path, epoch: int, opening: int, processes: Executor, tasks: Tasks) -> None:
        self._folder = folder
        self._epoch = epoch
        self._opening = opening
        self._serial = 0
        self._processes = processes
        self._tasks = tasks
        self._workers: dict[str, Worker] = {}
        self._failures: dict[Key, int] = {}  # starts in a row that came to nothing
        self._pools = Pools(self)
        self._door = Door(folder, opening, self._greet)
        self._telling: Telling

    def attach(self, telling: Telling) -> Pools:
        self._telling = telling
        return self._pools

    def close(self) -> None:
        """Hang up: workers finish what they run, and exit."""
        self._pools.close()
        self._door.close()
        for worker in self._workers.values():
            worker.close()

    def adopt(self, worker: Worker) -> None:
        """One of an earlier runtime, that still runs a call."""
        self._workers[worker.name] = worker
        if not worker.queue:
            self._tasks.later(self._processes.stop(worker.name, Cause.requeued, 0))

    # -- their beginning

    def start(self, key: Key) -> Worker:
        self._serial += 1
        name = worker_name(self._opening, self._serial)
        self._telling.born(name)
        worker = self._workers[name] = Worker(name, key, self._folder / name)
        self._tasks.later(self._start(worker, key))
        return worker

    async def _start(self, worker: Worker, key: Key) -> None:
        try:
            await self._processes.launch([process_of(worker.name, key, self._epoch)])
        except ExecutorError as error:
            cause, now_ms = Cause.no_capacity, _now_ms()
            status = AttemptStatus(
                id=worker.name, phase=AttemptPhase.ended, cause=cause, message=str(error), ended_ms=now_ms
            )
            await self._after_end(worker, status)

    def _greet(self, hello: wire.Hello, sock: socket.socket) -> None:
        worker = self._workers.get(hello.name)
        if worker is None or worker.key is None or worker.connected or hello.epoch != self._epoch:
            sock.close()  # it exits
            return
        worker.attach(sock, self._hear)
        self._failures.pop(worker.key, None)
        self._pools.on_connected(worker)

    # -- their calls

    def _hear(self, worker: Worker, lines: Sequence[bytes]) -> None:
        if not lines:
            self._pools.drop(worker)  # it is ending: what it has not begun comes back when it is dead
            return
        for line in lines:
            end = wire.decode_end(line)
            call = worker.queue.get(end.call)
            if call is not None and call.stop_reason:
                self._tasks.later(self._reread(worker))  # the journal knows whether the stop came in time
            else:
                self._telling.finish(worker, end, line)
        worker.first_since = asyncio.get_running_loop().time()
        if not worker.queue:
            self._pools.on_free(worker)

    async def _reread(self, worker: Worker) -> None:
        assert worker.reading is not None
        self._telling.finish_all(worker, await asyncio.to_thread(worker.reading.read))

    def take_back(self, worker: Worker, calls: list[Call]) -> None:
        calls = [call for call in calls if not call.stop_reason and call.id not in worker.voided]
        if calls:
            worker.voided.update(call.id for call in calls)
            self._tasks.later(self._take_back(worker, calls))

    async def _take_back(self, worker: Worker, calls: list[Call]) -> None:
        await self._forbid(worker, [wire.Void(call.id, "", self._epoch) for call in calls], durable=False)
        self._put_back(worker, calls)

    async def _forbid(self, worker: Worker, voids: list[wire.Void], *, durable: bool) -> None:
        assert worker.reading is not None
        ends = await asyncio.to_thread(worker.reading.forbid, voids, durable=durable)
        self._telling.finish_all(worker, ends)

    def _put_back(self, worker: Worker, calls: list[Call]) -> None:
        """Those of them that have not begun, now that they can't any more."""
        assert worker.reading is not None
        begun = worker.reading.begun
        moved = [call for call in calls if call.id in worker.queue and call.id not in begun and not call.stop_reason]
        for call in moved:
            del worker.queue[call.id]
        self._pools.put_back(moved)

    # -- their ends

    async def stop(self, call: Call, reason: str, grace_ms: int) -> None:
        """End the call: its worker's whole tree if it runs, or before it begins. Raises OSError."""
        worker = call.worker or self._nobody(call)
        assert worker.reading is not None
        call.stop_reason = call.stop_reason or reason
        await self._forbid(worker, [wire.Void(call.id, call.stop_reason, self._epoch)], durable=True)
        if call.ended:
            return
        if call.id not in worker.reading.begun:
            self._telling.finish(worker, unstarted(call.id, call.stop_reason, _STOPPED, _now_ms()))
            return
        # Its process is ended with it, so nothing else may begin there first.
        self._pools.drop(worker)
        await self._forbid(worker, [wire.Void("", "", self._epoch)], durable=False)
        self._put_back(worker, list(worker.queue.values()))
        if call.id in worker.reading.begun:
            await self._processes.stop(worker.name, call.stop_reason, grace_ms)

    def _nobody(self, call: Call) -> Worker:
        """Who stands for a worker where none has had the call: a journal of its own, so that its end is kept."""
        self._pools.withdraw(call)
        name = worker_name(self._opening, 0)
        nobody = self._workers.get(name)
        if nobody is None:
            self._telling.born(name)
            nobody = self._workers[name] = Worker(name, None, self._folder / name)
            nobody.directory.mkdir(mode=0o700, exist_ok=True)
            nobody.reading = Reading(nobody.directory)
        call.worker = nobody
        nobody.queue[call.id] = call
        return nobody

    async def follow(self) -> None:
        """Hear of their ends, until the executor of processes closes."""
        async for status in self._processes.events():
            worker = self._workers.get(status.id)
            if worker is not None:
                self._tasks.later(self._after_end(worker, status))

    async def _after_end(self, worker: Worker, status: AttemptStatus) -> None:
        """It is dead, with its whole tree: its journal is complete."""
        if self._workers.pop(worker.name, None) is None:
            return
        reading = worker.reading
        if reading is not None:
            self._telling.finish_all(worker, await asyncio.to_thread(reading.read))
            self._telling.finish_all(worker, await asyncio.to_thread(recovery.last_words, reading, status))
            self._put_back(worker, list(worker.queue.values()))
            for call in list(worker.queue.values()):
                self._telling.finish(worker, unstarted(call.id, call.stop_reason, _STOPPED, _now_ms()))
        elif worker.key is not None:
            await self._after_failed_start(worker.name, worker.key, status)
        self._pools.drop(worker)
        worker.close()
        await self._telling.died(worker.name)

    async def _after_failed_start(self, name: str, key: Key, status: AttemptStatus) -> None:
        """Another try, unless that would be no use: then the calls that wait for it end, each without having run."""
        cause = status.cause or Cause.lost
        if cause not in _FINAL and self._pools.has_connected(key):
            return  # others like it work: this one had bad luck
        self._failures[key] = self._failures.get(key, 0) + 1
        if cause not in _FINAL and self._failures[key] < _START_AT_MOST:
            return
        del self._failures[key]
        message = status.message
        if not message:
            text, _, _ = await self._processes.logs(name, "stderr", 0, _TAIL_BYTES)
            message = text.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {status.exit_code}"
        cause = cause if cause in _FINAL else Cause.exec_failed
        stand_in = Worker(name, key, self._folder / name)
        for call in self._pools.withdraw_all(key):
            stand_in.queue[call.id] = call
            end = unstarted(call.id, cause, f"no worker could be started for it: {message}", _now_ms())
            self._telling.finish(stand_in, end)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
