"""The files of an attempt directory: their names, and what the JSON ones hold.

Imports only the standard library, because the shim and the zygote run isolated (`python -I -S`).

| file | meaning |
|---|---|
| `spec.json` | `LaunchRecord`; the directory appears with this file inside, before a spawn is asked for |
| `claim` | who owns the attempt: a shim, which holds a lock on it for its life, or a fence |
| `started.json` | `StartRecord`, for people and for the start time; nothing is decided by it |
| `stop.json` | `StopRecord`, durable before the shim is told |
| `exit.json` | `VerdictRecord`, durable before the claim's lock is dropped; final |
| `stdout.log`, `stderr.log` | written by the child's own descriptors |
| `stdout.dropped`, `stderr.dropped` | how many of the log's first bytes a quota dropped |
| `work/`, `tmp/` | default working directory; TMPDIR, emptied at the end |
"""

from __future__ import annotations

from typing import Final, TypedDict

EPOCH: Final = "epoch"  # beside the attempt directories: the newest epoch that opened the root
SPEC: Final = "spec.json"
CLAIM: Final = "claim"
STARTED: Final = "started.json"
STOP: Final = "stop.json"
VERDICT: Final = "exit.json"
WORK: Final = "work"
TEMPORARY: Final = "tmp"
STREAMS: Final = ("stdout", "stderr")

#: What marks each process of an attempt. The directory is the one that a sweep looks for: ids are unique only within
#: one root, and a sweep must never hit the work of another agentorch on the same machine.
ATTEMPT_VARIABLE: Final = "AGENTORCH_ATTEMPT"
DIRECTORY_VARIABLE: Final = "AGENTORCH_ATTEMPT_DIR"


class LaunchRecord(TypedDict):
    """All that the shim needs. Durations in milliseconds; `workdir` "" = `work/`; 0 bytes = no limit."""

    attempt: str
    epoch: int  # of the runtime that ordered it
    boot_id: str
    command: list[str]
    environment: dict[str, str]
    workdir: str
    timeout_ms: int | None
    grace_ms: int
    stop_signal: str
    log_quota_bytes: int
    memory_bytes: int
    cores: list[int]  # that the program is bound to; [] = any
    durable: bool
    lease: str  # path of the lease that it runs under; "" = none


class StartRecord(TypedDict):
    shim_pid: int
    pid: int
    started_ms: int
    boot_id: str


class StopRecord(TypedDict):
    reason: str  # a `Cause`
    grace_ms: int


class VerdictRecord(TypedDict):
    """How the attempt ended. `cause` is a `Cause`; `lost` true = nobody saw the end, and nothing of it lives."""

    lost: bool
    cause: str
    exit_code: int | None
    signal: int | None
    message: str
    started_ms: int | None
    ended_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    leftovers: int
