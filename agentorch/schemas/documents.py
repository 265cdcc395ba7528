"""What the API answers with about jobs, the fleet and money. Times `_at` are seconds since the epoch."""

from __future__ import annotations

from typing import Any

from agentorch.schemas.base import Document, Page


class RankDocument(Document):
    """One rank of a gang's attempt; its place in the list is its number."""

    worker: str
    node: str = ""
    devices: list[str] = []
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    message: str = ""
    cpu_s: float = 0.0
    memory_peak_bytes: int = 0


class AttemptDocument(Document):
    """Of a gang: worker and devices are rank 0's; exit code, cause and message those of the rank that failed first."""

    number: int
    worker: str
    node: str = ""
    pool: str
    ranks: list[RankDocument] = []  # of a gang, rank 0 first
    failed_rank: int | None = None  # which of them failed first
    devices: list[str] = []
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    message: str = ""
    cpu_s: float = 0.0
    memory_peak_bytes: int = 0
    cost_usd: float = 0.0
    cost_known: bool = True  # False: it ran at an unknown price, and `cost_usd` leaves that part out
    energy_j: float | None = None  # that its GPUs drew; None: unknown, or it had none
    borrowed: bool = False  # in a pool that lends: it gives way to that pool's own work


class ReasonDocument(Document):
    """Why a job is not running: the first reason that applies, in words."""

    code: str
    text: str


class JobDocument(Document):
    id: str
    name: str
    tenant: str
    kind: str = "task"
    tier: str
    state: str
    reason: ReasonDocument | None = None  # None while it runs and after it ended
    priority: int
    command: list[str]  # empty for an entry point
    entry: dict[str, Any] | None = None  # the Python function that it calls, instead of a command
    workers: int = 1  # ranks of a gang
    pool: str | None = None  # where it runs or ran, or the pool it waits for first
    worker: str | None = None
    attempt: int = 0
    attempts: list[AttemptDocument] = []
    exit_code: int | None = None
    cause: str | None = None
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    deadline_at: float | None = None
    not_before_at: float | None = None
    wait_s: float = 0.0  # time spent waiting so far or in all, until its newest start
    run_s: float = 0.0
    cost_usd: float = 0.0
    cost_known: bool = True  # False: an attempt ran at an unknown price, and `cost_usd` leaves it out
    energy_j: float | None = None  # that its GPUs drew in all ended attempts; None: unknown for one, or it had none
    progress_percent: float | None = None
    progress_message: str = ""
    checkpoint_at: float | None = None
    preemptible: bool = True
    resources: dict[str, Any] = {}
    constraints: dict[str, Any] = {}
    labels: dict[str, str] = {}
    depends_on: list[str] = []
    predicted_start_p50_s: float | None = None  # only in the single-job document, from now on; None: unknown, or past
    predicted_start_p90_s: float | None = None
    predicted_end_p50_s: float | None = None
    predicted_end_p90_s: float | None = None
    predicted_duration_p50_s: float | None = None  # of what is still to run
    predicted_duration_p90_s: float | None = None
    predicted_text: str = ""  # what these rest on, or why they are unknown
    result: Any = None  # what its entry point returned; only in the single-job document
    spec: dict[str, Any] | None = None  # whole specification; only in the single-job document


class JobPage(Page):
    items: list[JobDocument]


class BatchItem(Document):
    """What became of one job of a batch: `id` of the job, or the problem that refused it."""

    status: int  # 201 created, 200 known by its idempotency key, else that of the problem
    id: str | None = None
    problem: dict[str, Any] | None = None


class BatchDocument(Document):
    items: list[BatchItem]
    created: int
    refused: int


class JobEventDocument(Document):
    """One event in the life of a job. `body` is the event as the ledger has it; times in it are milliseconds."""

    seq: int
    at: float
    event: str
    text: str
    body: dict[str, Any]


class JobEventsDocument(Document):
    """`truncated`: only the newest events are here; the ledger has them all."""

    items: list[JobEventDocument]
    truncated: bool = False


class VerifyDocument(Document):
    """What a walk over the whole ledger found. `first_bad_seq` and `why` are set when it is not ok."""

    ok: bool
    last_seq: int
    head_hash: str
    segments: int
    events: int
    verdicts_judged_again: int = 0
    verdicts_of_older_rules: int = 0
    reports_handed_in_again: int = 0
    proposals_same: int = 0  # byte for byte, hashes and all
    proposals_not_again: int = 0  # drafts that were no action: recorded cleaned, and denied
    first_different: int | None = None
    first_bad_seq: int | None = None
    why: str = ""


class HealthDocument(Document):
    status: str


class PredicateDocument(Document):
    """One predicate of the scheduler: `ok`, or why not."""

    code: str
    ok: bool
    text: str


class PoolExplanation(Document):
    pool: str
    ok: bool
    predicates: list[PredicateDocument]


class ExplainDocument(Document):
    job: str
    state: str
    reason: ReasonDocument | None
    position: int | None = None  # jobs that go first, as the scheduler would order them now
    start_p50_s: float | None = None  # when it is expected to start, from now on; None: unknown, or it does not wait
    start_p90_s: float | None = None
    start_text: str = ""  # what that rests on, or why it is unknown
    predicates: list[PredicateDocument]  # of the job itself
    pools: list[PoolExplanation]


class OfferDocument(Document):
    pool: str
    feasible: bool
    text: str
    price_usd_per_hour: float | None  # None: unknown
    max_cost_usd: float | None
    free_now: bool
    position: int
    start_p50_s: float | None = None  # from now on, if it goes to this pool; None: unknown
    start_p90_s: float | None = None
    predicates: list[PredicateDocument] = []


class PlanDocument(Document):
    seq: int
    feasible: bool
    text: str
    offers: list[OfferDocument]
    start_p50_s: float | None = None  # from now on; None: unknown, and `forecast_text` says why
    start_p90_s: float | None = None
    end_p50_s: float | None = None
    end_p90_s: float | None = None
    duration_p50_s: float | None = None
    duration_p90_s: float | None = None
    forecast_text: str = ""


class DeviceDocument(Document):
    id: str
    kind: str
    name: str
    node: str
    age_s: float | None
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    pressure_percent: float | None = None  # share of time in which something waited, of the processors
    memory_pressure_percent: float | None = None
    io_pressure_percent: float | None = None
    temperature_limit_c: float | None = None  # at which it slows itself down
    energy_j: float | None = None  # drawn since its driver was loaded
    throttled: list[str] | None = None  # why its clocks are held down
    ecc_uncorrected: int | None = None  # memory errors since its last reset
    rows_pending: bool | None = None
    rows_failed: bool | None = None
    xid_count: int | None = None  # errors that its driver reported since it is watched
    xids: list[int] = []  # the newest of them
    parent: str = ""
    error: str = ""
    health: str = "ok"  # ok | suspect | cordoned | broken; nothing new is placed on it unless it is ok
    health_reason: str = ""
    health_evidence: str = ""
    health_since: float | None = None
    history: list[tuple[float, float | None]] = []  # (time, utilisation)


class WorkerDocument(Document):
    id: str
    pool: str
    node: str
    node_state: str = "up"  # up | suspect | draining | down: it takes work only while its node is up
    node_problem: str = ""
    state: str  # up | retiring | down
    cordoned: bool = False
    cordon_reason: str = ""
    cordoned_by: str = ""
    health: str = "ok"  # ok | suspect | cordoned | broken: what telemetry and failures say of it
    health_reason: str = ""
    cpus: float
    memory_bytes: int
    gpus: int
    devices: list[str] = []
    devices_out: dict[str, str] = {}  # those that take no work, and why
    free_cpus: float
    free_memory_bytes: int
    free_gpus: int
    jobs: list[str] = []
    reserved_for: str = ""


class NodeDocument(Document):
    """A machine that an executor lists."""

    id: str
    executor: str
    type: str = ""
    state: str  # up | suspect | draining | down
    problem: str = ""
    address: str = ""
    labels: dict[str, str] = {}
    cpus: float
    memory_bytes: int
    devices: list[str] = []
    device_names: list[str] = []
    workers: list[str] = []
    pools: list[str] = []
    added_at: float
    goes_at: float | None = None  # its provider takes it away then


class ReservationDocument(Document):
    """Room that only such work may take: whole workers, or GPUs and cores."""

    tenant: str = ""
    tier: str = ""
    workers: int = 0
    gpus: int = 0
    cpus: float = 0.0
    unused_workers: int = 0  # of it, what nobody uses now, and nobody else may take
    unused_gpus: int = 0
    unused_cpus: float = 0.0


class PoolDocument(Document):
    name: str
    executor: str
    node_type: str = ""  # "" = shares of one fixed machine; "*" = of any node of its executor
    workers: int
    available: int
    busy: int
    target: int
    min_workers: int
    max_workers: int
    cpus: float  # of one worker
    memory_bytes: int
    gpus: int
    price_usd_per_hour: float | None
    region: str
    spot: bool
    labels: dict[str, str] = {}
    paused: bool = False
    paused_reason: str = ""
    protected: bool = False
    queued: int = 0
    running: int = 0
    utilization_percent: float = 0.0
    wait_s_p50: float = 0.0
    wait_s_p95: float = 0.0
    target_wait_s: float = 60.0
    telemetry_age_s: float | None = None
    failed_starts: int = 0
    nodes: int = 0  # there, of those that its workers may be on
    nodes_wanted: int | None = None  # None: nobody asked for any
    provisioning_failures: int = 0  # in a row
    provisioning_error: str = ""
    provisioning_retry_s: float = 0.0  # until nodes are asked for again
    power_cap_watts: int | None = None
    power_watts: int | None = None  # of a pool with a cap, rounded up to a tenth of it; None = unknown
    lends: bool = False  # what idles there may be borrowed
    borrowed: int = 0  # jobs that run there and give way to its own work
    reservations: list[ReservationDocument] = []


class TenantDocument(Document):
    name: str
    weight: int
    max_running: int | None = None
    queued: int = 0
    running: int = 0
    finished: int = 0


class BudgetDocument(Document):
    tenant: str
    hard_cap_usd: float | None
    spent_usd: float
    reserved_usd: float
    burn_usd_per_hour: float
    exhausted_in_s: float | None = None  # at the present burn rate; None: never or no cap
    blocked_jobs: int = 0


class KeyDocument(Document):
    id: str
    name: str
    roles: list[str]
    tenant: str
    added_at: float
    secret: str | None = None  # only in the answer to its creation


class AlertDocument(Document):
    at: float
    code: str
    text: str
    by: str
