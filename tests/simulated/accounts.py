"""What the checker writes down of jobs, payers and workers."""

from __future__ import annotations

import msgspec

from agentorch.model.fleet import Reservation, TenantSpec
from agentorch.model.jobs import Cause, JobSpec, JobState


class Try(msgspec.Struct):
    number: int
    worker: str
    pool: str
    places: list[tuple[str, tuple[str, ...]]]  # (worker, devices) of each rank
    cpu_milli: int
    memory_bytes: int
    reserved: int
    paid_until_ms: int
    ended: bool = False
    stopping: Cause | None = None
    stop_ms: int = 0  # true time by which it must be gone, if everything works


class Work(msgspec.Struct):
    id: str
    tenant: str
    spec: JobSpec
    tries: dict[int, Try] = {}
    over: JobState | None = None
    held: bool = False
    cancelled: bool = False  # somebody was told so

    @property
    def live(self) -> Try | None:
        newest = next(reversed(self.tries.values()), None)
        return newest if newest is not None and not newest.ended else None


class Payer(msgspec.Struct):
    spec: TenantSpec
    spent: int = 0
    reserved: int = 0
    running: int = 0


class Room(msgspec.Struct):
    pool: str
    node: str
    cpu_milli: int
    memory_bytes: int
    devices: list[str]
    cordoned: bool = False
    retiring: bool = False


def names(one: Reservation, work: Work) -> bool:
    """Whether room is reserved for this work."""
    return one.tenant in ("", work.tenant) and one.tier in ("", work.spec.tier)
