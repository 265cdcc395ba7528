"""The child of a shim: forked into its own session, bound to the shim's life, and what the kernel says of its end.

Imports only the standard library: the shim runs isolated.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import NoReturn

from agentorch.executors import processes
from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.records import WORK, LaunchRecord

_EXEC_ERROR_BYTES = 4096


class Child:
    """The main process of an attempt. Starting it never raises for what the job asked: `exec_error` tells.

    `exec_result` is readable once the program runs or could not be executed.
    """

    def __init__(self, directory: AttemptDirectory, spec: LaunchRecord, logs: Mapping[str, int]) -> None:
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.ended = False
        self.cpu_ms = 0
        self.memory_peak_bytes = 0
        self.leftovers: set[int] = set()
        self.exec_result, writing = os.pipe2(os.O_CLOEXEC)
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(directory, spec, logs, shim, writing)
        os.close(writing)

    def exec_error(self) -> str:
        """Why the program could not be executed; "" = it runs. Waits until one of the two is known."""
        text = os.read(self.exec_result, _EXEC_ERROR_BYTES).decode(errors="replace")
        os.close(self.exec_result)
        return text

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


def _become(
    directory: AttemptDirectory, spec: LaunchRecord, logs: Mapping[str, int], shim: int, exec_result: int
) -> NoReturn:
    """Turn this fork into the program. What fails is written to the pipe, which a successful exec closes."""
    try:
        os.setsid()
        processes.die_with_parent()
        if os.getppid() != shim:
            os._exit(127)  # the shim died before it could be asked for
        signal.set_wakeup_fd(-1)  # a byte from here would look like a signal to the shim
        os.umask(0o022)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(logs["stdout"], 1)
        os.dup2(logs["stderr"], 2)
        if spec.get("cores"):
            os.sched_setaffinity(0, spec["cores"])
        workdir = spec["workdir"] or f"{directory.path}/{WORK}"
        try:
            os.chdir(workdir)
        except OSError as error:
            _fail(exec_result, f"can't work in {workdir!r}: {error.strerror}")
        command = spec["command"]
        os.execvpe(command[0], command, spec["environment"])
    except BaseException as error:  # noqa: BLE001 - a fork must not unwind into its parent's code
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        _fail(exec_result, f"can't execute {spec['command'][:1]}: {reason}")


def _fail(exec_result: int, text: str) -> NoReturn:
    os.write(exec_result, text.encode(errors="replace")[:_EXEC_ERROR_BYTES])
    os._exit(127)
