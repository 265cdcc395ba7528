"""What the runtime tells an executor, and what an executor tells back."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agentorch.model import limits
from agentorch.model.jobs import Cause, Usage


class AttemptSpec(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All that is needed to run one attempt. `id` is `<job>.<number>` and names its directory."""

    id: str
    job: str
    number: int
    worker: str
    command: tuple[str, ...]
    env: dict[str, str] = {}
    workdir: str = ""  # "" = `work/` inside the attempt's directory
    devices: tuple[str, ...] = ()  # GPUs, by UUID: CUDA_VISIBLE_DEVICES is always set, "" for none
    cpu_milli: int = 1_000
    cores: tuple[int, ...] = ()  # that it is bound to, chosen by the executor; () = any
    memory_bytes: int = 0  # 0 = no limit
    timeout_ms: int | None = None
    grace_ms: int = limits.STOP_GRACE_MS
    stop_signal: str = "SIGTERM"
    log_quota_bytes: int = limits.LOG_QUOTA_BYTES
    durable: bool = True


class AttemptPhase(StrEnum):
    absent = "absent"  # never started, and from now on never will: it is fenced for this epoch
    running = "running"
    ended = "ended"
    lost = "lost"  # it can't be running any more, and left no verdict


class AttemptStatus(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What an executor knows of an attempt. `cause` and what follows are set when it ended or was lost."""

    id: str
    phase: AttemptPhase
    started_ms: int | None = None
    ended_ms: int | None = None
    cause: Cause | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage = Usage()
    leftovers: int = 0  # processes that outlived the main one and were killed
    cursor: int = 0  # of the event stream that told it


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A machine that an executor can use."""

    id: str
    cpu_milli: int
    memory_bytes: int
    devices: tuple[str, ...] = ()  # GPUs, by UUID
    device_names: tuple[str, ...] = ()
    device_memory_bytes: tuple[int, ...] = ()
    state: str = "up"


def attempt_id(job: str, number: int) -> str:
    """`job-000017` and 2 -> `job-000017.2`."""
    return f"{job}.{number}"


def parse_attempt_id(attempt: str) -> tuple[str, int]:
    """The inverse of `attempt_id`. Raises ValueError on anything else."""
    job, _, number = attempt.rpartition(".")
    if not job:
        raise ValueError(f"not an attempt id: {attempt!r}")
    return job, int(number)
