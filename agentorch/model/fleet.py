"""Pools, workers and devices: where work runs; and the tenants who pay for it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agentorch.model import limits
from agentorch.model.health import PoolPower
from agentorch.model.jobs import Resources


class Reservation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Capacity of a pool that only a tenant's, a tier's or a tenant's tier's work may take (G10).

    Whole workers, or an amount of GPUs and cores wherever they are in the pool. A job counts for the first reservation
    of the pool that names it.
    """

    tenant: str = ""
    tier: str = ""
    workers: int = 0
    gpus: int = 0
    cpu_milli: int = 0


class PoolSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Interchangeable workers. `price_usd_micros_per_hour` is per worker; None = unknown, never zero."""

    name: str
    executor: str = "local"
    node_type: str = ""  # "" = shares of one fixed machine; "*" = of any node of its executor; else of such nodes only
    min_workers: int = 1
    max_workers: int = 1
    workers: int = 1  # at the first start
    shape: Resources = Resources()  # of one worker
    price_usd_micros_per_hour: int | None = 0
    region: str = "local"
    spot: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    protected: bool = False  # the supervisor may not touch it (G16)
    target_wait_ms: int = 60_000  # queue wait that the supervisor steers for
    power_cap_watts: int | None = None
    drain_grace_ms: int = limits.DRAIN_GRACE_MS  # on nodes: until what runs on a worker that is to go is stopped
    provision_timeout_ms: int = limits.PROVISION_TIMEOUT_MS  # a node that is not there by then has failed to come
    preempts: bool = True  # the scheduler may stop work with a checkpoint here for work with a better claim
    lends: bool = False  # what idles here may be borrowed, until those who may run here anyway need it
    reservations: tuple[Reservation, ...] = ()

    @property
    def elastic(self) -> bool:
        """Its workers live on nodes that come and go; else they are shares of one fixed machine."""
        return bool(self.node_type)


class NodeState(StrEnum):
    up = "up"
    suspect = "suspect"  # it, or the way to it, is in doubt: nothing new starts there, and nothing is requeued yet
    draining = "draining"  # on its way out: takes nothing new, is released when it is empty
    down = "down"  # gone; what ran there is reported lost once it can't be running any more


class Node(msgspec.Struct, kw_only=True):
    """A machine as the fold of its events; workers are shares of it. Only `core.evolve` writes to it.

    `state` is what its executor reported, but `draining` as soon as it is on its way out, whoever wants that.
    """

    id: str
    executor: str
    type: str = ""
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cpu_milli: int = 0
    memory_bytes: int = 0
    devices: tuple[str, ...] = ()
    device_names: tuple[str, ...] = ()
    device_memory_bytes: tuple[int, ...] = ()
    state: NodeState = NodeState.up
    problem: str = ""
    notice_ms: int | None = None
    reported: NodeState = NodeState.up
    released: bool = False  # its executor was told to let it go
    released_ms: int | None = None
    hosted: bool = False  # a worker of ours was on it
    unlisted_ms: int | None = None  # since when its executor does not list it
    added_ms: int = 0
    workers: list[str] = []


class NodeGroup(msgspec.Struct, kw_only=True):
    """The nodes of one type of an executor. Only `core.evolve` writes to it.

    A node that vanishes takes its place in `wanted` with it, so that its replacement is asked for as a change. What
    such nodes have is known from the newest that was seen.
    """

    executor: str
    type: str
    wanted: int | None = None  # None: nobody asked for any
    since_ms: int | None = None  # when nodes that are not there yet were asked for
    failures: int = 0  # in a row
    error: str = ""  # the last one's
    retry_ms: int = 0  # nothing more is asked for before then
    took_ms: list[int] = []  # from asking to coming, of the newest that came
    cpu_milli: int = 0  # 0: none was ever seen
    memory_bytes: int = 0
    device_names: tuple[str, ...] = ()
    device_memory_bytes: tuple[int, ...] = ()


class WorkerState(StrEnum):
    up = "up"
    retiring = "retiring"  # takes nothing new, goes when it is empty
    down = "down"  # its node is gone


class Worker(msgspec.Struct, kw_only=True):
    """A share of a node on which the attempts that fit run. Only `core.evolve` writes to it."""

    id: str
    pool: str
    node: str
    shape: Resources
    number: int = 0  # in which order the pool's workers came
    devices: tuple[str, ...] = ()  # GPUs of this worker, by UUID
    state: WorkerState = WorkerState.up
    node_state: NodeState = NodeState.up  # of its node: it takes nothing new unless that is up
    retired_ms: int | None = None
    retire_reason: str = ""
    cordoned: bool = False
    cordon_reason: str = ""
    cordoned_by: str = ""
    cordon_sign: str = ""  # what `health` cordoned it for
    broken: bool = False  # cordoned by health too often: only a person's repair brings it back
    cordons: list[int] = []  # times at which health cordoned it, the newest ones
    suspect: str = ""  # why nothing new is placed here for now; "" = nothing is wrong
    suspect_ms: int | None = None
    well_ms: int | None = None  # since when that is not seen any more
    added_ms: int = 0
    free_cpu_milli: int = 0
    free_memory_bytes: int = 0
    free_devices: list[str] = []
    running: list[str] = []  # job ids, in start order
    reserved_for: str = ""  # a job that waits for room here
    reserved_ranks: int = 0  # and for how many ranks of it
    failures: int = 0  # attempts in a row that ended by no fault of the job; those of one moment count as one
    failed_ms: int | None = None  # when the newest of them was counted
    last_idle_ms: int = 0


class Pool(msgspec.Struct, kw_only=True):
    """A pool as the fold of its events."""

    spec: PoolSpec
    target: int = 0  # workers wanted
    next_worker: int = 0
    workers: list[str] = []
    retiring: int = 0  # how many of them go when they are empty
    paused: bool = False
    paused_reason: str = ""
    failed_starts: int = 0  # in a row (G12)
    grew_ms: int | None = None
    scaled_ms: int | None = None
    telemetry_ms: int | None = None  # time of the newest sample that an observation carried
    needs: list[tuple[int, int]] = []  # (time, workers needed), as observed: the memory that G2 shrinks by
    waits: list[tuple[int, int]] = []  # (time, queue wait ms) of the newest starts
    gave_way_ms: tuple[int, ...] = ()  # when the scheduler stopped attempts here, within `BLAST_WINDOW_MS`
    power: PoolPower = msgspec.field(default_factory=PoolPower)  # known for a pool with a cap only
    room_lost_ms: int = 0  # when workers went, or reservations changed: what ran by then may be in their way


class TenantSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who pays and is limited. `hard_cap_usd_micros` None = no cap; `weight` shares what is contended."""

    name: str
    weight: int = 100
    hard_cap_usd_micros: int | None = None
    max_running: int | None = None  # jobs at once


class Tenant(msgspec.Struct, kw_only=True):
    """A tenant as the fold of its events. `usage` is decayed dominant share, see `core.fairshare`."""

    spec: TenantSpec
    spent_usd_micros: int = 0
    reserved_usd_micros: int = 0
    usage: float = 0.0
    queued: int = 0
    running: int = 0
    finished: int = 0


class Role(StrEnum):
    submit = "submit"
    view = "view"
    approve = "approve"
    admin = "admin"


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key, hashed at rest. `tenant` "" = every tenant (admins and operators)."""

    id: str
    sha256: str
    roles: tuple[Role, ...]
    tenant: str = ""
    name: str = ""
    added_ms: int = 0
