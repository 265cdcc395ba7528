"""The local executor: attempts on this machine, each under a shim, all of it re-found after any crash.

This file holds the waiting, on the event loop; what is true is read from attempt directories, in threads, by
`store.py`; processes are started by the zygote, through `spawner.py`. Nothing here polls: the end of a shim is a pidfd
that becomes readable, the same for shims that this runtime started and for those that it found.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from agentorch.errors import ExecutorError
from agentorch.executors.batches import Batcher
from agentorch.executors.cores import Cores
from agentorch.executors.energy import EnergyMeter, ReadEnergy, unknown
from agentorch.executors.environment import default_environment
from agentorch.executors.hardware import local_node
from agentorch.executors.look import Found, Sight, status_of
from agentorch.executors.records import STREAMS, VerdictRecord
from agentorch.executors.retention import KEEP, Keep, keep_tidy
from agentorch.executors.spawner import Spawner
from agentorch.executors.store import AttemptStore, StopRequest
from agentorch.executors.stream import EventStream
from agentorch.executors.warm.calls import WarmCalls
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.jobs import Cause
from agentorch.model.observation import DeviceSample

_THREADS: Final = 6
_ASK_AT_MOST: Final = 3
_CLOSE_PATIENCE_S: Final = 5.0


@dataclasses.dataclass
class _Launch:
    """`status` is what a launch waits for: that its program runs, or what became of it instead."""

    status: asyncio.Future[AttemptStatus]
    devices: Sequence[str]
    asked: int = 0


class LocalExecutor:
    """Runs attempts on this machine (Linux only). Keeps `agentorch.executors.contract.Executor`.

    `root` holds the attempt directories and outlives the process; `devices` are samples of the GPUs that may be used;
    `environment` replaces the base of what jobs see (PATH, HOME, LANG, USER); with `lease` nothing runs, or starts,
    unless the root's lease holds (`agentorch.executors.lease`); `energy` reads what GPUs drew so far; `keep` says
    how many ended attempts stay on disk, None = all. Every method raises ExecutorError when the executor is not open,
    or when a newer epoch has opened its root.
    """

    name = "local"

    def __init__(
        self,
        root: Path,
        *,
        node: str = "local",
        devices: Sequence[DeviceSample] = (),
        environment: Mapping[str, str] | None = None,
        lease: bool = False,
        entries: bool = True,
        energy: ReadEnergy = unknown,
        keep: Keep | None = KEEP,
    ) -> None:
        self._node = node
        self._devices = tuple(devices)
        base = default_environment() if environment is None else dict(environment)
        self._store = AttemptStore(root, base, lease=lease)
        self._spawner = Spawner(root / "zygote.log", self)
        self._stream = EventStream()
        self._cores = Cores(os.sched_getaffinity(0) if sys.platform == "linux" else ())
        self._energy = EnergyMeter(energy)
        self._keep = keep
        self._watched: dict[str, int] = {}  # attempt -> pidfd of its shim
        self._launching: dict[str, _Launch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._theirs: set[str] = set()  # being fenced or stopped, so no warm worker may have them
        self._warm: WarmCalls | None = None
        if entries:
            self._warm = WarmCalls(
                root,
                lambda folder: LocalExecutor(
                    folder, node=node, environment=base, lease=lease, entries=False, keep=None
                ),
                self._stream,
                self._is_elsewhere,
            )

    # -- the contract

    async def open(self, epoch: int) -> None:
        if sys.platform != "linux":
            raise ExecutorError(f"the local executor needs Linux (pidfd, subreaper, /proc); this is {sys.platform}")
        if self._is_open:
            raise ExecutorError("this executor is open already")
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="executor")
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._store.open, epoch)
            await self._spawner.start()
        except OSError as error:
            self._pool.shutdown()
            raise ExecutorError(f"can't open {self._store.root}: {error}") from error
        except ExecutorError:
            self._pool.shutdown()
            raise
        store, pool = self._store, self._pool
        self._prepare: Batcher[AttemptSpec, Found] = Batcher(store.prepare, pool)
        self._settle: Batcher[str, Found] = Batcher(store.settle, pool)
        self._fence: Batcher[str, Found] = Batcher(store.fence, pool)
        self._abandon: Batcher[str, Found] = Batcher(store.abandon, pool)
        self._bury: Batcher[str, Found] = Batcher(store.bury, pool)
        self._stop: Batcher[StopRequest, Found] = Batcher(store.stop, pool)
        self._is_open = True
        if self._keep is not None:
            self._later(keep_tidy(store, self._stream, self._keep, pool))
        if self._warm is not None:
            try:
                await self._warm.open(epoch)
            except (ExecutorError, OSError) as error:
                await self.close()
                raise ExecutorError(f"can't open the warm workers of {self._store.root}: {error}") from error

    async def nodes(self) -> list[NodeInfo]:
        return [local_node(self._node, self._devices)]

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        self._require_open()
        if self._warm is not None and any(spec.entry is not None for spec in attempts):
            return await self._launch_mixed(self._warm, attempts)
        for spec in attempts:
            if spec.id not in self._launching:
                self._begin(spec)
        # Waited for, not cancelled: a caller that gives up must not leave a launch half done.
        outcomes = [self._launching[spec.id].status for spec in attempts]
        if outcomes:
            await asyncio.wait(outcomes)
        for failure in [outcome.exception() for outcome in outcomes]:
            if failure is not None:
                raise failure
        return [outcome.result() for outcome in outcomes]

    async def _launch_mixed(self, warm: WarmCalls, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        entries = [spec for spec in attempts if spec.entry is not None]
        commands = asyncio.ensure_future(self.launch([spec for spec in attempts if spec.entry is None]))
        try:
            told = await warm.launch(entries)
        finally:
            others = await commands
        statuses = {status.id: status for status in [*others, *told] if status is not None}
        return [statuses.get(spec.id) or await self._inspect(spec.id) for spec in attempts]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        """See `Executor.stop`. `reason` is a `Cause`. What has not started yet ends at once, without having run."""
        self._require_open()
        if reason not in set(Cause):
            raise ExecutorError(f"attempt {attempt}: can't stop it for {reason!r}; a reason is one of {list(Cause)}")
        grace_ms = max(0, min(grace_ms, limits.STOP_GRACE_CAP_MS))
        if self._warm is None or not await self._warm.stop(attempt, reason, grace_ms):
            with self._as_ours(attempt):
                await self._absorb(attempt, self._stop.submit(StopRequest(attempt, reason, grace_ms)))

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        self._require_open()
        return list(await asyncio.gather(*(self._inspect(attempt) for attempt in attempts)))

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        return self._stream.follow(cursor)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        self._require_open()
        if stream not in STREAMS:
            raise ExecutorError(f"attempt {attempt}: no log {stream!r}; there are {list(STREAMS)}")
        limit = max(0, min(limit, limits.LOG_PAGE_BYTES))
        if self._warm is not None and self._warm.status(attempt) is not None:
            return await self._warm.logs(attempt, stream, max(0, offset), limit)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._store.log, attempt, stream, max(0, offset), limit)
        except OSError as error:
            raise ExecutorError(f"attempt {attempt}: can't read its {stream}: {error}") from error

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        """Nothing to do: workers are shares of this one machine."""

    async def close(self) -> None:
        if not self._is_open:
            return
        if self._launching:
            outcomes = [launch.status for launch in self._launching.values()]
            await asyncio.wait(outcomes, timeout=_CLOSE_PATIENCE_S)
        self._is_open = False
        if self._warm is not None:
            await self._warm.close()
        # Whoever brings news first: what is looked up because of it is among the tasks then.
        await self._spawner.close()
        for attempt in list(self._watched):
            self._unwatch(attempt)
        for launch in self._launching.values():
            launch.status.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stream.close()
        await asyncio.to_thread(self._pool.shutdown)
        self._store.close()

    @property
    def zygote_pid(self) -> int:
        """Of the process that forks the shims; 0 while it is being replaced."""
        return self._spawner.pid

    # -- what the spawner hears

    def on_handed(self, attempt: str, pidfd: int) -> None:
        self._watch(attempt, pidfd)

    def on_started(self, attempt: str, started_ms: int) -> None:
        self._resolve(AttemptStatus(id=attempt, phase=AttemptPhase.running, started_ms=started_ms))
        if attempt not in self._watched:
            # Its zygote died between forking it and saying so.
            self._later(self._find_out(attempt, self._settle.submit(attempt)))

    def on_ended(self, attempt: str, verdict: VerdictRecord | None) -> None:
        if verdict is not None:
            self._take_in(Found(Sight.ended, status_of(attempt, verdict)))
            return
        if attempt in self._watched:
            self._unwatch(attempt)
        self._later(self._find_out(attempt, self._settle.submit(attempt)))

    def on_failed(self, attempt: str) -> None:
        self._later(self._find_out(attempt, self._abandon.submit(attempt)))

    def on_restarted(self) -> None:
        for attempt, launch in self._launching.items():
            if launch.asked and attempt not in self._watched:
                self._ask(attempt, launch)

    # -- one attempt

    def _begin(self, spec: AttemptSpec) -> None:
        """Its directory first, then its shim; what comes of that is a callback, because a task each would cost more."""
        launch = _Launch(asyncio.get_running_loop().create_future(), spec.devices)
        self._launching[spec.id] = launch
        bound = msgspec.structs.replace(spec, cores=self._cores.take(spec.id, spec.cpu_milli))
        self._prepare.submit(bound).add_done_callback(partial(self._on_prepared, spec.id, launch))

    def _on_prepared(self, attempt: str, launch: _Launch, prepared: asyncio.Future[Found]) -> None:
        if prepared.exception() is None and prepared.result().sight is Sight.unclaimed:
            self._energy.start(attempt, launch.devices)
            self._ask(attempt, launch)
        else:
            self._later(self._find_out(attempt, prepared))

    def _ask(self, attempt: str, launch: _Launch) -> None:
        launch.asked += 1
        self._spawner.ask(self._store.path(attempt))

    async def _inspect(self, attempt: str) -> AttemptStatus:
        called = self._warm.status(attempt) if self._warm is not None else None
        if called is not None:
            return called
        launching = self._launching.get(attempt)
        if launching is not None:
            await asyncio.wait([launching.status])  # it must not be fenced by its own runtime
        with self._as_ours(attempt):
            found = await self._known(attempt, self._fence.submit(attempt))
        self._take_in(found, tell=False)
        return found.status

    @contextlib.contextmanager
    def _as_ours(self, attempt: str) -> Iterator[None]:
        """Until it has a directory, this alone keeps a warm worker from beginning it."""
        self._theirs.add(attempt)
        try:
            yield
        finally:
            self._theirs.discard(attempt)

    def _is_elsewhere(self, attempt: str) -> bool:
        return attempt in self._theirs or os.access(self._store.path(attempt), os.F_OK)

    async def _known(self, attempt: str, look: Awaitable[Found]) -> Found:
        """What was seen; a dead attempt is buried first."""
        found = await look
        return await self._bury.submit(attempt) if found.sight is Sight.dead else found

    async def _absorb(self, attempt: str, look: Awaitable[Found]) -> None:
        self._take_in(await self._known(attempt, look))

    def _take_in(self, found: Found, *, tell: bool = True) -> None:
        """Watch what runs; tell what has ended to whoever waits for it."""
        status = found.status
        if found.sight is Sight.running:
            self._watch(status.id, found.pidfd)
            self._resolve(status)
        elif found.sight in (Sight.ended, Sight.fenced):
            if status.id in self._watched:
                self._unwatch(status.id)
            self._cores.release(status.id)
            status = self._energy.end(status)
            self._resolve(status)
            if tell and found.sight is Sight.ended:
                self._stream.publish(status)

    def _resolve(self, status: AttemptStatus) -> None:
        launch = self._launching.pop(status.id, None)
        if launch is not None and not launch.status.done():
            launch.status.set_result(status)

    # -- watching

    def _watch(self, attempt: str, pidfd: int) -> None:
        if attempt in self._watched or not self._is_open:
            os.close(pidfd)
            return
        self._watched[attempt] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._on_exit, attempt)

    def _unwatch(self, attempt: str) -> None:
        pidfd = self._watched.pop(attempt)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)

    def _on_exit(self, attempt: str) -> None:
        self._unwatch(attempt)
        self._later(self._find_out(attempt, self._settle.submit(attempt)))

    async def _find_out(self, attempt: str, look: Awaitable[Found]) -> None:
        """Take in what became of it; what can't be found out is raised where its launch is waited for, if it is."""
        try:
            found = await self._known(attempt, look)
            if found.sight is Sight.unclaimed:
                # Its shim died before it could claim the attempt. Maybe its zygote died amid handing it over; but
                # where nothing can be claimed (a full disk), asking for ever would help nobody.
                launch = self._launching.get(attempt)
                if launch is not None and launch.asked < _ASK_AT_MOST:
                    self._ask(attempt, launch)
                    return
                found = await self._known(attempt, self._abandon.submit(attempt))
        except Exception as error:
            launch = self._launching.pop(attempt, None)
            if launch is None:
                raise
            self._cores.release(attempt)
            launch.status.set_exception(error)
            launch.status.exception()  # seen: who launched it may have given up waiting, and is told of it no more
        else:
            self._take_in(found)

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Nobody awaits this: the loop's handler logs it. The attempt stays as its directory says.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an attempt's end could not be read", "exception": task.exception(), "task": task}
            )

    def _require_open(self) -> None:
        if not self._is_open:
            raise ExecutorError("the executor is not open")
