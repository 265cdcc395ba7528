"""The numbered, hashed snapshot that one supervisor cycle sees. All that a brain knows is in here."""

from __future__ import annotations

import msgspec

from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.proposals import Mode
from agentorch.model.twin import Calibrated


class DeviceSample(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One device at one time. None is unknown, never zero."""

    id: str  # GPU UUID, or `cpu`
    kind: str  # "cpu" | "gpu" | "mig"
    name: str = ""
    node: str = "local"
    at_ms: int = 0
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_limit_c: float | None = None  # at which it slows itself down
    energy_mj: int | None = None  # drawn since its driver was loaded, in millijoules
    throttled: tuple[str, ...] | None = None  # why its clocks are held down
    ecc_uncorrected: int | None = None  # memory errors since its last reset
    ecc_uncorrected_ever: int | None = None
    rows_pending: bool | None = None  # a bad memory row is to be replaced at its next reset
    rows_failed: bool | None = None  # a bad memory row could not be replaced
    xid_count: int | None = None  # errors that its driver reported since this probe listens
    xids: tuple[int, ...] = ()  # the codes of the newest of them, oldest first
    pressure_percent: float | None = None  # PSI `some avg10` of the node's CPU
    memory_pressure_percent: float | None = None
    io_pressure_percent: float | None = None
    memory_stall_percent: float | None = None  # PSI `full avg10`: everything waited for memory
    io_stall_percent: float | None = None
    parent: str = ""  # MIG: the GPU it is a slice of
    processes: tuple[int, ...] = ()
    error: str = ""  # why a field is unknown


class PoolFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    name: str
    workers: int  # that exist and are not retiring
    available: int  # of those, up and not cordoned
    busy: int
    idle: int
    target: int
    min_workers: int
    max_workers: int
    price_usd_micros_per_hour: int | None
    paused: bool = False
    protected: bool = False
    queued: int = 0  # jobs that wait for this pool first
    running: int = 0
    need: int = 0  # workers that running and queued jobs would fill
    utilization_percent: float = 0.0  # of the available workers' slots
    wait_s_p50: float = 0.0  # of what waits now and what started in the last five minutes
    wait_s_p95: float = 0.0
    oldest_wait_s: float = 0.0
    target_wait_s: float = 60.0
    telemetry_age_s: float | None = None  # None: never sampled
    failed_starts: int = 0
    nodes: int = 0  # on which its workers may be, that are there
    nodes_wanted: int | None = None  # None: nobody asked for any
    provisioning_failures: int = 0  # in a row
    provisioning_retry_s: float = 0.0  # until nodes are asked for again; 0 = at any time
    provisioning_error: str = ""


class TenantFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    name: str
    hard_cap_usd_micros: int | None = None
    spent_usd_micros: int = 0
    reserved_usd_micros: int = 0
    burn_usd_micros_per_hour: int = 0
    queued: int = 0
    running: int = 0
    budget_blocked: int = 0


class JobFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    name: str
    tenant: str
    tier: str
    state: str
    priority: int
    pool: str = ""  # where it runs, or the first pool it waits for
    pools: tuple[str, ...] = ()  # every pool that may take it
    worker: str = ""
    wait_s: float = 0.0
    run_s: float = 0.0
    remaining_s: float | None = None  # None: unknown
    deadline_in_s: float | None = None
    reason: str = ""
    preemptible: bool = True


class WorkerFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    pool: str
    state: str
    cordoned: bool = False
    running: int = 0
    failures: int = 0
    health: str = "ok"  # ok, suspect, cordoned, broken: what telemetry and failures say of it
    health_reason: str = ""
    devices_out: int = 0  # of its devices, those that take no work


class NodeFacts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    id: str
    executor: str
    type: str
    state: str
    workers: tuple[str, ...] = ()
    problem: str = ""
    notice_in_s: float | None = None  # until its provider takes it away


class Observation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`jobs` is a sample: the longest waiting and the running, each up to a limit; counts are whole."""

    cycle: int
    seq: int  # ledger sequence it was taken at
    at_ms: int
    mode: Mode
    pools: tuple[PoolFacts, ...] = ()
    tenants: tuple[TenantFacts, ...] = ()
    queued: tuple[JobFacts, ...] = ()
    running: tuple[JobFacts, ...] = ()
    workers: tuple[WorkerFacts, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()
    devices: tuple[DeviceSample, ...] = ()
    queued_total: int = 0
    running_total: int = 0
    open_targets: tuple[str, ...] = ()  # targets with an open proposal
    recent_targets: tuple[str, ...] = ()  # targets acted on within their cooldown
    guardrails: GuardrailSettings = GuardrailSettings()  # in force: a brain need not want what they would deny
    alerted: tuple[str, ...] = ()  # texts of the supervisor's own alerts of the last hour
    calibration: tuple[Calibrated, ...] = ()  # how well what was foreseen came out, the newest kinds last


class HistoryPoint(msgspec.Struct, frozen=True, gc=False):
    """One observation boiled down for plots: times, whole-fleet numbers, and per pool (wait p95 s, queued, busy %)."""

    at_ms: int
    queued: int
    running: int
    wait_s_p95: float
    utilization_percent: float
    spent_usd_micros: int
    burn_usd_micros_per_hour: int
    pools: dict[str, tuple[float, int, float]]
