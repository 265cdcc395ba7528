"""The facts. Each event is past tense, carries its time, and is all that `core.evolve` needs to change the state.

Written as keyed JSON, so that a reviewer can read the ledger without this code. Tags are never reused, fields are only
added, with defaults; an unknown tag refuses to start.
"""

from __future__ import annotations

import msgspec

from agentorch.model.fleet import ApiKey, NodeState, PoolSpec, TenantSpec
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.health import HealthState, Sign
from agentorch.model.jobs import Cause, JobSpec, JobState, Place, Resources, Usage
from agentorch.model.observation import HistoryPoint, Observation
from agentorch.model.proposals import Action, Answer, BrainReport, Mode, Proposal, Risk, Verdict


class _Event(msgspec.Struct, frozen=True, gc=False, tag_field="event", omit_defaults=True, kw_only=True):
    at_ms: int


# -- the runtime itself


class RuntimeStarted(_Event, tag="runtime-started", frozen=True, kw_only=True):
    epoch: int  # incarnation number: executors refuse older ones
    version: str
    rules_version: int


class RuntimeClosed(_Event, tag="runtime-closed", frozen=True, kw_only=True):
    """Closed in order. Running work goes on; its absence before a start means a crash."""


# -- fleet, tenants, keys


class PoolConfigured(_Event, tag="pool-configured", frozen=True, kw_only=True):
    """`devices` are the GPUs of this machine that its workers may be given, by UUID."""

    spec: PoolSpec
    devices: tuple[str, ...] = ()


class PoolRemoved(_Event, tag="pool-removed", frozen=True, kw_only=True):
    pool: str


class PoolPaused(_Event, tag="pool-paused", frozen=True, kw_only=True):
    pool: str
    paused: bool
    by: str
    reason: str = ""


class PoolScaled(_Event, tag="pool-scaled", frozen=True, kw_only=True):
    """The wanted size changed. Workers follow as their own events."""

    pool: str
    workers: int
    by: str


class WorkerAdded(_Event, tag="worker-added", frozen=True, kw_only=True):
    worker: str
    pool: str
    node: str
    shape: Resources
    devices: tuple[str, ...] = ()


class WorkerRetired(_Event, tag="worker-retired", frozen=True, kw_only=True):
    """Takes nothing new; goes when it is empty."""

    worker: str
    by: str
    reason: str = ""


class WorkerRemoved(_Event, tag="worker-removed", frozen=True, kw_only=True):
    worker: str


class WorkerCordoned(_Event, tag="worker-cordoned", frozen=True, kw_only=True):
    """`sign` and `broken` are said when `by` is `health`."""

    worker: str
    cordoned: bool
    by: str
    reason: str = ""
    sign: str = ""
    broken: bool = False


class WorkerSuspected(_Event, tag="worker-suspected", frozen=True, kw_only=True):
    """Nothing new is placed there until it is well again. `reason` "" ends it; `well`: it is not seen any more."""

    worker: str
    reason: str = ""
    evidence: str = ""
    well: bool = False


class WorkerRepaired(_Event, tag="worker-repaired", frozen=True, kw_only=True):
    """A person answers for it: it and its devices take work again, and their cordons are forgotten."""

    worker: str
    by: str


class DeviceCounted(_Event, tag="device-counted", frozen=True, kw_only=True):
    """A device is seen for the first time, or its error counters moved: from here on only an increase is a sign."""

    device: str
    node: str
    parent: str = ""
    ecc_uncorrected: int | None = None
    ecc_uncorrected_ever: int | None = None
    xid_count: int | None = None


class DeviceJudged(_Event, tag="device-judged", frozen=True, kw_only=True):
    """What is wrong with a device changed. `ok` ends it; `well`: its sign is not seen any more."""

    device: str
    state: HealthState
    sign: Sign
    reason: str = ""
    evidence: str = ""
    well: bool = False


class DeviceRepaired(_Event, tag="device-repaired", frozen=True, kw_only=True):
    device: str
    by: str


class HealthHalted(_Event, tag="health-halted", frozen=True, kw_only=True):
    """G11: so much looks unhealthy that nothing is cordoned by itself. `reason` "" ends it."""

    reason: str = ""


class PoolPowered(_Event, tag="pool-powered", frozen=True, kw_only=True):
    """What the GPUs of a pool with a watt cap draw changed by a step that matters. None = unknown."""

    pool: str
    watts: int | None = None
    start_watts: int | None = None


class WorkerReserved(_Event, tag="worker-reserved", frozen=True, kw_only=True):
    """Room on this worker is kept for a job that waits longer than it should. `job` "" ends it."""

    worker: str
    job: str
    ranks: int = 1  # of it that fit there: several workers may be kept for a gang


class NodeSeen(_Event, tag="node-seen", frozen=True, kw_only=True):
    """A machine is there, or is not any more as it was. `notice_ms`: when its provider takes it away.

    `listed` False: its executor does not list it just now, and these fields are what was known of it.
    """

    node: str
    executor: str
    type: str = ""
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_milli: int
    memory_bytes: int
    devices: tuple[str, ...] = ()
    device_names: tuple[str, ...] = ()
    device_memory_bytes: tuple[int, ...] = ()
    state: NodeState = NodeState.up
    problem: str = ""
    notice_ms: int | None = None
    listed: bool = True


class NodeRemoved(_Event, tag="node-removed", frozen=True, kw_only=True):
    """It is gone, and with it all that ran there."""

    node: str


class NodesWanted(_Event, tag="nodes-wanted", frozen=True, kw_only=True):
    """So many nodes of a type are asked for, those that are there included; which nodes go is never left open."""

    executor: str
    node_type: str
    nodes: int


class NodeReleased(_Event, tag="node-released", frozen=True, kw_only=True):
    """Nothing is on it and nobody needs it: exactly this node is let go. `nodes` are wanted besides."""

    node: str
    executor: str
    node_type: str
    nodes: int


class ProvisioningFailed(_Event, tag="provisioning-failed", frozen=True, kw_only=True):
    """Nodes could not be added or released, for the `failures`th time in a row; tried again at `retry_ms`.

    `kept` were to be released and stay.
    """

    executor: str
    node_type: str
    error: str
    failures: int
    retry_ms: int
    kept: tuple[str, ...] = ()


class TenantConfigured(_Event, tag="tenant-configured", frozen=True, kw_only=True):
    spec: TenantSpec


class KeyAdded(_Event, tag="key-added", frozen=True, kw_only=True):
    key: ApiKey
    by: str


class KeyRevoked(_Event, tag="key-revoked", frozen=True, kw_only=True):
    key: str
    by: str


# -- jobs


class JobSubmitted(_Event, tag="job-submitted", frozen=True, kw_only=True):
    job: str
    number: int
    tenant: str
    spec: JobSpec
    by: str
    idempotency_key: str = ""
    body_sha256: str = ""


class JobHeld(_Event, tag="job-held", frozen=True, kw_only=True):
    job: str
    by: str
    reason: str = ""


class JobReleased(_Event, tag="job-released", frozen=True, kw_only=True):
    job: str
    by: str


class JobChanged(_Event, tag="job-changed", frozen=True, kw_only=True):
    """Its place in time changed. None = unchanged."""

    job: str
    by: str
    priority: int | None = None
    deadline_ms: int | None = None
    not_before_ms: int | None = None


class JobRerouted(_Event, tag="job-rerouted", frozen=True, kw_only=True):
    job: str
    pool: str  # "" = any allowed pool again
    by: str


class JobStarted(_Event, tag="job-started", frozen=True, kw_only=True):
    """An attempt is ordered: room, devices and money are taken from here on.

    Of a gang, `worker`, `node` and `devices` are rank 0's and `ranks` are the places of ranks 1 and up; each rank takes
    `resources`, and money is that of them all. A node is named where the pool's workers are on nodes.
    """

    job: str
    attempt: int
    worker: str
    node: str = ""
    pool: str
    devices: tuple[str, ...] = ()
    ranks: tuple[Place, ...] = ()
    port: int = 0  # at which the ranks of a gang meet, on rank 0's node
    resources: Resources
    reserved_usd_micros: int = 0
    price_usd_micros_per_hour: int | None = 0
    paid_until_ms: int = 0
    charge: float = 0.0  # fair share charged in advance, see core.fairshare


class AttemptRunning(_Event, tag="attempt-running", frozen=True, kw_only=True):
    job: str
    attempt: int


class RankRunning(_Event, tag="rank-running", frozen=True, kw_only=True):
    """One rank of a gang runs; `AttemptRunning` follows the last."""

    job: str
    attempt: int
    rank: int


class RankEnded(_Event, tag="rank-ended", frozen=True, kw_only=True):
    """One rank of a gang ended; `AttemptEnded` follows the last. What it held stays with the gang until then."""

    job: str
    attempt: int
    rank: int
    cause: Cause
    started_ms: int | None = None
    ended_ms: int
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage = Usage()
    result: str = ""


class JobStopping(_Event, tag="job-stopping", frozen=True, kw_only=True):
    job: str
    attempt: int
    cause: Cause
    grace_ms: int
    by: str


class AttemptEnded(_Event, tag="attempt-ended", frozen=True, kw_only=True):
    job: str
    attempt: int
    cause: Cause
    started_ms: int | None = None
    ended_ms: int
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage = Usage()
    cost_usd_micros: int = 0
    charge: float = 0.0  # fair share really used, in place of what was charged at the start
    result: str = ""  # what an entry point returned, as JSON


class JobRequeued(_Event, tag="job-requeued", frozen=True, kw_only=True):
    job: str
    cause: Cause
    not_before_ms: int = 0
    counts: bool = True  # it used up one of the job's retries
    resources: Resources | None = None  # grown after an oom


class JobEnded(_Event, tag="job-ended", frozen=True, kw_only=True):
    job: str
    state: JobState
    cause: Cause
    by: str = ""


class ReservationExtended(_Event, tag="reservation-extended", frozen=True, kw_only=True):
    job: str
    attempt: int
    add_usd_micros: int
    paid_until_ms: int


class JobProgressed(_Event, tag="job-progressed", frozen=True, kw_only=True):
    job: str
    percent: float | None = None
    message: str = ""
    checkpointed: bool = False


# -- supervisor


class ModeChanged(_Event, tag="mode-changed", frozen=True, kw_only=True):
    mode: Mode
    by: str
    reason: str = ""


class GuardrailsConfigured(_Event, tag="guardrails-configured", frozen=True, kw_only=True):
    """Tightened, or back towards the limits; never beyond them."""

    settings: GuardrailSettings
    by: str = "config"


class AlertRaised(_Event, tag="alert-raised", frozen=True, kw_only=True):
    code: str
    text: str
    by: str


class CycleObserved(_Event, tag="cycle-observed", frozen=True, kw_only=True):
    observation: Observation
    sha256: str
    history: HistoryPoint


class CycleDecided(_Event, tag="cycle-decided", frozen=True, kw_only=True):
    cycle: int
    report: BrainReport


class ProposalJudged(_Event, tag="proposal-judged", frozen=True, kw_only=True):
    proposal: Proposal


class ProposalChanged(_Event, tag="proposal-changed", frozen=True, kw_only=True):
    """The world moved under an open proposal: it was judged again and must be looked at again."""

    proposal: Proposal


class ProposalSuperseded(_Event, tag="proposal-superseded", frozen=True, kw_only=True):
    proposal: str
    by: str


class ApprovalAnswered(_Event, tag="approval-answered", frozen=True, kw_only=True):
    """After an edit the proposal's new hash, title, value, verdict and risk come with it."""

    proposal: str
    answer: Answer
    hash: str = ""
    title: str = ""
    after: str = ""
    verdict: Verdict | None = None
    risk: Risk | None = None


class ApprovalExpired(_Event, tag="approval-expired", frozen=True, kw_only=True):
    """Nobody answered in time. That is a no, and not a person's."""

    proposal: str


class ProposalLapsed(_Event, tag="proposal-lapsed", frozen=True, kw_only=True):
    """Allowed or approved, and not carried out in time: it never will be."""

    proposal: str
    why: str


class ActionRefused(_Event, tag="action-refused", frozen=True, kw_only=True):
    """Judged again at execution, and denied."""

    proposal: str
    notes: tuple[str, ...]


class ActionStarted(_Event, tag="action-started", frozen=True, kw_only=True):
    """The intent. Its effects follow in the same commit.

    `disturbs` says how many jobs or workers of which pools it disturbs, and `disruption` in which way ("" = in none):
    what later actions are weighed against (G6).
    """

    proposal: str
    action: Action
    disruption: str = ""
    disturbs: tuple[tuple[str, int], ...] = ()


class ActionEnded(_Event, tag="action-ended", frozen=True, kw_only=True):
    proposal: str
    ok: bool
    outcome: str


Event = (
    RuntimeStarted
    | RuntimeClosed
    | PoolConfigured
    | PoolRemoved
    | PoolPaused
    | PoolScaled
    | WorkerAdded
    | WorkerRetired
    | WorkerRemoved
    | WorkerCordoned
    | WorkerSuspected
    | WorkerRepaired
    | DeviceCounted
    | DeviceJudged
    | DeviceRepaired
    | HealthHalted
    | PoolPowered
    | WorkerReserved
    | NodeSeen
    | NodeRemoved
    | NodesWanted
    | NodeReleased
    | ProvisioningFailed
    | TenantConfigured
    | KeyAdded
    | KeyRevoked
    | JobSubmitted
    | JobHeld
    | JobReleased
    | JobChanged
    | JobRerouted
    | JobStarted
    | AttemptRunning
    | RankRunning
    | RankEnded
    | JobStopping
    | AttemptEnded
    | JobRequeued
    | JobEnded
    | ReservationExtended
    | JobProgressed
    | ModeChanged
    | GuardrailsConfigured
    | AlertRaised
    | CycleObserved
    | CycleDecided
    | ProposalJudged
    | ProposalChanged
    | ProposalSuperseded
    | ApprovalAnswered
    | ApprovalExpired
    | ProposalLapsed
    | ActionRefused
    | ActionStarted
    | ActionEnded
)

EVENT_TYPES: tuple[type[_Event], ...] = Event.__args__
EVENT_NAMES: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in EVENT_TYPES}
