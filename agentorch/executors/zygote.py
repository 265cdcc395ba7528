"""The zygote: a small process that has the shim imported, and forks one for each attempt asked for.

It exists because forking the runtime is slow (big) and unsafe (threads). It imports only the standard library, lives
in a session of its own, keeps no state, and ends when the runtime's end of the socket closes. Shims don't need it.

Requests are one datagram each: the path of an attempt directory. Answers: `forked <attempt>` with a pidfd of the shim
attached, or `failed <attempt>`; the shim itself adds `started <ms> <attempt>`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import Final

from agentorch.executors.shim import catch_signals, run_attempt, wakeup_pipe

REQUEST_BYTES: Final = 65_536
_SIGTERM: Final = int(signal.SIGTERM)


def main(fd: int) -> None:
    """Serve requests from the socket `fd` until its other end closes."""
    runtime = socket.socket(fileno=fd)
    runtime.set_inheritable(False)
    catch_signals()
    wakeups = wakeup_pipe()
    gc.disable()
    gc.freeze()  # a collection in a fork would copy every page of the heap
    poll = select.poll()
    poll.register(runtime, select.POLLIN)
    poll.register(wakeups, select.POLLIN)
    while True:
        for ready, _event in poll.poll():
            if ready == wakeups:
                if _SIGTERM in os.read(wakeups, 4096):
                    return
                _reap()
            else:
                request = runtime.recv(REQUEST_BYTES)
                if not request:
                    return
                _fork(request.decode(), runtime)


def _fork(path: str, runtime: socket.socket) -> None:
    attempt = os.path.basename(path)  # noqa: PTH119 - pathlib is slow to import
    try:
        pid = os.fork()
    except OSError as error:
        print(f"can't fork a shim for {attempt}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - our log
        runtime.send(f"failed {attempt}".encode())
        return
    if pid == 0:
        _be_shim(path, runtime)
    # Not reaped yet, whatever it does: its pid can't have been given to anybody else.
    pidfd = os.pidfd_open(pid)
    try:
        socket.send_fds(runtime, [f"forked {attempt}".encode()], [pidfd])
    finally:
        os.close(pidfd)


def _be_shim(path: str, runtime: socket.socket) -> None:
    status = 1
    try:
        run_attempt(path, runtime)
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
