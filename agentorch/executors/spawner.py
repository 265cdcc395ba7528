"""The runtime's end of the zygote: asks for shims, hears what became of them, and replaces a zygote that died.

A dead zygote takes nothing with it: its shims live on in their own sessions and still answer over the old socket,
which is read until the last of them has closed it. Only requests that it had not read are gone, so the owner is told,
and asks again; the claim makes asking twice harmless.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Final, Protocol

import agentorch
from agentorch.executors.records import VerdictRecord
from agentorch.executors.shim import ANSWER_BYTES

_SOURCE_ROOT: Final = str(Path(agentorch.__file__).resolve().parent.parent)
_BOOTSTRAP: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentorch.executors.zygote import main; main(int(sys.argv[2]))"
)
_STOP_PATIENCE_S: Final = 5.0
_RESTART_PAUSE_S: Final = 0.5


class SpawnListener(Protocol):
    def on_handed(self, attempt: str, pidfd: int) -> None:
        """A shim will run it; the listener owns the pidfd."""

    def on_started(self, attempt: str, started_ms: int) -> None:
        """Its program runs."""

    def on_ended(self, attempt: str, verdict: VerdictRecord | None) -> None:
        """Its shim is done with it, and may live on. No verdict: its directory knows what became of it."""

    def on_failed(self, attempt: str) -> None:
        """No shim could be forked."""

    def on_restarted(self) -> None:
        """Requests that were not answered by `handed` may be gone."""


class Spawner:
    """One zygote at a time. `log` takes what the zygote and its shims write to their stderr."""

    def __init__(self, log: Path, listener: SpawnListener) -> None:
        self._log = log
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._pidfd = -1
        self._outbox: deque[bytes] = deque()
        self._restart: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int:
        """The zygote's pid; 0 = there is none just now."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the zygote. Raises OSError if no process can be started."""
        loop = asyncio.get_running_loop()
        spawning = asyncio.ensure_future(asyncio.to_thread(_spawn_zygote, self._log))
        try:
            process, sock = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # Closed meanwhile: what the thread started all the same must not be left behind.
            process, sock = await spawning
            sock.close()
            await asyncio.to_thread(_end, process)
            raise
        self._process, self._socket = process, sock
        self._sockets.add(sock)
        loop.add_reader(sock, self._on_readable, sock)
        self._pidfd = os.pidfd_open(process.pid)  # not reaped yet, so it is still its pid
        loop.add_reader(self._pidfd, self._on_death)
        self._flush()

    def ask(self, path: str) -> None:
        """Ask for a shim for this attempt directory; answers come to the listener."""
        self._outbox.append(path.encode())
        self._flush()

    async def close(self) -> None:
        """End the zygote; shims live on."""
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.wait([self._restart])
        for sock in list(self._sockets):
            self._forget(sock)
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None

    # -- callbacks of the loop

    def _flush(self) -> None:
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while self._outbox:
                self._socket.send(self._outbox[0])
                self._outbox.popleft()
        except BlockingIOError:
            loop.add_writer(self._socket, self._flush)
            return
        except OSError:
            pass  # it just died: its pidfd says so next, and what waits goes to its successor
        loop.remove_writer(self._socket)

    def _on_readable(self, sock: socket.socket) -> None:
        while True:
            try:
                message, fds, _flags, _address = socket.recv_fds(sock, ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionError:
                message, fds = b"", []
            if not message:
                self._forget(sock)
                return
            self._dispatch(message.decode(), fds)

    def _dispatch(self, message: str, fds: list[int]) -> None:
        match message.split(" ", 2):
            case ["handed", attempt]:
                if fds:  # else this process has too many files open; `started` finds the shim again
                    self._listener.on_handed(attempt, fds[0])
            case ["started", at_ms, attempt]:
                self._listener.on_started(attempt, int(at_ms))
            case ["ended", attempt, *verdict]:
                self._listener.on_ended(attempt, json.loads(verdict[0]) if verdict else None)
            case ["failed", attempt]:
                self._listener.on_failed(attempt)
            case _:
                raise AssertionError(f"the zygote said {message!r}")

    def _on_death(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        assert self._process is not None
        self._process.wait()  # it is dead: this only reaps it
        self._process = None
        if self._socket is not None:
            self._on_readable(self._socket)  # it may have answered with its last breath
            if self._socket in self._sockets:
                loop.remove_writer(self._socket)
        self._socket = None
        if not self._closed:
            self._restart = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        while True:
            try:
                await self.start()
                break
            except OSError as error:
                # No process can be started just now. Nothing is lost by waiting: what is asked for stays asked for.
                print(f"agentorch: no zygote: {error}", file=sys.stderr)  # noqa: T201
                await asyncio.sleep(_RESTART_PAUSE_S)
        self._restart = None
        self._listener.on_restarted()

    def _forget(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._sockets.discard(sock)
        loop.remove_reader(sock)
        loop.remove_writer(sock)
        sock.close()
        if sock is self._socket:
            self._socket = None


def _spawn_zygote(log: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _SOURCE_ROOT, str(theirs.fileno())]
    with theirs, log.open("ab") as stderr:
        try:
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return process, ours


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_PATIENCE_S)  # its socket is closed: it ends by itself
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
