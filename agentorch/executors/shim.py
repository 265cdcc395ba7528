"""The shim: one small process per running attempt: it starts the child, watches it, ends its tree, writes the verdict.

It is forked from the zygote, lives in its own session, and needs nobody: limits hold and the verdict is written while
the runtime is down. It may run more attempts, one after the other, because forking it costs more than all else it
does. Imports only the standard library, and runs on one thread (the child's death signal is bound to the thread that
forked it).

Orders that others rely on: signal handlers before the claim (a stop may be sent as soon as the claim can be seen);
the claim before the stop request is looked for (whoever asks for a stop writes it first, then looks at the claim);
the verdict before the claim's lock is dropped, by closing it or by dying.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from typing import Final

from agentorch.executors import processes
from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.child import CannotExecute, Child
from agentorch.executors.lease import CHECK_S, OVER, read_lease
from agentorch.executors.logs import enforce_quota, log_name
from agentorch.executors.records import (
    EPOCH,
    SPEC,
    STARTED,
    STOP,
    STREAMS,
    TEMPORARY,
    VERDICT,
    WORK,
    LaunchRecord,
    StartRecord,
    StopRecord,
    VerdictRecord,
)
from agentorch.executors.tidy import empty_tree

REQUEST_BYTES: Final = 65_536
ANSWER_BYTES: Final = 4_096
MEMORY_CHECK_S: Final = 0.25
LOG_CHECK_S: Final = 1.0
KILL_AGAIN_S: Final = 0.02  # fork bombs need more than one pass
_SIGTERM: Final = int(signal.SIGTERM)
_HANDLED: Final = (
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGPIPE,  # Python ignores this one and the next, and an exec would keep that
    signal.SIGXFSZ,
)


def catch_signals() -> None:
    """Every signal that matters becomes a byte in the wakeup pipe of whoever has one.

    The zygote calls this once, and its forks inherit it: touching this machinery in each fork would copy much memory.
    They are handled, not ignored, because an exec resets what is handled: so a job starts with defaults.
    """
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
    for number in {*_HANDLED, *ignored}:  # a shell ignores some for what it starts in the background
        signal.signal(number, _heard)


def _heard(_number: int, _frame: object) -> None:
    """The byte in the pipe is what counts."""


def wakeup_pipe() -> int:
    """From here on signals to this process are bytes in a pipe, whose reading end is returned."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def serve(requests: int, runtime: socket.socket) -> None:
    """Run one attempt after another, as their paths come in on `requests`, until nobody hands over any more.

    A shim runs one attempt at a time, and takes the next one only when the kernel has said that nothing of the last
    one lives. It stays only while the runtime that asked for the attempt still listens and is the newest: any other
    runtime waits for the end of this process, not for a message.
    """
    os.setsid()
    processes.become_subreaper()
    wakeups = wakeup_pipe()
    gc.enable()  # what the zygote has is frozen: only what the shim makes itself is looked through
    while path := os.read(requests, REQUEST_BYTES).decode():
        end = run_attempt(path, wakeups, runtime)
        if end is None:
            return
        try:
            # The zygote first: whoever hears of an end may ask for more at once, and should find this shim free.
            os.write(requests, b"idle")
            runtime.send(end, socket.MSG_DONTWAIT)
        except OSError:
            return  # one of them is gone, or stuck: the end of this process says it too


def run_attempt(
    path: str, wakeups: int, runtime: socket.socket, *, environment: Mapping[str, str] | None = None, unasked: str = ""
) -> bytes | None:
    """Run the attempt in this directory, unless it is claimed already. Returns when nothing of it lives.

    `catch_signals` must have been called. `runtime` is told `started <ms> <attempt>` once the program runs; nothing
    here waits for it. Returns what it is to be told next: `ended <attempt>`, with the verdict if it is this shim's and
    short. None: another runtime has taken over, and waits for the end of this process.

    An engine between the runtime and the shim may add to the job's `environment`, and may end the attempt by SIGTERM
    without a request: `unasked` is the reason then; "" = such a signal means nothing.
    """
    with AttemptDirectory(path) as directory:
        end = f"ended {os.path.basename(path)}".encode()  # noqa: PTH119 - pathlib is slow to import
        claim = directory.claim()
        spec: LaunchRecord | None = directory.read(SPEC)
        if claim is not None:
            assert spec is not None, "a directory without a spec has a fence"
            spec["environment"].update(environment or {})
            verdict = _Shim(directory, spec, wakeups, runtime, unasked).run()
            os.close(claim)
            if len(end) + len(verdict) < ANSWER_BYTES:
                end += b" " + verdict
        # Looked at after the claim is dropped: a runtime that opens later finds the verdict by itself.
        return end if spec is not None and directory.read(f"../{EPOCH}") == spec["epoch"] else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Shim:
    def __init__(
        self, directory: AttemptDirectory, spec: LaunchRecord, wakeups: int, runtime: socket.socket, unasked: str
    ) -> None:
        self._directory = directory
        self._unasked = unasked
        self._spec = spec
        self._wakeups = wakeups
        self._runtime = runtime
        self._poll = select.poll()
        self._poll.register(wakeups, select.POLLIN)
        self._child: Child | None = None
        self._report = b""
        self._report_waits = False
        self._started_ms: int | None = None
        self._reason = ""  # why it is being ended; the first one counts
        self._message = ""
        self._kill_at: float | None = None
        self._timeout_at: float | None = None
        self._memory_at: float | None = None
        self._logs_at: float | None = None
        self._lease_at = time.monotonic() if spec.get("lease") else None
        self._lease_term = 0  # of the lease that it began under
        self._memory_peak_bytes = 0
        self._logs: dict[str, int] = {}

    def run(self) -> bytes:
        """Returns the verdict, as it was written."""
        stop: StopRecord | None = self._directory.read(STOP)
        if stop is not None:
            self._reason, self._message = stop["reason"], "stopped before it started"
        self._check_lease()
        if self._reason:
            return self._write_verdict()
        self._prepare()
        try:
            self._child = Child(self._directory, self._spec, self._logs)
        except CannotExecute as error:
            self._reason, self._message = "exec_failed", str(error)
        else:
            self._on_start()
            while not self._child.ended:
                self._wait()
                self._child.reap()
                self._check_limits()
            self._end_leftovers()
            self._child.let_go()
            self._trim_logs()
        verdict = self._write_verdict()
        for fd in self._logs.values():
            os.close(fd)
        empty_tree(TEMPORARY, self._directory.fd)
        return verdict

    def _prepare(self) -> None:
        for name in (TEMPORARY,) if self._spec["workdir"] else (TEMPORARY, WORK):
            os.mkdir(name, 0o700, dir_fd=self._directory.fd)
        for stream in STREAMS:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._logs[stream] = os.open(log_name(stream), flags, 0o600, dir_fd=self._directory.fd)

    # -- waiting

    def _wait(self) -> None:
        for fd, _event in self._poll.poll(self._patience_ms()):
            if fd == self._wakeups:
                if _SIGTERM in os.read(self._wakeups, 4096):
                    self._heed_stop()
            else:
                self._send_report()

    def _patience_ms(self) -> float | None:
        looks = (self._kill_at, self._timeout_at, self._memory_at, self._logs_at, self._lease_at)
        moments = [at for at in looks if at is not None]
        return max(0.0, min(moments) - time.monotonic()) * 1000 + 1 if moments else None

    def _on_start(self) -> None:
        assert self._child is not None
        self._started_ms = _now_ms()
        started = StartRecord(
            shim_pid=os.getpid(), pid=self._child.pid, started_ms=self._started_ms, boot_id=self._spec["boot_id"]
        )
        self._directory.leave(STARTED, json.dumps(started).encode(), durable=False)
        now = time.monotonic()
        if self._spec["timeout_ms"] is not None:
            self._timeout_at = now + self._spec["timeout_ms"] / 1000
        if self._spec["memory_bytes"]:
            self._memory_at = now + MEMORY_CHECK_S
        if self._spec["log_quota_bytes"]:
            self._logs_at = now + LOG_CHECK_S
        self._report = f"started {self._started_ms} {self._spec['attempt']}".encode()
        self._send_report()

    def _send_report(self) -> None:
        """Tell the runtime, without ever waiting for it: a stuck runtime must not keep a timeout from being kept."""
        try:
            self._runtime.send(self._report, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._poll.register(self._runtime, select.POLLOUT)
            self._report_waits = True
            return
        except OSError:
            pass  # the runtime is gone; the next one reads the directory
        if self._report_waits:
            self._poll.unregister(self._runtime)

    # -- ending

    def _heed_stop(self) -> None:
        """SIGTERM to the shim: the request lies in the directory. Without one it was meant for the attempt before."""
        stop: StopRecord | None = self._directory.read(STOP)
        if stop is not None:
            self._end(stop["reason"], stop["grace_ms"])
        elif self._unasked:
            self._message = self._message or "the engine that it ran under ended it"
            self._end(self._unasked, self._spec["grace_ms"])

    def _end(self, reason: str, grace_ms: int) -> None:
        """Begin to end the tree. Again: the first reason stays, the shorter grace counts."""
        if not self._reason:
            self._reason = reason
            self._timeout_at = None
        if self._child and grace_ms > 0:
            self._child.signal_group(self._spec["stop_signal"])
        at = time.monotonic() + grace_ms / 1000
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def _check_limits(self) -> None:
        now = time.monotonic()
        self._check_lease()
        if self._timeout_at is not None and now >= self._timeout_at:
            self._message = f"ran longer than {self._spec['timeout_ms']} ms"
            self._end("timeout", self._spec["grace_ms"])
        if self._memory_at is not None and now >= self._memory_at:
            self._memory_at = now + MEMORY_CHECK_S
            self._check_memory()
        if self._logs_at is not None and now >= self._logs_at:
            self._logs_at = now + LOG_CHECK_S
            self._trim_logs()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = now + KILL_AGAIN_S
            processes.kill_descendants(os.getpid())

    def _check_lease(self) -> None:
        now = time.monotonic()
        if self._lease_at is None or now < self._lease_at:
            return
        left, term = read_lease(self._spec["lease"], self._spec["boot_id"])
        self._lease_term = self._lease_term or term
        if left > 0 and term == self._lease_term:
            self._lease_at = now + min(left, CHECK_S)
            return
        self._lease_at = None
        self._message = self._message or OVER
        self._end("node_lost", 0)

    def _check_memory(self) -> None:
        limit = self._spec["memory_bytes"]
        used = processes.resident_bytes(processes.descendants(os.getpid()), enough=limit)
        self._memory_peak_bytes = max(self._memory_peak_bytes, used)
        if used > limit:
            self._message = self._message or f"used {used} bytes of memory, over its limit of {limit}"
            self._end("oom", 0)

    def _trim_logs(self) -> None:
        quota = self._spec["log_quota_bytes"]
        if not quota:
            return
        try:
            for stream, fd in self._logs.items():
                enforce_quota(self._directory.fd, stream, fd, quota)
        except OSError as error:
            self._logs_at = None
            self._message = self._message or f"log quota not kept: {error}"

    def _end_leftovers(self) -> None:
        """What outlived the main process dies with it; returns when the kernel says there is no child left."""
        assert self._child is not None
        while self._child.reap():
            self._child.leftovers.update(processes.kill_descendants(os.getpid()))
            readable, _, _ = select.select([self._wakeups], [], [], KILL_AGAIN_S)
            if readable:
                os.read(self._wakeups, 4096)

    def _write_verdict(self) -> bytes:
        child = self._child
        code = child.exit_code if child else None
        number = child.signal if child else None
        verdict = VerdictRecord(
            lost=False,
            cause=self._reason or ("completed" if code == 0 else "error"),
            exit_code=code,
            signal=number,
            message=self._message,
            started_ms=self._started_ms,
            ended_ms=_now_ms(),
            cpu_ms=child.cpu_ms if child else 0,
            memory_peak_bytes=max(self._memory_peak_bytes, child.memory_peak_bytes if child else 0),
            leftovers=len(child.leftovers) if child else 0,
        )
        text = json.dumps(verdict).encode()
        self._directory.leave(VERDICT, text, durable=self._spec["durable"])
        return text
