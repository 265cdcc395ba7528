"""The process of a warm worker: takes calls from the runtime over a socket, and makes them one after the other.

Imports only the standard library and agentorch's own files of that kind. Needs nobody: what it runs when the runtime
goes away it runs to its end, writes that down, and exits.

Orders that others rely on: a call's first line before the call; its last line before anybody is told; the line of a
newer opening is looked for at every line of its own, so nothing of an older one begins after it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import Any, Final

from agentorch.executors.attempt_dir import boot_id
from agentorch.executors.records import DIRECTORY_VARIABLE
from agentorch.executors.warm.calling import Caller, Outcome
from agentorch.executors.warm.journal import OPENING, SOCKET_PREFIX, Journal, opening_of

_CHUNK_BYTES: Final = 1 << 18


def main(name: str, epoch: int, stop_signal: str) -> None:
    """Serve the runtime of this epoch until it lets go, or is gone, or is not the newest any more."""
    home = os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    sys.path[:1] = [home] if sys.path[:1] == [""] else [home, *sys.path[:1]]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    _Worker(name, epoch, int(signal.Signals[stop_signal])).serve()
    # Not a return: atexit functions and threads of modules that were imported must not keep this process alive.
    os._exit(0)


class _Worker:
    def __init__(self, name: str, epoch: int, stop_signal: int) -> None:
        self._directory = os.environ[DIRECTORY_VARIABLE]
        self._name = name
        self._epoch = epoch
        self._journal = Journal(self._directory)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._logs = (os.dup(1), os.dup(2))
        self._read = self._log_sizes()
        self._caller = Caller(stop_signal)
        self._queue: deque[list[Any]] = deque()
        self._partial = b""
        self._outbox = b""
        self._ended = ""  # the last line of the call before, not written yet
        self._void: set[str] = set()
        self._fenced = False  # nothing may begin any more
        self._over = False  # this process is to end

    def serve(self) -> None:
        hello = f"{json.dumps(['w', self._epoch, self._name, boot_id()])}\n"
        # A newer opening is written down first, then looks for journals: one of the two looks sees the other.
        opening = opening_of(self._name)
        if self._journal.append(hello) or self._newest_opening() != opening:
            return
        beside = os.open(f"{self._directory}/..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The path of a socket has room for 108 bytes, the directory may be anywhere.
        self._socket.connect(f"/proc/self/fd/{beside}/{SOCKET_PREFIX}{opening}")
        os.close(beside)
        self._socket.setblocking(False)
        self._tell(hello)
        while not self._over and (self._queue or self._receive()):
            if self._queue and not self._over:
                self._take_next()
        if self._ended:
            self._write_end()

    # -- calls

    def _take_next(self) -> None:
        call, name, args, kwargs, environment, timeout_ms, grace_ms = self._queue.popleft()
        started_ms = time.time_ns() // 1_000_000
        before_ns = time.process_time_ns()
        begin = json.dumps(["s", call, started_ms, *self._read, timeout_ms, before_ns // 1_000_000])
        ended, self._ended = self._ended, ""
        # One write for the end of one call and the beginning of the next: half the cost of both.
        self._heed(self._journal.append(f"{ended}{begin}\n"))
        if ended:
            self._tell(ended)
        if self._fenced or call in self._void:
            return
        began = time.monotonic()
        outcome = self._caller.call(name, args, kwargs, environment, timeout_ms, grace_ms)
        if timeout_ms is not None and (time.monotonic() - began) * 1000 >= timeout_ms:
            outcome = outcome._replace(cause="timeout", message=f"ran longer than {timeout_ms} ms")
        leftovers = self._caller.end_leftovers()
        cpu_ms = (time.process_time_ns() - before_ns) // 1_000_000
        self._ended = self._end_line(call, started_ms, outcome, cpu_ms, leftovers)
        if leftovers or self._caller.has_new_threads():
            # What modules keep was ended with the rest, or can't be ended: only a new process is clean.
            self._over = True
        if not self._queue or self._over:
            self._write_end()

    def _end_line(self, call: str, started_ms: int, outcome: Outcome, cpu_ms: int, leftovers: int) -> str:
        began_at, self._read = self._read, self._log_sizes()
        cause, code, message, result = outcome
        line = [
            "e",
            call,
            None if cause == "exec_failed" else started_ms,
            time.time_ns() // 1_000_000,
            cause,
            code,
            message,
            result,
            cpu_ms,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            leftovers,
            *began_at,
            *self._read,
        ]
        return f"{json.dumps(line)}\n"

    def _write_end(self) -> None:
        ended, self._ended = self._ended, ""
        self._heed(self._journal.append(ended))
        self._tell(ended)

    def _heed(self, lines: list[list[Any]]) -> None:
        """What the runtime wrote into the journal since the last line."""
        for kind, call, *_ in lines:
            if kind == "v" and call:
                self._void.add(call)
            elif kind == "v":
                self._fenced = self._over = True

    def _log_sizes(self) -> tuple[int, int]:
        return os.fstat(self._logs[0]).st_size, os.fstat(self._logs[1]).st_size

    def _newest_opening(self) -> int:
        with open(f"{self._directory}/../{OPENING}", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read())

    # -- the runtime

    def _receive(self) -> bool:
        """Wait for calls; False: there will be none. Without a call to make, this is where the worker waits."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        for _fd, event in poll.poll():
            if event & select.POLLOUT:
                self._tell("")
            if event & ~select.POLLOUT:
                try:
                    chunk = self._socket.recv(_CHUNK_BYTES)
                except ConnectionError:
                    chunk = b""
                if not chunk:
                    return False
                self._take_in(chunk)
        return True

    def _take_in(self, chunk: bytes) -> None:
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            durable, calls = json.loads(line)
            self._queue.extend(calls)
            if durable:
                self._heed(self._journal.append(f"{json.dumps(['t', [call[0] for call in calls]])}\n"))
                self._journal.sync()
        if lines and self._caller.is_stale():
            self._over = True  # nothing of it has begun: the runtime gives it to another worker

    def _tell(self, line: str) -> None:
        """Without ever waiting: a runtime that does not listen reads the journal later."""
        self._outbox += line.encode()
        try:
            sent = self._socket.send(self._outbox)
        except BlockingIOError:
            return
        except OSError:
            self._over = True  # it is gone; what has begun is run to its end
            return
        self._outbox = self._outbox[sent:]
