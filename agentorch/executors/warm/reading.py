"""A worker's journal as the runtime reads it: which calls began, which ended, and what was forbidden before.

Blocking, and called from threads; one thread at a time reads one journal.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agentorch.executors.attempt_dir import boot_id
from agentorch.executors.warm import wire
from agentorch.executors.warm.journal import JOURNAL
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause

_KILLED_BY_ITSELF = "its worker process ended amid the call"


class Reading:
    """What the journal of the worker in `directory` says, as far as it was read. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.begun: dict[str, wire.Begun] = {}  # and not ended: of a live worker, at most one
        self.taken: set[str] = set()  # durably, and not begun
        self.voided: dict[str, str] = {}  # call -> reason; not ended
        self.boot = ""
        self._fenced = False
        self._offset = 0
        self._rest = b""
        self._lock = threading.Lock()
        self._fd = os.open(directory / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def forbid(self, voids: Sequence[wire.Void], *, durable: bool) -> list[wire.Ended]:
        """Write these lines, then read on: what has begun by then, began before them. See `read`."""
        # A newline first: a worker that died may have left half a line.
        data = b"".join(b"\n%s\n" % wire.encode(void) for void in voids)
        with self._lock:
            if self._fd < 0:
                return []  # its worker is dead, and all that it did has been read
            os.write(self._fd, data)
            if durable:
                os.fdatasync(self._fd)
        return self.read()

    def sync(self) -> None:
        """Everything written so far is on disk when this returns; also when it is closed."""
        fd = os.open(self.directory / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def read(self) -> list[wire.Ended]:
        """Take in what was written since the last time; returns the calls that ended, as they are to be told."""
        with self._lock:
            if self._fd < 0:
                return []
            size = os.fstat(self._fd).st_size
            data = self._rest + os.pread(self._fd, size - self._offset, self._offset)
            self._offset = size
            *lines, self._rest = data.split(b"\n")
            ended = []
            for text in lines:
                line = wire.decode(text) if text else None
                if isinstance(line, wire.Ended):
                    ended.append(self._end(line))
                elif line is not None:
                    self._heed(line)
            return ended

    def _heed(self, line: wire.Line) -> None:
        match line:
            case wire.Begun():
                self.taken.discard(line.call)
                if not self._fenced and line.call not in self.voided:
                    self.begun[line.call] = line
            case wire.Void(call=""):
                self._fenced = True
            case wire.Void():
                self.taken.discard(line.call)
                self.voided[line.call] = self.voided.get(line.call) or line.reason
            case wire.Taken():
                self.taken.update(line.calls)
            case wire.Hello():
                self.boot = line.boot

    def _end(self, end: wire.Ended) -> wire.Ended:
        self.begun.pop(end.call, None)
        reason = self.voided.pop(end.call, "")
        return msgspec.structs.replace(end, cause=reason) if reason else end

    # -- verdicts on calls that wrote no end

    def killed(self, call: str, worker: AttemptStatus, sizes: tuple[int, int]) -> wire.Ended:
        """The call ran when its worker ended; `sizes` are those of the worker's logs."""
        begun = self.begun.pop(call)
        reason = self.voided.pop(call, "")
        ended_ms = worker.ended_ms or begun.started_ms
        lost = worker.phase is AttemptPhase.lost
        late = begun.timeout_ms is not None and ended_ms - begun.started_ms >= begun.timeout_ms
        cause, message = worker.cause or Cause.lost, worker.message
        if reason:
            cause = Cause(reason)
        elif lost or cause not in (Cause.error, Cause.completed):
            pass  # the worker's own verdict is the call's
        elif worker.signal is not None and late:
            cause, message = Cause.timeout, f"ran longer than {begun.timeout_ms} ms"
        else:
            cause, message = Cause.error, message or _KILLED_BY_ITSELF
        return wire.Ended(
            call=call,
            started_ms=begun.started_ms,
            ended_ms=ended_ms,
            cause=cause,
            exit_code=worker.exit_code,
            message=message,
            result="",
            cpu_ms=max(0, worker.usage.cpu_ms - begun.cpu_ms),
            memory_peak_bytes=worker.usage.memory_peak_bytes,
            leftovers=worker.leftovers,
            stdout=begun.stdout,
            stderr=begun.stderr,
            stdout_end=sizes[0],
            stderr_end=sizes[1],
            signal=worker.signal,
            lost=lost,
        )

    def vanished(self) -> list[str]:
        """Calls that came in before the machine restarted, and of which nothing more reached the disk."""
        return sorted(self.taken) if self.boot != boot_id() else []


def unstarted(call: str, reason: str, message: str, at_ms: int, *, lost: bool = False) -> wire.Ended:
    """The end of a call that never ran, or of which nobody knows whether it did (`lost`)."""
    return wire.Ended(
        call=call,
        started_ms=None,
        ended_ms=at_ms,
        cause=reason,
        exit_code=None,
        message=message,
        result="",
        cpu_ms=0,
        memory_peak_bytes=0,
        leftovers=0,
        stdout=0,
        stderr=0,
        stdout_end=0,
        stderr_end=0,
        lost=lost,
    )
