"""The child of a shim: started in its own session, bound to the shim's life, and what the kernel says of its end.

Imports only the standard library: the shim runs isolated.

It is started by vfork, which `subprocess` does as long as no code of ours is to run in between: copying the shim's
memory would cost more than all else that is done for a short job. So the child can't ask for a death signal of its
own, and is kept on a *leash* instead: the reading end of a pipe whose writing end only the shim has. The kernel is told
(O_ASYNC, F_SETOWN, F_SETSIG) to send SIGKILL to the child's process group when that end closes, whatever closes it.
The child carries the reading end; one that closes all its descriptors is ended by the sweep that follows a dead shim.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Collection, Mapping
from typing import Final

from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.records import WORK, LaunchRecord

_LEASH: Final = 63  # high enough for shells, which number their own from 3 and from 10; low enough for a small table
_UMASK: Final = 0o022
_SHOWN_CHARS: Final = 500  # of a program's name in a message
_CORES: Final = frozenset(os.sched_getaffinity(0))


class CannotExecute(Exception):
    """The program could not be executed; the message says why, in words for its owner."""


class Child:
    """The main process of an attempt, which runs its program when this returns. Raises CannotExecute."""

    def __init__(self, directory: AttemptDirectory, spec: LaunchRecord, logs: Mapping[str, int]) -> None:
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.ended = False
        self.cpu_ms = 0
        self.memory_peak_bytes = 0
        self.leftovers: set[int] = set()
        carried, self._leash = _leash()
        try:
            self.pid = _start(directory, spec, logs)
            fcntl.fcntl(carried, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(carried, fcntl.F_SETOWN, -self.pid)
            fcntl.fcntl(carried, fcntl.F_SETFL, os.O_ASYNC)
        except BaseException:
            self.let_go()
            raise
        finally:
            os.close(carried)

    def let_go(self) -> None:
        """Close the leash: SIGKILL for what is left of the process group, so nothing should be."""
        os.close(self._leash)

    def signal_group(self, name: str) -> None:
        """Send the signal to the child's process group, if there is one still."""
        try:
            os.killpg(self.pid, signal.Signals[name])
        except ProcessLookupError:
            return

    def reap(self) -> bool:
        """Take in every process that has ended; False when this process has no child left at all."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.cpu_ms += round((usage.ru_utime + usage.ru_stime) * 1000)
            self.memory_peak_bytes = max(self.memory_peak_bytes, usage.ru_maxrss * 1024)
            if pid == self.pid:
                self.ended = True
                if os.WIFEXITED(status):
                    self.exit_code = os.WEXITSTATUS(status)
                else:
                    self.signal = os.WTERMSIG(status)


def _leash() -> tuple[int, int]:
    """The end that the child carries, which is the only descriptor here that an exec does not close; and ours."""
    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            return fcntl.fcntl(reading, fcntl.F_DUPFD, _LEASH), writing
        finally:
            os.close(reading)
    except OSError as error:
        raise CannotExecute(f"no descriptors are left to start it with: {error.strerror}") from error


def _start(directory: AttemptDirectory, spec: LaunchRecord, logs: Mapping[str, int]) -> int:
    command = spec["command"]
    workdir = spec["workdir"] or f"{directory.path}/{WORK}"
    try:
        _bind(spec.get("cores") or _CORES)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=logs["stdout"],
            stderr=logs["stderr"],
            close_fds=False,  # ours close themselves, and the leash is to stay
            cwd=workdir,
            env=spec["environment"],
            start_new_session=True,
            umask=_UMASK,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, OSError) and error.filename == workdir:
            raise CannotExecute(f"can't work in {workdir[:_SHOWN_CHARS]!r}: {reason}") from error
        raise CannotExecute(f"can't execute {command[0][:_SHOWN_CHARS]!r}: {reason}") from error
    process.returncode = 0  # it is waited for here, together with all its descendants
    return process.pid


def _bind(cores: Collection[int]) -> None:
    """To these cores, from here on: the child starts with what its shim has."""
    if os.sched_getaffinity(0) != set(cores):
        os.sched_setaffinity(0, cores)
