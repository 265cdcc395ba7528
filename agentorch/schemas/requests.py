"""What comes in. Field names are those that users of SkyPilot and dstack already type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agentorch.model import limits
from agentorch.schemas.base import INTEGRAL, Request
from agentorch.schemas.jobs import Dollars, Moment


class AnswerRequest(Request):
    """A person's answer to an open approval. `proposal_hash` says which version of it was looked at."""

    answer: Literal["approve", "edit", "reject"]
    edits: dict[str, Annotated[int, INTEGRAL] | str] = Field(default_factory=dict)
    reason: str = Field(default="", max_length=limits.REASON_MAX_CHARS)
    proposal_hash: str = ""


class BatchAnswerItem(AnswerRequest):
    id: str


class BatchAnswerRequest(Request):
    """Each item is answered by itself: one that is refused undoes no other."""

    answers: list[BatchAnswerItem] = Field(min_length=1, max_length=100)


class ModeRequest(Request):
    mode: Literal["paused", "observe", "approve", "guarded"]
    reason: str = Field(default="", max_length=limits.REASON_MAX_CHARS)


class ForeseeRequest(Request):
    """An action as a brain would want it, `{"kind": "scale", "pool": "gpu", "workers": 6}`. Nothing is proposed."""

    action: dict[str, Any] = Field(min_length=1)


class ProgressRequest(Request):
    """A job speaks of itself. `move_to`: a pool it would rather be in, "" = any other allowed one."""

    percent: float | None = Field(default=None, ge=0, le=100)
    message: str = Field(default="", max_length=500)
    checkpoint: bool = False
    move_to: str | None = None


class KeyRequest(Request):
    name: str = Field(min_length=1, max_length=100)
    roles: list[Literal["submit", "view", "approve", "admin"]] = Field(min_length=1)
    tenant: str = ""


class TenantRequest(Request):
    """What is left out stays as it is; `null` takes a cap away. A name that nobody knows makes a new tenant."""

    weight: Annotated[int, Field(ge=1, le=10_000), INTEGRAL] | None = None
    hard_cap_usd: Dollars | None = None
    max_running: Annotated[int, Field(ge=1, le=10_000_000), INTEGRAL] | None = None


class PoolPatch(Request):
    workers: Annotated[int, Field(ge=0, le=10_000_000), INTEGRAL] | None = None
    paused: bool | None = None
    reason: str = Field(default="", max_length=500)


class WorkerPatch(Request):
    cordoned: bool
    reason: str = Field(default="", max_length=500)


class JobPatch(Request):
    """What the owner may change of its own live job. Durations and times in the micro syntax of a job."""

    priority: Annotated[int, Field(ge=0, le=100), INTEGRAL] | None = None
    deadline: Moment | None = None
    start_at: Moment | None = None
    hold: bool | None = None
    pool: str | None = None
    reason: str = Field(default="", max_length=500)
