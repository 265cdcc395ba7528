"""The zygote: a small process that has the shim imported, forks shims, and hands them attempts.

It exists because forking the runtime is slow (big) and unsafe (threads). It imports only the standard library, lives
in a session of its own, and ends when the runtime's end of the socket closes. Shims that run something don't need it;
those that are idle end with it.

Requests are one datagram each: the path of an attempt directory. Answers: `handed <attempt>` with a pidfd of its shim
attached, before the shim hears of it, or `failed <attempt>`; the shim itself adds `started <ms> <attempt>` and
`ended <attempt> <verdict>` on the same socket; an end without its verdict is to be read from the directory.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import Final, NamedTuple

from agentorch.executors.shim import REQUEST_BYTES, catch_signals, serve, wakeup_pipe

IDLE_SHIMS: Final = 32
IDLE_S: Final = 1.0  # after this long without any event, idle shims are let go
_SIGTERM: Final = int(signal.SIGTERM)


def main(fd: int) -> None:
    """Serve requests from the socket `fd` until its other end closes."""
    runtime = socket.socket(fileno=fd)
    runtime.set_inheritable(False)
    catch_signals()
    gc.disable()
    gc.freeze()  # a collection in a fork would copy every page of the heap
    _Zygote(runtime).run()


class _Shim(NamedTuple):
    pid: int
    pidfd: int
    requests: int  # our end of its request socket; closing it lets it go


class _Zygote:
    def __init__(self, runtime: socket.socket) -> None:
        self._runtime = runtime
        self._wakeups = wakeup_pipe()
        self._epoll = select.epoll()
        self._shims: dict[int, _Shim] = {}  # by the descriptor of their request socket
        self._idle: list[_Shim] = []
        for fd in (runtime.fileno(), self._wakeups):
            self._epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        while True:
            events = self._epoll.poll(IDLE_S if self._idle else -1)
            if not events:
                while self._idle:
                    self._let_go(self._idle.pop())
            for fd, _event in events:
                if fd == self._wakeups:
                    if _SIGTERM in os.read(fd, 4096):
                        return
                    _reap()
                elif fd in self._shims:
                    self._hear(self._shims[fd])
                elif fd == self._runtime.fileno():
                    request = self._runtime.recv(REQUEST_BYTES)
                    if not request:
                        return
                    self._hand_over(request)

    def _hear(self, shim: _Shim) -> None:
        """A shim is free again, or it is dead."""
        try:
            free = bool(os.read(shim.requests, 16))
        except ConnectionResetError:
            free = False
        if free and len(self._idle) < IDLE_SHIMS:
            self._idle.append(shim)
        else:
            if shim in self._idle:
                self._idle.remove(shim)
            self._let_go(shim)

    def _let_go(self, shim: _Shim) -> None:
        del self._shims[shim.requests]
        os.close(shim.requests)
        os.close(shim.pidfd)

    def _hand_over(self, request: bytes) -> None:
        attempt = os.path.basename(request)  # noqa: PTH119 - pathlib is slow to import
        try:
            shim = self._idle.pop() if self._idle else self._fork()
        except OSError as error:
            print(f"can't fork a shim for {attempt!r}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - our log
            self._runtime.send(b"failed " + attempt)
            return
        # Told before the shim hears of it: so the runtime watches it before it can report anything.
        socket.send_fds(self._runtime, [b"handed " + attempt], [shim.pidfd])
        try:
            os.write(shim.requests, request)
        except BrokenPipeError:
            return  # it was killed while it was idle: the pidfd tells the runtime

    def _fork(self) -> _Shim:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
                if pid == 0:
                    self._be_shim(ours.fileno(), theirs.fileno())
            except OSError:
                ours.close()
                raise
        # Not reaped yet, whatever it does: its pid can't have been given to anybody else.
        shim = _Shim(pid, os.pidfd_open(pid), ours.detach())
        self._shims[shim.requests] = shim
        self._epoll.register(shim.requests, select.EPOLLIN)
        return shim

    def _be_shim(self, ours: int, requests: int) -> None:
        status = 1
        try:
            # Whoever keeps another shim's descriptor keeps that shim from noticing the end of the zygote.
            for shim in self._shims.values():
                os.close(shim.requests)
                os.close(shim.pidfd)
            os.close(ours)
            self._epoll.close()
            serve(requests, self._runtime)
            status = 0
        except BaseException:  # noqa: BLE001 - a fork must not unwind into the zygote's loop
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
