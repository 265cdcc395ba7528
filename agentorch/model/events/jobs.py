"""What happens to jobs and their attempts."""

from __future__ import annotations

from agentorch.model.events.base import Recorded
from agentorch.model.jobs import Cause, JobSpec, JobState, Place, Resources, Usage


class JobSubmitted(Recorded, tag="job-submitted", frozen=True, kw_only=True):
    job: str
    number: int
    tenant: str
    spec: JobSpec
    by: str
    idempotency_key: str = ""
    body_sha256: str = ""


class JobHeld(Recorded, tag="job-held", frozen=True, kw_only=True):
    job: str
    by: str
    reason: str = ""


class JobReleased(Recorded, tag="job-released", frozen=True, kw_only=True):
    job: str
    by: str


class JobChanged(Recorded, tag="job-changed", frozen=True, kw_only=True):
    """Its place in time changed. None = unchanged."""

    job: str
    by: str
    priority: int | None = None
    deadline_ms: int | None = None
    not_before_ms: int | None = None


class JobRerouted(Recorded, tag="job-rerouted", frozen=True, kw_only=True):
    job: str
    pool: str  # "" = any allowed pool again
    by: str


class JobStarted(Recorded, tag="job-started", frozen=True, kw_only=True):
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
    borrowed: bool = False  # its pool is none of its own, and lends


class AttemptRunning(Recorded, tag="attempt-running", frozen=True, kw_only=True):
    job: str
    attempt: int


class RankRunning(Recorded, tag="rank-running", frozen=True, kw_only=True):
    """One rank of a gang runs; `AttemptRunning` follows the last."""

    job: str
    attempt: int
    rank: int


class RankEnded(Recorded, tag="rank-ended", frozen=True, kw_only=True):
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


class JobStopping(Recorded, tag="job-stopping", frozen=True, kw_only=True):
    job: str
    attempt: int
    cause: Cause
    grace_ms: int
    by: str
    room_for: str = ""  # the job that it gives way to


class AttemptEnded(Recorded, tag="attempt-ended", frozen=True, kw_only=True):
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


class JobRequeued(Recorded, tag="job-requeued", frozen=True, kw_only=True):
    job: str
    cause: Cause
    not_before_ms: int = 0
    counts: bool = True  # it used up one of the job's retries
    resources: Resources | None = None  # grown after an oom


class JobEnded(Recorded, tag="job-ended", frozen=True, kw_only=True):
    job: str
    state: JobState
    cause: Cause
    by: str = ""


class ReservationExtended(Recorded, tag="reservation-extended", frozen=True, kw_only=True):
    job: str
    attempt: int
    add_usd_micros: int
    paid_until_ms: int


class JobProgressed(Recorded, tag="job-progressed", frozen=True, kw_only=True):
    job: str
    percent: float | None = None
    message: str = ""
    checkpointed: bool = False
