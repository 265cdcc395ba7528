"""The runtime's end of its workers: the socket that they connect to, and what is said to each of them.

On the event loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agentorch.executors.warm import wire
from agentorch.executors.warm.journal import SOCKET_PREFIX
from agentorch.executors.warm.reading import Reading
from agentorch.model import limits

_CHUNK_BYTES: Final = 1 << 18
_BACKLOG: Final = 128


class Key(NamedTuple):
    """What a worker is for: calls that agree in all of this may share a process."""

    python: str
    workdir: str
    devices: tuple[str, ...]
    memory_bytes: int
    log_quota_bytes: int
    stop_signal: str
    environment: tuple[tuple[str, str], ...]


class Batch:
    """The calls of one launch, until all of them have ended."""

    def __init__(self) -> None:
        self.left = 0
        self.over = asyncio.Event()

    def drop(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.over.set()


class Call:
    """One attempt, until its end is told. `order` is the encoded order; `worker` None = it waits for one."""

    __slots__ = (
        "accepted_ms",
        "batch",
        "cpu_milli",
        "durable",
        "ended",
        "id",
        "key",
        "moved",
        "order",
        "stop_reason",
        "worker",
    )

    def __init__(
        self, attempt: str, key: Key | None, order: bytes, *, cpu_milli: int, durable: bool, accepted_ms: int
    ) -> None:
        self.id = attempt
        self.key = key
        self.order = order
        self.cpu_milli = cpu_milli
        self.durable = durable
        self.accepted_ms = accepted_ms
        self.batch: Batch | None = None
        self.worker: Worker | None = None
        self.stop_reason = ""  # once it is to be stopped: then its end is what the journal says
        self.moved = False  # it was with a worker before, so that it may be forbidden there
        self.ended = False


class Worker:
    """One warm process, from the order to start it until it is known to be dead."""

    def __init__(self, name: str, key: Key | None, directory: Path) -> None:
        self.name = name
        self.key = key
        self.directory = directory
        self.reading: Reading | None = None  # there is none before it has connected
        self.queue: dict[str, Call] = {}  # sent, and not ended; the first one runs
        self.first_since = 0.0  # when the first one became that, or the last one ended; of the loop's clock
        self.sent = 0
        self.closing = False  # it takes no more calls
        self.voided: set[str] = set()  # it must not be given these again
        self._socket: socket.socket | None = None
        self._outbox = b""
        self._partial = b""

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def takes_calls(self, now: float, blocked_s: float) -> bool:
        """Whether a call sent to it now would soon be made."""
        if self.closing or self._socket is None or self.sent >= limits.WARM_CALLS_PER_WORKER:
            return False
        return not self.queue or now - self.first_since < blocked_s

    def send(self, calls: Sequence[Call], now: float) -> None:
        """One message for all of them."""
        if not self.queue:
            self.first_since = now
        for call in calls:
            call.worker = self
            self.queue[call.id] = call
        self.sent += len(calls)
        self._outbox += wire.orders(any(call.durable for call in calls), [call.order for call in calls])
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while self._outbox:
                self._outbox = self._outbox[self._socket.send(self._outbox) :]
        except BlockingIOError:
            loop.add_writer(self._socket, self._flush)
            return
        except OSError:
            self._outbox = b""  # it is dying: its end says what has not begun
        loop.remove_writer(self._socket)

    def attach(self, sock: socket.socket, listener: Callable[[Worker, list[bytes]], None]) -> None:
        """It has connected: whole lines go to the listener, several at once; an empty list = it hung up."""
        self._socket = sock
        self.reading = Reading(self.directory)
        asyncio.get_running_loop().add_reader(sock, self._on_readable, sock, listener)

    def _on_readable(self, sock: socket.socket, listener: Callable[[Worker, list[bytes]], None]) -> None:
        try:
            chunk = sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.let_go()
            listener(self, [])
            return
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if lines:
            listener(self, lines)

    def let_go(self) -> None:
        """Hang up: it ends when it has nothing left to run."""
        self.closing = True
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Let go of everything that belongs to it here."""
        self.let_go()
        if self.reading is not None:
            self.reading.close()


class Door:
    """Where workers connect; each says who it is, and only then is handed to `greet`."""

    def __init__(self, folder: Path, opening: int, greet: Callable[[wire.Hello, socket.socket], None]) -> None:
        self._greet = greet
        self._path = folder / f"{SOCKET_PREFIX}{opening}"
        for old in folder.glob(f"{SOCKET_PREFIX}*"):
            old.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The path of a socket has room for 108 bytes, the folder may be anywhere.
            self._socket.bind(f"/proc/self/fd/{folder_fd}/{self._path.name}")
        finally:
            os.close(folder_fd)
        self._socket.listen(_BACKLOG)
        self._strangers: set[socket.socket] = set()
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return  # it gave up, or there are too many open files: then its start fails, and that is told
        sock.setblocking(False)
        self._strangers.add(sock)
        asyncio.get_running_loop().add_reader(sock, self._hear, sock)

    def _hear(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock)
        self._strangers.discard(sock)
        with contextlib.suppress(OSError):
            hello = wire.decode(sock.recv(_CHUNK_BYTES).rstrip(b"\n"))
            if isinstance(hello, wire.Hello):
                self._greet(hello, sock)
                return
        sock.close()

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._socket.close()
        for sock in self._strangers:
            loop.remove_reader(sock)
            sock.close()
        self._path.unlink(missing_ok=True)
