"""The facts: what the fold of the ledger amounts to. They are encoded into snapshots and compared byte for byte.

`core.evolve` alone writes here. Dicts keep the order in which their keys arrived, and rules may rely on it.
"""

from __future__ import annotations

import msgspec

from agentorch.model.fleet import ApiKey, Node, NodeGroup, Pool, Tenant, Worker
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.health import DeviceCounters, DeviceFault
from agentorch.model.jobs import Job
from agentorch.model.observation import HistoryPoint, Observation
from agentorch.model.proposals import BrainReport, Mode, Proposal
from agentorch.model.twin import Calibration, Watched

#: Raised whenever a guardrail changes what it says. Verdicts carry it; `verify` judges again only its own version.
RULES_VERSION = 5


class Idempotent(msgspec.Struct, frozen=True, gc=False):
    """What an idempotency key stands for."""

    job: str
    body_sha256: str
    at_ms: int


class Decision(msgspec.Struct, kw_only=True):
    """One supervisor cycle: what it saw, what the brain said, and the proposals that came of it."""

    cycle: int
    seq: int
    at_ms: int
    observation_sha256: str
    observation: Observation | None = None  # kept for the newest decisions only; the ledger has all
    report: BrainReport | None = None
    proposals: list[str] = []


class Alert(msgspec.Struct, frozen=True, gc=False):
    at_ms: int
    code: str
    text: str
    by: str


class Acted(msgspec.Struct, frozen=True, gc=False):
    """An action of the last hour: what cooldowns, counts and the blast radius are weighed against (G5, G6)."""

    at_ms: int
    proposal: str
    target: str
    disruption: str  # "" = it disturbs nothing
    disturbs: tuple[tuple[str, int], ...]  # (pool, jobs or workers)


class Facts(msgspec.Struct, kw_only=True):
    """Everything that a snapshot holds."""

    seq: int = 0  # of the last event folded in
    at_ms: int = 0  # newest event time
    world_seq: int = 0  # of the last event that changed what a plan rests on: jobs, fleet, tenants
    epoch: int = 0
    closed: bool = True  # the last runtime closed in order
    jobs: dict[str, Job] = {}
    next_job: int = 1
    finished: dict[str, None] = {}  # finished jobs in order of their end, the oldest first
    dependants: dict[str, list[str]] = {}  # job id -> jobs that wait for it
    pools: dict[str, Pool] = {}
    workers: dict[str, Worker] = {}
    nodes: dict[str, Node] = {}
    node_groups: dict[str, NodeGroup] = {}  # by `core.nodes.group_key`
    pool_devices: dict[str, list[str]] = {}  # GPUs that a pool may hand to new workers
    devices: dict[str, DeviceCounters] = {}  # GPUs and slices that were ever sampled
    device_faults: dict[str, DeviceFault] = {}  # those of them that take no new work
    health_halt: str = ""  # G11: why nothing is cordoned by itself now
    started_ms: int = 0  # when this incarnation of the runtime began
    tenants: dict[str, Tenant] = {}
    usage_epoch_ms: int = 0  # zero point of the decayed usage, see core.fairshare
    keys: dict[str, ApiKey] = {}
    idempotency: dict[str, Idempotent] = {}  # "tenant\0key" in order of arrival
    reserved: dict[str, list[str]] = {}  # job -> workers on which room is kept for it
    ports: dict[str, list[int]] = {}  # node -> ports at which gangs that live meet there
    last_port: int = 0  # given to a gang
    running: dict[str, None] = {}  # jobs on a worker, in start order
    borrowed: dict[str, None] = {}  # those of them that are in a pool that lends to them
    held: dict[str, None] = {}
    impatient: dict[str, None] = {}  # live jobs that named a longest wait
    mode: Mode = Mode.guarded
    mode_by: str = "default"
    mode_reason: str = ""
    cycle: int = 0
    next_proposal: int = 1
    proposals: dict[str, Proposal] = {}
    unsettled: dict[str, None] = {}  # proposals that are allowed, open, approved or acting
    settings: GuardrailSettings = GuardrailSettings()
    acted: list[Acted] = []  # actions of the last hour, oldest first
    decisions: dict[int, Decision] = {}
    history: list[HistoryPoint] = []
    alerts: list[Alert] = []
    brain_failures: int = 0  # in a row
    watched: dict[str, Watched] = {}  # proposals being carried out whose impact will be scored
    calibration: dict[str, Calibration] = {}  # by `brain\0kind of action`
    dated: dict[str, None] = {}  # live jobs with a deadline
    late: int = 0  # jobs that ever ended after their deadline
    preempted: int = 0  # attempts that were ever stopped for others
    ended_by_state: dict[str, int] = {}  # finished jobs ever, by final state
    spent_usd_micros: int = 0
    runs: dict[str, list[int]] = {}  # by kind of work, the one seen least lately first, see core.forecast.memory
    long_runs: dict[str, int] = {}  # by kind of paid work: what nine of ten runs did not exceed, as of the newest one
    learned_second: int = 0  # in which `learned` runs were remembered
    learned: int = 0
    arrivals: dict[str, float] = {}  # by kind of work, decayed as of `arrivals_ms`, see core.forecast.arrivals
    arrivals_ms: int = 0
    arrivals_since_ms: int = 0
    arrivals_next_job: int = 1  # the first that is not in the sums yet
