"""Which worker makes which call: workers by key, started on demand, kept warm for a while, and let go.

A call is sent ahead, so that a worker never waits for the runtime between two of them. One that then waits behind a
long call is taken back, by a line in the journal, and made by another worker: as many run at once as were ordered.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from agentorch.executors.warm.link import Call, Key, Worker
from agentorch.model import limits

#: A worker whose call takes longer than this is given no more, and those behind it are taken back.
BLOCKED_S: Final = 0.1
IDLE_LOOK_S: Final = 5.0


class Host(Protocol):
    """Who starts and reads the workers' processes."""

    def start(self, key: Key) -> Worker: ...

    def take_back(self, worker: Worker, calls: list[Call]) -> None:
        """Forbid these to begin there; those that have not come back to `Pools.put_back`."""


class Pool:
    """The workers of one key, and the calls that wait for one."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.workers: list[Worker] = []  # that take calls, or will when they have connected
        self.waiting: deque[Call] = deque()
        self.asked_milli = 0  # cores asked for by calls that have not ended
        self.calls = 0


class Pools:
    def __init__(self, host: Host) -> None:
        self._host = host
        self._pools: dict[Key, Pool] = {}
        self._workers = 0
        self._cores = len(os.sched_getaffinity(0))
        self._loop = asyncio.get_running_loop()
        self._tick: asyncio.TimerHandle | None = None
        self._idle_look: asyncio.TimerHandle | None = None

    def close(self) -> None:
        for timer in (self._tick, self._idle_look):
            if timer is not None:
                timer.cancel()

    # -- calls

    def add(self, calls: Iterable[Call]) -> None:
        """New calls, of any keys."""
        touched: dict[Key, Pool] = {}
        for call in calls:
            assert call.key is not None
            pool = self._pools.get(call.key)
            if pool is None:
                pool = self._pools[call.key] = Pool(call.key)
            pool.waiting.append(call)
            pool.calls += 1
            pool.asked_milli += call.cpu_milli
            touched[call.key] = pool
        for pool in touched.values():
            self._dispatch(pool)
        if self._tick is None:
            self._tick = self._loop.call_later(BLOCKED_S / 2, self._look)

    def put_back(self, calls: list[Call]) -> None:
        """These have not begun, and never will where they were: they go first."""
        for call in reversed(calls):
            call.worker = None
            call.moved = True
            assert call.key is not None
            self._pools[call.key].waiting.appendleft(call)
        for key in {call.key for call in calls if call.key is not None}:
            self._dispatch(self._pools[key])

    def forget(self, call: Call) -> None:
        """It has ended."""
        pool = self._pools.get(call.key) if call.key is not None else None
        if pool is None:
            return
        pool.calls -= 1
        pool.asked_milli -= call.cpu_milli
        if not pool.calls and not pool.workers:
            del self._pools[pool.key]

    def withdraw(self, call: Call) -> None:
        """It waits for a worker, and is not to have one."""
        assert call.key is not None
        self._pools[call.key].waiting.remove(call)

    def withdraw_all(self, key: Key) -> list[Call]:
        """Those that wait for a worker of this kind are not to have one."""
        pool = self._pools.get(key)
        if pool is None:
            return []
        calls = list(pool.waiting)
        pool.waiting.clear()
        return calls

    # -- workers

    def has_connected(self, key: Key) -> bool:
        pool = self._pools.get(key)
        return pool is not None and any(worker.connected for worker in pool.workers)

    def on_connected(self, worker: Worker) -> None:
        worker.first_since = self._loop.time()
        if worker.key is not None and worker.key in self._pools:
            self._dispatch(self._pools[worker.key])

    def on_free(self, worker: Worker) -> None:
        """It has made all its calls."""
        if worker.sent >= limits.WARM_CALLS_PER_WORKER or worker.closing:
            self.drop(worker)
            worker.let_go()
        elif worker.key is not None and self._pools[worker.key].waiting:
            self._dispatch(self._pools[worker.key])

    def drop(self, worker: Worker) -> None:
        """It takes no more calls, for whatever reason."""
        worker.closing = True
        pool = self._pools.get(worker.key) if worker.key is not None else None
        if pool is None or worker not in pool.workers:
            return
        pool.workers.remove(worker)
        self._workers -= 1
        if not pool.workers and not pool.calls:
            del self._pools[pool.key]
        else:
            self._dispatch(pool)

    def _dispatch(self, pool: Pool) -> None:
        now = self._loop.time()
        ready = [worker for worker in pool.workers if worker.takes_calls(now, BLOCKED_S)]
        if pool.waiting and ready:
            self._share_out(pool, sorted(ready, key=lambda worker: len(worker.queue)), now)
        # Not those of workers that are ending: their calls end with them, or come back first.
        calls = len(pool.waiting) + sum(len(worker.queue) for worker in pool.workers)
        wanted = min(self._cores, calls, max(1, math.ceil(pool.asked_milli / 1_000)))
        while len(pool.workers) < wanted and self._start(pool):
            pass

    def _share_out(self, pool: Pool, ready: list[Worker], now: float) -> None:
        """Everything that waits, so that all of these have about as many; but what was moved waits no second time."""
        idle = [worker for worker in ready if not worker.queue]
        kept: list[Call] = []
        while idle and pool.waiting and pool.waiting[0].moved:
            call = pool.waiting.popleft()
            free = next((worker for worker in idle if call.id not in worker.voided), None)
            if free is None:
                kept.append(call)
            else:
                idle.remove(free)
                free.send([call], now)
        fresh = [call for call in pool.waiting if not call.moved]
        kept.extend(call for call in pool.waiting if call.moved)
        pool.waiting = deque(kept)
        level = math.ceil((len(fresh) + sum(len(worker.queue) for worker in ready)) / len(ready))
        start = 0
        for worker in ready:
            room = max(0, level - len(worker.queue))
            if calls := fresh[start : start + room]:
                worker.send(calls, now)
                start += len(calls)

    def _start(self, pool: Pool) -> bool:
        starting = sum(not worker.connected for worker in pool.workers)
        if starting >= 2 * self._cores:
            return False
        if self._workers >= limits.WARM_WORKERS_MAX and not self._let_go_idlest():
            return False
        pool.workers.append(self._host.start(pool.key))
        self._workers += 1
        if self._idle_look is None:
            self._idle_look = self._loop.call_later(IDLE_LOOK_S, self._look_for_idle)
        return True

    # -- now and then

    def _look(self) -> None:
        """While there are calls: take back what is stuck, and start a worker for each that is."""
        now = self._loop.time()
        busy = False
        for pool in list(self._pools.values()):
            busy = busy or pool.calls > 0
            for worker in pool.workers:
                if len(worker.queue) > 1 and now - worker.first_since >= BLOCKED_S:
                    self._host.take_back(worker, list(worker.queue.values())[1:])
            if pool.waiting:
                self._dispatch(pool)
                missing = len(pool.waiting) - sum(not worker.connected for worker in pool.workers)
                while missing > 0 and self._start(pool):
                    missing -= 1
        self._tick = self._loop.call_later(BLOCKED_S / 2, self._look) if busy else None

    def _look_for_idle(self) -> None:
        now = self._loop.time()
        for worker in list(self._idle()):
            if now - worker.first_since >= limits.WARM_IDLE_MS / 1_000:
                self.drop(worker)
                worker.let_go()
        self._idle_look = self._loop.call_later(IDLE_LOOK_S, self._look_for_idle) if self._workers else None

    def _let_go_idlest(self) -> bool:
        idlest = min(self._idle(), key=lambda worker: worker.first_since, default=None)
        if idlest is None:
            return False
        self.drop(idlest)
        idlest.let_go()
        return True

    def _idle(self) -> Iterable[Worker]:
        workers = (worker for pool in self._pools.values() for worker in pool.workers)
        return (worker for worker in workers if worker.connected and not worker.queue and not worker.closing)
