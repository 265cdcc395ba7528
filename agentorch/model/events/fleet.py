"""What happens to the runtime itself, to pools, workers, devices and nodes, to tenants and keys."""

from __future__ import annotations

from agentorch.model.events.base import Recorded
from agentorch.model.fleet import ApiKey, NodeState, PoolSpec, TenantSpec
from agentorch.model.health import HealthState, Sign
from agentorch.model.jobs import Resources

# -- the runtime itself


class RuntimeStarted(Recorded, tag="runtime-started", frozen=True, kw_only=True):
    epoch: int  # incarnation number: executors refuse older ones
    version: str
    rules_version: int


class RuntimeClosed(Recorded, tag="runtime-closed", frozen=True, kw_only=True):
    """Closed in order. Running work goes on; its absence before a start means a crash."""


# -- fleet, tenants, keys


class PoolConfigured(Recorded, tag="pool-configured", frozen=True, kw_only=True):
    """`devices` are the GPUs of this machine that its workers may be given, by UUID."""

    spec: PoolSpec
    devices: tuple[str, ...] = ()


class PoolRemoved(Recorded, tag="pool-removed", frozen=True, kw_only=True):
    pool: str


class PoolPaused(Recorded, tag="pool-paused", frozen=True, kw_only=True):
    pool: str
    paused: bool
    by: str
    reason: str = ""


class PoolScaled(Recorded, tag="pool-scaled", frozen=True, kw_only=True):
    """The wanted size changed. Workers follow as their own events."""

    pool: str
    workers: int
    by: str


class WorkerAdded(Recorded, tag="worker-added", frozen=True, kw_only=True):
    worker: str
    pool: str
    node: str
    shape: Resources
    devices: tuple[str, ...] = ()


class WorkerRetired(Recorded, tag="worker-retired", frozen=True, kw_only=True):
    """Takes nothing new; goes when it is empty."""

    worker: str
    by: str
    reason: str = ""


class WorkerRemoved(Recorded, tag="worker-removed", frozen=True, kw_only=True):
    worker: str


class WorkerCordoned(Recorded, tag="worker-cordoned", frozen=True, kw_only=True):
    """`sign` and `broken` are said when `by` is `health`."""

    worker: str
    cordoned: bool
    by: str
    reason: str = ""
    sign: str = ""
    broken: bool = False


class WorkerSuspected(Recorded, tag="worker-suspected", frozen=True, kw_only=True):
    """Nothing new is placed there until it is well again. `reason` "" ends it; `well`: it is not seen any more."""

    worker: str
    reason: str = ""
    evidence: str = ""
    well: bool = False


class WorkerRepaired(Recorded, tag="worker-repaired", frozen=True, kw_only=True):
    """A person answers for it: it and its devices take work again, and their cordons are forgotten."""

    worker: str
    by: str


class DeviceCounted(Recorded, tag="device-counted", frozen=True, kw_only=True):
    """A device is seen for the first time, or its error counters moved: from here on only an increase is a sign."""

    device: str
    node: str
    parent: str = ""
    ecc_uncorrected: int | None = None
    ecc_uncorrected_ever: int | None = None
    xid_count: int | None = None


class DeviceJudged(Recorded, tag="device-judged", frozen=True, kw_only=True):
    """What is wrong with a device changed. `ok` ends it; `well`: its sign is not seen any more."""

    device: str
    state: HealthState
    sign: Sign
    reason: str = ""
    evidence: str = ""
    well: bool = False


class DeviceRepaired(Recorded, tag="device-repaired", frozen=True, kw_only=True):
    device: str
    by: str


class HealthHalted(Recorded, tag="health-halted", frozen=True, kw_only=True):
    """G11: so much looks unhealthy that nothing is cordoned by itself. `reason` "" ends it."""

    reason: str = ""


class PoolPowered(Recorded, tag="pool-powered", frozen=True, kw_only=True):
    """What the GPUs of a pool with a watt cap draw changed by a step that matters. None = unknown."""

    pool: str
    watts: int | None = None
    start_watts: int | None = None


class WorkerReserved(Recorded, tag="worker-reserved", frozen=True, kw_only=True):
    """Room on this worker is kept for a job that waits longer than it should. `job` "" ends it."""

    worker: str
    job: str
    ranks: int = 1  # of it that fit there: several workers may be kept for a gang


class NodeSeen(Recorded, tag="node-seen", frozen=True, kw_only=True):
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


class NodeRemoved(Recorded, tag="node-removed", frozen=True, kw_only=True):
    """It is gone, and with it all that ran there."""

    node: str


class NodesWanted(Recorded, tag="nodes-wanted", frozen=True, kw_only=True):
    """So many nodes of a type are asked for, those that are there included; which nodes go is never left open."""

    executor: str
    node_type: str
    nodes: int


class NodeReleased(Recorded, tag="node-released", frozen=True, kw_only=True):
    """Nothing is on it and nobody needs it: exactly this node is let go. `nodes` are wanted besides."""

    node: str
    executor: str
    node_type: str
    nodes: int


class ProvisioningFailed(Recorded, tag="provisioning-failed", frozen=True, kw_only=True):
    """Nodes could not be added or released, for the `failures`th time in a row; tried again at `retry_ms`.

    `kept` were to be released and stay.
    """

    executor: str
    node_type: str
    error: str
    failures: int
    retry_ms: int
    kept: tuple[str, ...] = ()


class TenantConfigured(Recorded, tag="tenant-configured", frozen=True, kw_only=True):
    spec: TenantSpec


class KeyAdded(Recorded, tag="key-added", frozen=True, kw_only=True):
    key: ApiKey
    by: str


class KeyRevoked(Recorded, tag="key-revoked", frozen=True, kw_only=True):
    key: str
    by: str
