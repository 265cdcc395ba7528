"""The facts. Each event is past tense, carries its time, and is all that `core.evolve` needs to change the state.

Written as keyed JSON, so that a reviewer can read the ledger without this code. Tags are never reused, fields are only
added, with defaults; an unknown tag refuses to start.
"""

from __future__ import annotations

from agentorch.model.events.base import Recorded
from agentorch.model.events.fleet import (
    DeviceCounted,
    DeviceJudged,
    DeviceRepaired,
    HealthHalted,
    KeyAdded,
    KeyRevoked,
    NodeReleased,
    NodeRemoved,
    NodeSeen,
    NodesWanted,
    PoolConfigured,
    PoolPaused,
    PoolPowered,
    PoolRemoved,
    PoolScaled,
    ProvisioningFailed,
    RuntimeClosed,
    RuntimeStarted,
    TenantConfigured,
    WorkerAdded,
    WorkerCordoned,
    WorkerRemoved,
    WorkerRepaired,
    WorkerReserved,
    WorkerRetired,
    WorkerSuspected,
)
from agentorch.model.events.jobs import (
    AttemptEnded,
    AttemptRunning,
    JobChanged,
    JobEnded,
    JobHeld,
    JobProgressed,
    JobReleased,
    JobRequeued,
    JobRerouted,
    JobStarted,
    JobStopping,
    JobSubmitted,
    RankEnded,
    RankRunning,
    ReservationExtended,
)
from agentorch.model.events.supervision import (
    ActionEnded,
    ActionRefused,
    ActionStarted,
    AlertRaised,
    ApprovalAnswered,
    ApprovalExpired,
    CycleDecided,
    CycleObserved,
    GuardrailsConfigured,
    ModeChanged,
    ProposalChanged,
    ProposalForeseen,
    ProposalJudged,
    ProposalLapsed,
    ProposalScored,
    ProposalSuperseded,
)

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
    | ProposalScored
    | ProposalForeseen
)

EVENT_TYPES: tuple[type[Recorded], ...] = Event.__args__
EVENT_NAMES: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in EVENT_TYPES}
