"""What may be asked of the core. Imperative, never recorded: what a command caused is recorded as events.

`by` names who asks: a key's id, `scheduler`, `executor`, `supervisor`, `clock`, `config`.
"""

from __future__ import annotations

import msgspec

from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import ApiKey, PoolSpec, TenantSpec
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Cause, JobSpec, Usage
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import AnswerKind, BrainReport, Mode
from agentorch.model.twin import Impact


class _Command(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    pass


class StartRuntime(_Command, frozen=True, kw_only=True):
    version: str


class CloseRuntime(_Command, frozen=True, kw_only=True):
    pass


class ConfigurePool(_Command, frozen=True, kw_only=True):
    """`devices` are the GPUs of this machine that the pool may hand to its workers, by UUID."""

    spec: PoolSpec
    devices: tuple[str, ...] = ()


class RemovePool(_Command, frozen=True, kw_only=True):
    pool: str


class PausePool(_Command, frozen=True, kw_only=True):
    pool: str
    paused: bool
    by: str
    reason: str = ""


class ScalePool(_Command, frozen=True, kw_only=True):
    """A person's own scaling: bounds hold, the supervisor's windows do not."""

    pool: str
    workers: int
    by: str


class CordonWorker(_Command, frozen=True, kw_only=True):
    worker: str
    cordoned: bool
    by: str
    reason: str = ""


class ReportNodes(_Command, frozen=True, kw_only=True):
    """All nodes that an executor lists. Changes become events; their telemetry does not."""

    executor: str
    nodes: tuple[NodeInfo, ...]


class DoubtNodes(_Command, frozen=True, kw_only=True):
    """An executor can't say just now how its nodes are."""

    executor: str
    problem: str


class ReportProvisioning(_Command, frozen=True, kw_only=True):
    """An executor could not add nodes of a type, or not let these go."""

    executor: str
    node_type: str
    error: str
    remove: tuple[str, ...] = ()


class ReportHealth(_Command, frozen=True, kw_only=True):
    """The newest sample of every device there is, with the time it was taken. Only what changed becomes events."""

    samples: tuple[DeviceSample, ...] = ()


class RepairWorker(_Command, frozen=True, kw_only=True):
    """A person answers for a worker and its devices."""

    worker: str
    by: str


class RepairDevice(_Command, frozen=True, kw_only=True):
    """A person answers for a device, also for one that is of no worker now."""

    device: str
    by: str


class ConfigureTenant(_Command, frozen=True, kw_only=True):
    spec: TenantSpec
    by: str = "config"


class AddKey(_Command, frozen=True, kw_only=True):
    key: ApiKey
    by: str


class RevokeKey(_Command, frozen=True, kw_only=True):
    key: str
    by: str


class SubmitJob(_Command, frozen=True, kw_only=True):
    tenant: str
    spec: JobSpec
    by: str
    idempotency_key: str = ""
    body_sha256: str = ""
    judged_seq: int | None = None  # refuse if the world moved since


class CancelJob(_Command, frozen=True, kw_only=True):
    """`tenant` "" = any; else a job of another tenant is not found."""

    job: str
    by: str
    tenant: str = ""


class PatchJob(_Command, frozen=True, kw_only=True):
    job: str
    by: str
    tenant: str = ""
    priority: int | None = None
    deadline_ms: int | None = None
    not_before_ms: int | None = None
    hold: bool | None = None
    pool: str | None = None  # move: "" = any allowed pool
    reason: str = ""


class ReportProgress(_Command, frozen=True, kw_only=True):
    job: str
    by: str
    tenant: str = ""
    percent: float | None = None
    message: str = ""
    checkpointed: bool = False
    move_to: str | None = None  # "please move me": "" = anywhere else allowed


class ReportRunning(_Command, frozen=True, kw_only=True):
    """An executor saw the process start."""

    job: str
    attempt: int
    rank: int = 0


class ReportEnded(_Command, frozen=True, kw_only=True):
    """An executor saw the attempt, or a rank of it, end. `cause` is the executor's; the core may know a better one
    (a stop)."""

    job: str
    attempt: int
    rank: int = 0
    cause: Cause
    started_ms: int | None
    ended_ms: int
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage = Usage()
    result: str = ""


class Schedule(_Command, frozen=True, kw_only=True):
    """One dispatch pass."""


class Tick(_Command, frozen=True, kw_only=True):
    """Time passed: expiries, extensions, retirements, changed proposals."""


class SetMode(_Command, frozen=True, kw_only=True):
    mode: Mode
    by: str
    person: bool = True  # only a person raises it
    reason: str = ""


class ConfigureGuardrails(_Command, frozen=True, kw_only=True):
    """Tighten guardrails. Looser than the limits is refused, and so is the supervisor."""

    settings: GuardrailSettings
    by: str = "config"


class RaiseAlert(_Command, frozen=True, kw_only=True):
    code: str
    text: str
    by: str


class Observe(_Command, frozen=True, kw_only=True):
    """Begin a cycle: build and record an observation from the state and these samples."""

    devices: tuple[DeviceSample, ...] = ()


class HandIn(_Command, frozen=True, kw_only=True):
    """A brain's report for a cycle: each draft is judged and recorded, with its impact where the twin computed one.

    `impacts` are in the drafts' order; it may be shorter.
    """

    cycle: int
    report: BrainReport
    impacts: tuple[Impact | None, ...] = ()


class RenewImpact(_Command, frozen=True, kw_only=True):
    """What is foreseen of an open proposal now, as it is by this hash."""

    proposal: str
    hash: str
    impact: Impact


class AnswerApproval(_Command, frozen=True, kw_only=True):
    """`edits` changes fields of the action; it may narrow, never widen."""

    proposal: str
    kind: AnswerKind
    by: str
    hash: str = ""
    reason: str = ""
    edits: dict[str, int | str] = {}


class CarryOut(_Command, frozen=True, kw_only=True):
    """Carry out an allowed or approved proposal: judged again on the state of this moment. Does it once."""

    proposal: str


Command = (
    StartRuntime
    | CloseRuntime
    | ConfigurePool
    | RemovePool
    | PausePool
    | ScalePool
    | CordonWorker
    | ReportHealth
    | RepairWorker
    | RepairDevice
    | ReportNodes
    | DoubtNodes
    | ReportProvisioning
    | ConfigureTenant
    | AddKey
    | RevokeKey
    | SubmitJob
    | CancelJob
    | PatchJob
    | ReportProgress
    | ReportRunning
    | ReportEnded
    | Schedule
    | Tick
    | SetMode
    | ConfigureGuardrails
    | RaiseAlert
    | Observe
    | HandIn
    | RenewImpact
    | AnswerApproval
    | CarryOut
)
