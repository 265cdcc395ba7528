"""The Slurm executor: each attempt is a batch job, whose guard runs the same shim as on one machine.

This file holds the waiting, on the event loop. How an attempt ended is read from its directory; whether it can still
be running is asked of Slurm, for all attempts at once, and given up only as `_Doubt` says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.batches import Batcher
from agentorch.executors.environment import default_environment
from agentorch.executors.look import Found, Sight
from agentorch.executors.records import STREAMS
from agentorch.executors.retention import KEEP, keep_tidy
from agentorch.executors.slurm.batch import Submission, submission
from agentorch.executors.slurm.doubt import Watch, cause_of, is_over
from agentorch.executors.slurm.names import job_name
from agentorch.executors.slurm.nodes import SlurmNodes
from agentorch.executors.slurm.options import SlurmOptions
from agentorch.executors.slurm.store import Grave, SharedStore
from agentorch.executors.slurm.tools import SlurmJob, SlurmTools
from agentorch.executors.store import StopRequest
from agentorch.executors.stream import EventStream
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.jobs import Cause

log = logging.getLogger(__name__)

_THREADS: Final = 6
_POLL_MIN_S: Final = 0.05
_POLL_GROWTH: Final = 1.5
_QUERY_MIN_S: Final = 1.0
_KILL_PATIENCE_S: Final = 30.0  # beyond its grace, before Slurm is told to end what our shim should have ended

Result = TypeVar("Result")


class SlurmExecutor:
    """Runs each attempt as a batch job. Keeps `agentorch.executors.contract.Executor`.

    `root` holds the attempt directories, on a file system that this machine and all nodes share, under one path, with
    locks and links (NFS v4, Lustre with `flock`, GPFS). An attempt that waits in Slurm's queue is `running` without a
    start. Every method raises ExecutorError when the executor is not open, or when a newer epoch has opened its root.
    """

    name = "slurm"

    def __init__(
        self, root: Path, options: SlurmOptions | None = None, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._options = options or SlurmOptions()
        self._store = SharedStore(root, default_environment() if environment is None else dict(environment))
        self._tools = SlurmTools(self._options)
        self._stream = EventStream()
        self._watched: dict[str, Watch] = {}
        self._launching: dict[str, asyncio.Task[AttemptStatus]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._nodes = SlurmNodes(self._tools, self._options.poll_s)
        self._is_open = False

    # -- the contract

    async def open(self, epoch: int) -> None:
        if self._is_open:
            raise ExecutorError("this executor is open already")
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="slurm")
        try:
            self._tools.check()
            await self._threaded(self._store.open, epoch)
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
        self._stop: Batcher[StopRequest, Found] = Batcher(store.stop, pool)
        self._submit: Batcher[Submission, str] = Batcher(self._tools.submit_each, pool)
        self._query: Batcher[None, list[SlurmJob]] = Batcher(self._tools.jobs_for, pool)
        self._is_open = True
        self._later(self._poll())
        self._later(self._question_now_and_then())
        self._later(keep_tidy(store, self._stream, KEEP, pool))

    async def nodes(self) -> list[NodeInfo]:
        """See `Executor.nodes`. While Slurm does not answer: those known, in doubt; NodeUnreachable if none is."""
        self._require_open()
        await self._threaded(self._nodes.refresh)
        return self._nodes.used()

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        """See `Executor.launch`. What waits in Slurm's queue for longer than `start_wait_s` is told as `running`."""
        self._require_open()
        for spec in attempts:
            if spec.id not in self._launching:
                self._launching[spec.id] = asyncio.create_task(self._launch(spec))
        # Waited for, not cancelled: a caller that gives up must not leave a launch half done.
        tasks = [self._launching[spec.id] for spec in attempts]
        if tasks:
            await asyncio.wait(tasks)
        for failure in [task.exception() for task in tasks]:
            if failure is not None:
                raise failure
        return [task.result() for task in tasks]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        """See `Executor.stop`. `reason` is a `Cause`. What waits in Slurm's queue ends at once, without having run."""
        self._require_open()
        if reason not in set(Cause):
            raise ExecutorError(f"attempt {attempt}: can't stop it for {reason!r}; a reason is one of {list(Cause)}")
        grace_ms = max(0, min(grace_ms, limits.STOP_GRACE_CAP_MS))
        was_watched = attempt in self._watched
        found = await self._stop.submit(StopRequest(attempt, reason, grace_ms))
        if attempt in self._watched or not was_watched:  # else its end was told meanwhile
            self._take_in(found)
        watch = self._watched.get(attempt)
        if watch is not None and found.sight is Sight.running:
            kill_at = time.monotonic() + grace_ms / 1_000 + _KILL_PATIENCE_S
            watch.kill_at = kill_at if watch.kill_at is None else min(watch.kill_at, kill_at)
            self._later(self._cancel(attempt, gently=True))
        elif was_watched:
            self._later(self._cancel(attempt, gently=False))  # it may wait in the queue for nothing

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        self._require_open()
        await self._threaded(self._store.check_epoch)
        return list(await asyncio.gather(*(self._inspect(attempt) for attempt in attempts)))

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        return self._stream.follow(cursor)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        self._require_open()
        if stream not in STREAMS:
            raise ExecutorError(f"attempt {attempt}: no log {stream!r}; there are {list(STREAMS)}")
        limit = max(0, min(limit, limits.LOG_PAGE_BYTES))
        try:
            return await self._threaded(self._store.log, attempt, stream, max(0, offset), limit)
        except OSError as error:
            raise ExecutorError(f"attempt {attempt}: can't read its {stream}: {error}") from error

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        """How many of Slurm's nodes of this type to use. They are Slurm's: they are let go of and taken back, no more.

        Raises ProvisioningError if Slurm has fewer than `target`.
        """
        self._require_open()
        await self._threaded(self._nodes.refresh)
        self._nodes.use(pool, target, remove)

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        tasks = [*self._launching.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watched.clear()
        self._stream.close()
        await asyncio.to_thread(self._pool.shutdown)
        self._store.close()

    # -- one attempt

    async def _launch(self, spec: AttemptSpec) -> AttemptStatus:
        # What is "not durable" may live in one machine's memory, where another one would not find it.
        whole = msgspec.structs.replace(spec, durable=True)
        try:
            if spec.entry is not None:
                grave = Grave(spec.id, Cause.exec_failed, "a function needs a warm worker, which pilots have")
                found = await self._threaded(self._store.refuse, grave)
            else:
                found = await self._prepare.submit(whole)
            if found.sight is not Sight.unclaimed:
                self._take_in(found)
                return found.status
            watch = self._watched.get(spec.id)
            if watch is None:
                watch = self._watch(spec.id)
                self._later(self._ask(whole, watch))
            self._wake.set()
            try:
                async with asyncio.timeout(self._options.start_wait_s):
                    return await asyncio.shield(watch.started)
            except TimeoutError:
                return AttemptStatus(id=spec.id, phase=AttemptPhase.running)
        finally:
            del self._launching[spec.id]

    async def _ask(self, spec: AttemptSpec, watch: Watch) -> None:
        """Have it queued by Slurm, however long that takes; unless an earlier runtime has, or it is stopped before."""
        name, pause = job_name(self._store.name, spec.id), _QUERY_MIN_S
        request = submission(
            spec,
            name=name,
            directory=self._store.path(spec.id),
            partition=self._nodes.type_of(spec.node),
            options=self._options,
        )
        while self._watched.get(spec.id) is watch:
            try:
                if not await self._threaded(self._store.was_submitted, spec.id):
                    await self._threaded(self._store.submitting, spec.id)
                    await self._submit.submit(request)
                elif not await self._is_live(name):
                    await self._submit.submit(request)
                watch.queued_at = time.monotonic()
                return
            except NodeUnreachable:
                # Nothing is known; it is asked again, by name first. Two jobs of one name would run it once.
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._options.query_s)
            except (ExecutorError, OSError) as error:
                grave = Grave(spec.id, Cause.no_capacity, f"Slurm did not take it: {error}")
                self._take_in(await self._threaded(self._store.refuse, grave))

    async def _is_live(self, name: str) -> bool:
        """Whether Slurm has a job of that name in its queue, or runs one. Raises NodeUnreachable."""
        return any(job.name == name and job.is_live for job in await self._query.submit(None))

    async def _inspect(self, attempt: str) -> AttemptStatus:
        found = await self._settle.submit(attempt)
        if found.sight is Sight.unclaimed:
            if await self._may_begin(attempt):
                self._watched.get(attempt) or self._watch(attempt, queued=True)
                return AttemptStatus(id=attempt, phase=AttemptPhase.running)
            found = await self._fence.submit(attempt)
        elif found.sight is Sight.missing:
            found = await self._fence.submit(attempt)
        self._take_in(found, tell=False)
        return found.status

    async def _may_begin(self, attempt: str) -> bool:
        """Whether Slurm has it in its queue, as far as anybody can know."""
        if attempt in self._watched:
            return True
        if not await self._threaded(self._store.was_submitted, attempt):
            return False
        try:
            return await self._is_live(job_name(self._store.name, attempt))
        except NodeUnreachable:
            return True

    async def _cancel(self, attempt: str, *, gently: bool) -> None:
        """Tell Slurm. What it does not hear now, the guard reads from the directory, and a fence does the rest."""
        name = job_name(self._store.name, attempt)
        try:
            jobs = [job.id for job in await self._query.submit(None) if job.name == name and job.is_live]
            if jobs:
                await self._threaded(self._tools.warn if gently else self._tools.cancel, jobs)
        except NodeUnreachable:
            self._wake.set()

    def _take_in(self, found: Found, *, tell: bool = True) -> None:
        """Watch what runs; tell what has ended to whoever waits for it."""
        status = found.status
        if found.sight is Sight.running:
            watch = self._watched.get(status.id) or self._watch(status.id, queued=True)
            if status.started_ms is not None and not watch.started.done():
                watch.started.set_result(status)
        elif found.sight in (Sight.ended, Sight.fenced):
            ended = self._watched.pop(status.id, None)
            if ended is not None and not ended.started.done():
                ended.started.set_result(status)
            if tell and found.sight is Sight.ended:
                self._stream.publish(status)

    def _watch(self, attempt: str, *, queued: bool = False) -> Watch:
        started: asyncio.Future[AttemptStatus] = asyncio.get_running_loop().create_future()
        watch = self._watched[attempt] = Watch(started, time.monotonic() if queued else None)
        self._wake.set()
        return watch

    # -- watching

    async def _poll(self) -> None:
        """Look for what guards have told; often while there is news, or somebody waits for some."""
        pause = _POLL_MIN_S
        while True:
            news = self._watched and await self._undisturbed(self._look())
            pause = _POLL_MIN_S if news else min(pause * _POLL_GROWTH, self._options.poll_s)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                self._wake.clear()
                pause = _POLL_MIN_S
            except TimeoutError:
                continue

    async def _question_now_and_then(self) -> None:
        """Apart from looking: a controller that does not answer must not delay what directories say."""
        while True:
            doubt = self._watched and await self._undisturbed(self._question())
            await asyncio.sleep(min(_QUERY_MIN_S, self._options.query_s) if doubt else self._options.query_s)

    async def _look(self) -> bool:
        """See which attempts have ended, or have begun while their launch waits for it; whether any has ended."""
        told = [attempt for attempt in await self._threaded(self._store.told) if attempt in self._watched]
        awaited = [attempt for attempt in self._launching if attempt in self._watched]
        seen = await self._found(dict.fromkeys([*told, *awaited]))
        for found in seen:
            if found.sight is not Sight.unclaimed and found.status.id in self._watched:
                self._take_in(found)
        return bool(told)

    async def _question(self) -> bool:
        """Ask Slurm which jobs there are; whether something is in doubt, or it can't be asked."""
        asked_at = time.monotonic()
        try:
            jobs = await self._query.submit(None)
        except NodeUnreachable:
            return True
        live = {job.name for job in jobs if job.is_live}
        states = {job.name: job.state for job in jobs}
        doubtful = []
        for attempt, watch in list(self._watched.items()):
            if job_name(self._store.name, attempt) in live:
                watch.settle()
                if watch.kill_at is not None and asked_at >= watch.kill_at:
                    await self._cancel(attempt, gently=False)
            elif watch.queued_at is not None and watch.queued_at < asked_at:
                doubtful.append(attempt)
        for found in await self._found(doubtful):
            await self._doubt(found, states.get(job_name(self._store.name, found.status.id), ""))
        return bool(doubtful)

    async def _doubt(self, found: Found, state: str) -> None:
        """Slurm does not run it any more: `state` is what it remembers, "" = nothing."""
        attempt = found.status.id
        watch = self._watched.get(attempt)
        if watch is None:
            return
        message = f"Slurm says {state}" if state else "Slurm does not know its job any more"
        if found.sight is Sight.unclaimed:
            grave = Grave(attempt, Cause.no_capacity, f"{message}; it never began")
            found = await self._threaded(self._store.give_up, grave)
        elif found.sight is Sight.running:
            watch.doubt()
            if watch.doubts == 1:
                found = await self._stop.submit(StopRequest(attempt, cause_of(state), 0))
            elif is_over(watch, state, await self._threaded(self._store.is_held, attempt), self._options.fence_s):
                reason = await self._threaded(self._store.stop_reason, attempt)
                grave = Grave(attempt, Cause(reason or cause_of(state)), f"{message}; it left no verdict")
                found = await self._threaded(self._store.give_up, grave)
        if attempt in self._watched:  # else somebody else has told it meanwhile
            self._take_in(found)

    async def _undisturbed(self, work: Awaitable[bool]) -> bool:
        """What it says; a file system that does not answer just now is no reason to stop looking."""
        try:
            return await work
        except (ExecutorError, OSError) as error:
            log.warning("%s: %s", self.name, error)
            return True

    # -- what threads do

    async def _found(self, attempts: Iterable[str]) -> list[Found]:
        """What can be seen of each; of one that can't be looked at just now, nothing."""
        looks = await asyncio.gather(*(self._settle.submit(attempt) for attempt in attempts), return_exceptions=True)
        return [found for found in looks if isinstance(found, Found)]

    async def _threaded(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the Slurm executor stumbled", "exception": task.exception(), "task": task}
            )

    def _require_open(self) -> None:
        if not self._is_open:
            raise ExecutorError("the executor is not open")
