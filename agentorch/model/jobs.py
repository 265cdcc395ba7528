"""What a job is: its specification, its attempts, its states and the ranked reasons why it is not running."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from agentorch.model import limits


class Tier(StrEnum):
    """How urgent work is. `TIER_RANK` orders them; realtime work is never preempted (G8)."""

    realtime = "realtime"
    standard = "standard"
    flex = "flex"
    batch = "batch"


TIER_RANK: dict[Tier, int] = {tier: rank for rank, tier in enumerate(Tier)}


class JobState(StrEnum):
    queued = "queued"
    held = "held"  # by a person or a pause, never by the scheduler
    starting = "starting"
    running = "running"
    stopping = "stopping"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


WAITING = frozenset({JobState.queued, JobState.held})
ON_WORKER = frozenset({JobState.starting, JobState.running, JobState.stopping})
FINISHED = frozenset({JobState.succeeded, JobState.failed, JobState.cancelled})


class Reason(StrEnum):
    """Why a job is not running, most decisive first: the one shown is the first that applies."""

    held = "held"  # a person, or a pause, holds it
    dependency = "dependency"  # a job that it depends on has not ended yet
    start_time = "start_time"  # it may not start before a time that it named, or that a reschedule set
    backoff = "backoff"  # a retry waits for its back-off
    quota = "quota"  # the tenant runs as much at once as it may
    budget = "budget"  # the tenant's hard cap, or the job's own, can't cover a start
    infeasible = "infeasible"  # no worker that any allowed pool could have is big enough
    pool_paused = "pool_paused"  # every pool that may take it is paused
    power = "power"  # a pool's watt cap leaves no room for a start, or what it draws is unknown (G13)
    no_capacity = "no_capacity"  # no free worker is big enough now
    reserved = "reserved"  # free room is reserved for a tenant or tier, or kept for a job that waits longer
    preempted = "preempted"  # it ran, gave way, and waits again
    order = "order"  # others go first; it is next when they have started


class Cause(StrEnum):
    """Why an attempt ended, or why it is being stopped."""

    completed = "completed"  # exit code 0
    error = "error"  # another exit code, or a signal that nobody here sent
    exec_failed = "exec_failed"  # the program could not be executed at all
    oom = "oom"  # over its memory limit
    timeout = "timeout"  # over max_duration
    cancelled = "cancelled"
    budget = "budget"  # its reservation could not be extended
    gang = "gang"  # another rank of its gang failed, so this one was stopped
    preempted = "preempted"
    requeued = "requeued"
    interruption = "interruption"  # the worker goes away (spot notice, drain)
    lost = "lost"  # the attempt vanished: its shim was killed, or the machine restarted
    node_lost = "node_lost"  # its node stopped answering, and its lease is over: it can't be running any more
    no_capacity = "no_capacity"  # the worker vanished before the attempt could be launched
    max_queue = "max_queue"  # waited longer than it was willing to
    dependency = "dependency"  # a job it depends on failed
    poison = "poison"  # took down too many workers (G12)


#: Causes that say nothing against the job: another attempt costs it no retry of its own.
NOT_THE_JOBS_FAULT = frozenset({Cause.preempted, Cause.requeued})
#: Causes after which a retry policy is asked.
RETRYABLE = frozenset(
    {Cause.error, Cause.exec_failed, Cause.oom, Cause.interruption, Cause.lost, Cause.node_lost, Cause.no_capacity}
)


class RetryOn(StrEnum):
    """What a submitter may ask retries for; `CAUSES_OF` says which causes each word covers."""

    error = "error"
    interruption = "interruption"
    oom = "oom"
    no_capacity = "no_capacity"


CAUSES_OF: dict[RetryOn, frozenset[Cause]] = {
    RetryOn.error: frozenset({Cause.error, Cause.exec_failed}),
    RetryOn.interruption: frozenset({Cause.interruption, Cause.lost, Cause.node_lost}),
    RetryOn.oom: frozenset({Cause.oom}),
    RetryOn.no_capacity: frozenset({Cause.no_capacity}),
}


class Resources(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a job needs, or what a worker has. `memory_bytes` 0 in a job means: not limited, not counted."""

    cpu_milli: int = 1_000
    memory_bytes: int = 0
    gpus: int = 0
    gpu_memory_bytes: int = 0  # of each GPU
    gpu_model: str = ""  # "" = any; else a case-insensitive part of the device's name


class Constraints(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a job may run. Empty means anywhere. Nothing, whoever asks, moves work outside of it (G9).

    `borrow`: beside `pools`, also what idles in a pool that lends, given back as soon as its own work needs it.
    """

    pools: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()  # sorted pairs that the pool must carry
    spot_ok: bool = True
    borrow: bool = False


class RetryPolicy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """At most `attempts` tries in all; back-off doubles from `backoff_ms`; oom retries multiply the memory."""

    on: tuple[RetryOn, ...] = (RetryOn.interruption, RetryOn.no_capacity)
    attempts: int = 3
    backoff_ms: int = limits.SECOND_MS
    oom_factor_percent: int = 150


class Checkpoint(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a job saves itself: where, on which signal, and how long that may take."""

    path: str = ""
    signal: str = "SIGTERM"
    grace_ms: int = limits.STOP_GRACE_MS


class EntryPoint(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A Python function, run by a warm worker that needs no new process: `module:function`, called with JSON values.

    `python` is the interpreter; "" = the one that runs agentorch on that machine.
    """

    call: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    python: str = ""


class JobSpec(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What the submitter asked for, validated. `deadline_ms` is a time; the other `_ms` are durations.

    A job has a `command` or an `entry`. `gang` > 1: that many workers at once, all or nothing, each running it.
    """

    command: tuple[str, ...] = ()
    entry: EntryPoint | None = None
    gang: int = 1
    name: str = ""
    workdir: str = ""  # "" = a directory of the attempt's own
    env: dict[str, str] = {}
    resources: Resources = Resources()
    tier: Tier = Tier.standard
    priority: int = 50  # 0-100
    preemptible: bool = True
    constraints: Constraints = Constraints()
    deadline_ms: int | None = None
    max_queue_ms: int | None = None
    max_duration_ms: int | None = None
    max_cost_usd_micros: int | None = None
    not_before_ms: int = 0
    retry: RetryPolicy = RetryPolicy()
    checkpoint: Checkpoint | None = None
    depends_on: tuple[str, ...] = ()  # job ids; all must succeed
    labels: dict[str, str] = {}
    durable: bool = True  # False: no fsync of its attempt directory; a power cut may lose the exit code

    @property
    def grace_ms(self) -> int:
        """Stop signal to KILL: what its checkpoint takes, else the usual."""
        return self.checkpoint.grace_ms if self.checkpoint else limits.STOP_GRACE_MS


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an attempt used, as the kernel counted it."""

    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    energy_mj: int | None = None  # that its GPUs drew, millijoules; None = unknown, or it had none


class Place(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a rank of a gang goes."""

    worker: str
    node: str = ""
    devices: tuple[str, ...] = ()


class Rank(msgspec.Struct, gc=False, omit_defaults=True, kw_only=True):
    """One member of a gang's attempt: where it runs, and how far it is."""

    worker: str
    node: str = ""
    devices: tuple[str, ...] = ()
    started_ms: int | None = None
    ended_ms: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    message: str = ""
    usage: Usage = Usage()


class Attempt(msgspec.Struct, gc=False, omit_defaults=True, kw_only=True):
    """One numbered try of a job on a worker.

    Of a gang, `worker`, `node` and `devices` are rank 0's, and `ranks` has every rank, the first too; room, money and
    `resources` x ranks are held until the last has ended. Exit code and cause are those of the rank that failed first.
    """

    number: int
    worker: str
    node: str = ""
    ranks: tuple[Rank, ...] = ()  # () = the job is no gang
    failed_rank: int | None = None  # the first that failed; the others are stopped because of it
    port: int = 0  # at which the ranks of a gang meet on rank 0's node, theirs alone while they live
    pool: str
    devices: tuple[str, ...] = ()
    ordered_ms: int  # when the start became an event
    started_ms: int | None = None  # when the process ran
    ended_ms: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    message: str = ""
    usage: Usage = Usage()
    cost_usd_micros: int = 0
    reserved_usd_micros: int = 0
    price_usd_micros_per_hour: int | None = 0  # of all that it holds; None = unknown
    paid_until_ms: int = 0  # the reservation covers the attempt until then
    resources: Resources = Resources()  # what it holds on the worker; each rank of a gang holds as much
    result: str = ""  # what an entry point returned, as JSON
    borrowed: bool = False  # in a pool that lends: it gives way to that pool's own work

    @property
    def members(self) -> tuple[Attempt | Rank, ...]:
        """Everything that runs: the ranks of a gang, else the attempt itself. Index is rank."""
        return self.ranks or (self,)

    def ranks_on(self, worker: str) -> int:
        """How many times it holds `resources` on this worker."""
        if not self.ranks:
            return int(self.worker == worker)
        return sum(1 for rank in self.ranks if rank.worker == worker)


class Job(msgspec.Struct, gc=False, kw_only=True):
    """A job as the fold of its events. Only `core.evolve` writes to it."""

    id: str
    number: int  # submit order
    tenant: str
    spec: JobSpec
    submitted_ms: int
    state: JobState = JobState.queued
    queued_ms: int = 0  # when it last entered the queue
    priority: int = 50
    deadline_ms: int | None = None
    not_before_ms: int = 0
    backoff: bool = False  # not_before_ms was set by a retry
    was_preempted: bool = False
    gave_way_to: str = ""  # the job for which the scheduler stopped it last
    ran_before_ms: int = 0  # run time of its attempts that have ended
    held_by: str = ""
    hold_reason: str = ""
    route_pool: str = ""  # set by a reroute; "" = any allowed pool
    resources: Resources = Resources()  # spec's, grown by oom retries
    attempts: tuple[Attempt, ...] = ()
    attempts_made: int = 0
    retries_used: int = 0
    workers_lost: int = 0
    stop_cause: Cause | None = None
    stop_by: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None
    cause: Cause | None = None
    cost_usd_micros: int = 0
    progress_percent: float | None = None
    progress_message: str = ""
    checkpoint_ms: int | None = None
    waiting_on: int = 0  # dependencies that have not ended yet

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt, or None before the first."""
        return self.attempts[-1] if self.attempts else None
