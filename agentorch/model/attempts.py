"""What the runtime tells an executor, and what an executor tells back."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agentorch.model import limits
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause, EntryPoint, Usage
from agentorch.model.observation import DeviceSample


class AttemptSpec(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All that is needed to run one attempt, or one rank of a gang's. `id` (`attempt_id`) names its directory.

    `node` is where it is placed; an executor of a single machine may ignore it. With an `entry`, `command` is empty.
    """

    id: str
    job: str
    number: int
    worker: str
    node: str = ""
    rank: int = 0
    command: tuple[str, ...] = ()
    entry: EntryPoint | None = None
    env: dict[str, str] = {}
    workdir: str = ""  # "" = `work/` inside the attempt's directory
    devices: tuple[str, ...] = ()  # GPUs, by UUID: CUDA_VISIBLE_DEVICES is always set, "" for none
    visible: tuple[str, ...] = ()  # GPUs that a rank of a gang sees, its neighbours' too; () = `devices`
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
    result: str = ""  # what an entry point returned, as JSON, at most `ENTRY_RESULT_MAX_BYTES`
    cursor: int = 0  # of the event stream that told it


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A machine that an executor can use, as it is now.

    `type` says which pools may have workers there (`PoolSpec.node_type`). `notice_ms` is when its provider takes it
    away (spot), if it said so. `samples` is its newest telemetry, stamped with this machine's clock.
    """

    id: str
    type: str = ""
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_milli: int
    memory_bytes: int
    devices: tuple[str, ...] = ()  # GPUs, by UUID
    device_names: tuple[str, ...] = ()
    device_memory_bytes: tuple[int, ...] = ()
    state: NodeState = NodeState.up
    problem: str = ""  # why it is not `up`, in words
    notice_ms: int | None = None
    samples: tuple[DeviceSample, ...] = ()


def attempt_id(job: str, number: int, rank: int = 0) -> str:
    """`job-000017` and 2 -> `job-000017.2`; further ranks of a gang: `job-000017.2+1` and so on."""
    return f"{job}.{number}+{rank}" if rank else f"{job}.{number}"


def parse_attempt_id(attempt: str) -> tuple[str, int, int]:
    """(job, number, rank): the inverse of `attempt_id`. Raises ValueError on anything else."""
    job, _, rest = attempt.rpartition(".")
    number, _, rank = rest.partition("+")
    if not job:
        raise ValueError(f"not an attempt id: {attempt!r}")
    return job, int(number), int(rank or 0)
