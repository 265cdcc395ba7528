"""The root directory of a local executor: the epoch, and every attempt directory below it.

Blocking, and called from threads only; each method takes a batch, so that a batch shares one sync. Must never start a
process: it only says which ones are to be started.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from agentorch.errors import EpochOver, ExecutorError
from agentorch.executors import processes
from agentorch.executors.attempt_dir import AttemptDirectory, boot_id, create, write_whole
from agentorch.executors.environment import build_environment
from agentorch.executors.lease import LEASE
from agentorch.executors.logs import log_end, read_log
from agentorch.executors.look import Found, Sight, look, lost_verdict, status_of, unseen_verdict
from agentorch.executors.records import EPOCH, STOP, VERDICT, LaunchRecord, StopRecord
from agentorch.executors.tidy import remove_tree
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.jobs import Cause

_SCRATCH: Final = ".new"
_NAME_MAX_BYTES: Final = 200

Item = TypeVar("Item")
Result = TypeVar("Result")


class StopRequest(NamedTuple):
    attempt: str
    reason: str
    grace_ms: int


class AttemptStore:
    """`environment` is the base of what every attempt sees; with `lease` it runs only while the root's lease does."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, lease: bool = False) -> None:
        self.root = root
        self._lease = lease
        self._environment = environment
        self._epoch = -1
        self._boot = ""
        self._root_fd = -1
        self._scratch_fd = -1

    def open(self, epoch: int) -> None:
        """Take the root for this epoch, durably. Raises ExecutorError if a newer one has it."""
        (self.root / _SCRATCH).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = self.root.resolve()
        self._root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._root_fd, fcntl.LOCK_EX)  # two openings at once must not both read the older epoch
        try:
            stored = self._stored_epoch()
            if stored > epoch:
                raise EpochOver(f"epoch {epoch} is over: {self.root} was opened by epoch {stored}")
            write_whole(self._root_fd, EPOCH, json.dumps(epoch).encode(), durable=True)
        except BaseException:
            self.close()
            raise
        fcntl.flock(self._root_fd, fcntl.LOCK_UN)
        remove_tree(_SCRATCH, self._root_fd)  # what a killed runtime was building
        (self.root / _SCRATCH).mkdir(mode=0o700, exist_ok=True)
        self._scratch_fd = os.open(self.root / _SCRATCH, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._epoch = epoch
        self._boot = boot_id()

    def close(self) -> None:
        for fd in (self._root_fd, self._scratch_fd):
            if fd >= 0:
                os.close(fd)
        self._root_fd = self._scratch_fd = -1

    def path(self, attempt: str) -> str:
        """The attempt's directory. Raises ExecutorError for an id that can't name one."""
        strange = not attempt or attempt.startswith(".") or set(attempt) & set("/\0\n ")
        if strange or len(attempt.encode()) > _NAME_MAX_BYTES:
            raise ExecutorError(f"attempt {attempt!r}: not a name for a directory")
        return f"{self.root}/{attempt}"

    # -- batches; a `dead` attempt in an answer is to be buried next, which may take long

    def prepare(self, specs: Sequence[AttemptSpec]) -> list[Found | Exception]:
        """Make each attempt's directory, or find out what became of it. `unclaimed` ones are to be asked for."""
        self._check_epoch()
        durable = False

        def one(spec: AttemptSpec) -> Found:
            nonlocal durable
            path = self.path(spec.id)
            problem = _problem(spec)
            if problem:
                return self._end_unstarted(spec.id, Cause.exec_failed, problem)
            if not create(self._root_fd, self._scratch_fd, spec.id, self._record(spec, path)):
                return self._look(spec.id)
            durable = durable or spec.durable
            return Found(Sight.unclaimed, AttemptStatus(id=spec.id, phase=AttemptPhase.absent))

        results = _each(specs, one)
        if durable:
            os.fsync(self._root_fd)
        return results

    def settle(self, attempts: Sequence[str]) -> list[Found | Exception]:
        """What can be seen of each attempt."""
        return _each(attempts, self._look)

    def fence(self, attempts: Sequence[str]) -> list[Found | Exception]:
        """As `settle`, but what has not started yet never will."""
        self._check_epoch()
        return _each(attempts, self._fenced)

    def abandon(self, attempts: Sequence[str]) -> list[Found | Exception]:
        """As `fence`, for attempts whose shim could not be started: those end, without having run."""

        def one(attempt: str) -> Found:
            return self._end_unstarted(attempt, Cause.no_capacity, "no process could be started for it")

        return _each(attempts, one)

    def stop(self, requests: Sequence[StopRequest]) -> list[Found | Exception]:
        """Leave each request in the directory, durably, then tell the shim; end what has not started yet."""
        self._check_epoch()
        return _each(requests, self._stop)

    def bury(self, attempts: Sequence[str]) -> list[Found | Exception]:
        """Their shims are dead: kill what is left of them, and only then say that they are lost."""
        killed = processes.sweep({self.path(attempt) for attempt in attempts})

        def one(attempt: str) -> Found:
            with AttemptDirectory(self.path(attempt)) as directory:
                directory.fence()  # a claim may be missing after a power cut
                verdict = lost_verdict(directory, self._boot, killed if len(attempts) == 1 else 0)
                directory.write(VERDICT, verdict, durable=True)
            return Found(Sight.ended, status_of(attempt, verdict))

        return _each(attempts, one)

    def forget(self, attempts: Sequence[str]) -> None:
        """Remove the directories of those that have ended, or never will begin; from then on they are unknown here.

        They go out of sight whole: a directory that lost its verdict first would look like an attempt that was lost.
        """
        self._check_epoch()
        for attempt in attempts:
            found = self._look(attempt)
            if found.pidfd >= 0:
                os.close(found.pidfd)
            if found.sight in (Sight.ended, Sight.fenced):
                gone = f"{attempt}.gone"
                remove_tree(gone, self._scratch_fd)  # another runtime on this root may have been killed amid it
                with contextlib.suppress(FileNotFoundError):
                    os.rename(attempt, gone, src_dir_fd=self._root_fd, dst_dir_fd=self._scratch_fd)
                remove_tree(gone, self._scratch_fd)

    # -- one attempt

    def log(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        """See `Executor.logs`. Raises ExecutorError for an attempt that has no directory."""
        found = self._look(attempt)
        if found.sight is Sight.missing:
            raise ExecutorError(
                f"attempt {attempt}: unknown to {self.root}, or its logs were removed, as those of long ended ones are"
            )
        if found.pidfd >= 0:
            os.close(found.pidfd)
        # Looked at before the log is: what has ended by then writes no more.
        over = found.sight in (Sight.ended, Sight.fenced)
        with AttemptDirectory(self.path(attempt)) as directory:
            data, following = read_log(directory.fd, stream, offset, limit)
            end = log_end(directory.fd, stream)
        return data, following, over and following >= end

    def _look(self, attempt: str) -> Found:
        return look(self.path(attempt), attempt, self._boot)

    def _fenced(self, attempt: str) -> Found:
        while True:
            found = self._look(attempt)
            if found.sight is Sight.missing:
                create(self._root_fd, self._scratch_fd, attempt, None)
            elif found.sight is Sight.unclaimed:
                with AttemptDirectory(self.path(attempt)) as directory:
                    directory.fence()
            else:
                return found

    def _end_unstarted(self, attempt: str, cause: Cause, message: str) -> Found:
        """Fence it, and leave a verdict that says why; or what can be seen, if it did start or was fenced before."""
        found = self._look(attempt)
        if found.sight not in (Sight.missing, Sight.unclaimed):
            return found
        found = self._fenced(attempt)
        if found.sight is Sight.fenced:
            verdict = unseen_verdict(cause=cause, message=message)
            with AttemptDirectory(self.path(attempt)) as directory:
                directory.write(VERDICT, verdict, durable=True)
            return Found(Sight.ended, status_of(attempt, verdict))
        return found

    def _stop(self, request: StopRequest) -> Found:
        attempt = request.attempt
        found = self._end_unstarted(attempt, Cause(request.reason), "stopped before it started")
        if found.sight is not Sight.running:
            return found
        try:
            with AttemptDirectory(self.path(attempt)) as directory:
                earlier: StopRecord | None = directory.read(STOP)
                reason = earlier["reason"] if earlier else request.reason
                directory.write(STOP, StopRecord(reason=reason, grace_ms=request.grace_ms), durable=True)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(found.pidfd, signal.SIGTERM)
        except BaseException:
            os.close(found.pidfd)
            raise
        return found

    def _record(self, spec: AttemptSpec, path: str) -> LaunchRecord:
        return LaunchRecord(
            attempt=spec.id,
            epoch=self._epoch,
            boot_id=self._boot,
            command=list(spec.command),
            environment=build_environment(self._environment, spec, path),
            workdir=spec.workdir,
            timeout_ms=spec.timeout_ms,
            grace_ms=spec.grace_ms,
            stop_signal=spec.stop_signal,
            log_quota_bytes=spec.log_quota_bytes,
            memory_bytes=spec.memory_bytes,
            cores=list(spec.cores),
            durable=spec.durable,
            lease=f"{self.root}/{LEASE}" if self._lease else "",
        )

    # -- the epoch

    def _stored_epoch(self) -> int:
        try:
            return int((self.root / EPOCH).read_text(encoding="ascii"))
        except FileNotFoundError:
            return -1
        except ValueError as error:
            raise ExecutorError(
                f"{self.root / EPOCH} does not hold a number: who opened this last is unknown"
            ) from error

    def _check_epoch(self) -> None:
        stored = self._stored_epoch()
        if stored != self._epoch:
            raise EpochOver(f"epoch {self._epoch} is over: {self.root} was opened by epoch {stored}")


def _problem(spec: AttemptSpec) -> str:
    """Why this can't be executed at all; "" = it may be tried."""
    if not spec.command:
        return "it has no command"
    if spec.stop_signal not in signal.Signals.__members__:
        return f"{spec.stop_signal!r} is no signal here"
    return ""


def _each(items: Sequence[Item], one: Callable[[Item], Result]) -> list[Result | Exception]:
    """One result for each item; what went wrong with one of them is its own result, and spares the others."""
    results: list[Result | Exception] = []
    for item in items:
        try:
            results.append(one(item))
        except ExecutorError as error:
            results.append(error)
        except OSError as error:
            wrapped = ExecutorError(f"attempt {getattr(item, 'id', item)}: {error}")
            wrapped.__cause__ = error
            results.append(wrapped)
    return results
