"""The arguments of each tool: strict, nothing extra, text cleaned before it is looked at.

The docstrings and field descriptions are what a model reads: they are part of the tool schemas.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from agentorch.model.limits import (
    BRAIN_PREVIEWS_PER_CYCLE,
    EVIDENCE_MAX,
    NAME_MAX_CHARS,
    OBSERVED_JOBS_MAX,
    REASON_MAX_CHARS,
    REROUTE_JOBS_MAX,
    TWIN_CANDIDATES_MAX,
)
from agentorch.model.proposals import Draft
from agentorch.tools.text import clean_text

WORKERS_MAX = 1_000_000  # more than any pool has; the pool's own bounds are the guardrails' business
Section = Literal["pools", "tenants", "queued", "running", "workers", "devices"]


def _cleaned_name(value: object) -> object:
    # One character over the limit stays, so that a name that is too long is refused and not shortened into another.
    return clean_text(value, NAME_MAX_CHARS + 1) if isinstance(value, str) else value


def _cleaned_prose(value: object) -> object:
    return clean_text(value, REASON_MAX_CHARS) if isinstance(value, str) else value


Name = Annotated[str, BeforeValidator(_cleaned_name), Field(min_length=1, max_length=NAME_MAX_CHARS)]
NameOrNone = Annotated[str, BeforeValidator(_cleaned_name), Field(max_length=NAME_MAX_CHARS)]
Prose = Annotated[str, BeforeValidator(_cleaned_prose), Field(max_length=REASON_MAX_CHARS)]


class Arguments(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


# -- reading


class ReadObservation(Arguments):
    """Read one part of this cycle's observation."""

    section: Section
    at_most: int = Field(default=OBSERVED_JOBS_MAX, ge=1, le=OBSERVED_JOBS_MAX, description="rows, first ones first")


class ListUnsettled(Arguments):
    """List the targets of open proposals and of recent actions: proposing for them again is of no use."""


class Preview(Arguments):
    """Ask what the guardrails would say of these actions together. Records nothing, changes nothing."""

    actions: list[dict[str, JsonValue]] = Field(
        min_length=1,
        max_length=BRAIN_PREVIEWS_PER_CYCLE,
        description="each with `kind` (scale, reschedule, reroute, cordon, uncordon, alert) and that action's fields",
    )


class Foresee(Arguments):
    """Ask the twin what each of these actions would change, each on its own, against doing nothing. Changes nothing.

    Few questions are answered a cycle, so ask about all that you weigh at once."""

    actions: list[dict[str, JsonValue]] = Field(
        min_length=1, max_length=TWIN_CANDIDATES_MAX, description="each as for `preview`"
    )


# -- proposing


class Proposing(Arguments):
    """What every proposal says beside its action; the fields of the action itself are in the subclasses."""

    kind: ClassVar[str]

    reason: Prose = Field(description="why, in one or two sentences, with numbers from the observation")
    evidence: list[Prose] = Field(default=[], max_length=EVIDENCE_MAX, description="facts that the reason rests on")
    alternatives: list[Prose] = Field(default=[], max_length=EVIDENCE_MAX, description="what else was weighed")

    def draft(self) -> Draft:
        """As a draft; fields left at their defaults are left out of the action."""
        action: dict[str, Any] = self.model_dump(exclude={"reason", "evidence", "alternatives"}, exclude_defaults=True)
        return Draft(
            action={"kind": self.kind, **action},
            reason=self.reason,
            evidence=tuple(self.evidence),
            alternatives=tuple(self.alternatives),
        )


class ProposeScale(Proposing):
    """Propose a pool's number of workers."""

    kind = "scale"

    pool: Name
    workers: int = Field(ge=0, le=WORKERS_MAX, description="the new number of workers, not the difference")


class ProposeReschedule(Proposing):
    """Propose to change one job's place in time."""

    kind = "reschedule"

    job: Name = Field(description="job id")
    change: Literal["priority", "start_at", "pause", "resume", "preempt", "requeue"]
    priority: int | None = Field(default=None, ge=0, le=100, description="for `priority`")
    start_ms: int | None = Field(default=None, ge=0, description="for `start_at`: milliseconds since 1970")


class ProposeReroute(Proposing):
    """Propose to send one queued job, or several of a class, to another pool."""

    kind = "reroute"

    pool: Name = Field(description="the pool they go to")
    job: NameOrNone = Field(default="", description="one job's id; leave empty to name a class")
    tenant: NameOrNone = Field(default="", description="class: whose jobs; empty = anybody's")
    tier: NameOrNone = Field(default="", description="class: of which tier; empty = any")
    from_pool: NameOrNone = Field(default="", description="class: that wait for this pool now")
    at_most: int = Field(default=1, ge=1, le=REROUTE_JOBS_MAX)


class ProposeCordon(Proposing):
    """Propose that nothing new is placed on a worker; what runs there goes on."""

    kind = "cordon"

    worker: Name


class ProposeUncordon(Proposing):
    """Propose that a cordoned worker takes work again."""

    kind = "uncordon"

    worker: Name


class ProposeAlert(Proposing):
    """Propose to tell people something; changes nothing."""

    kind = "alert"

    text: Prose = Field(min_length=1)


class Hold(Arguments):
    """Say that nothing should be done now, and why. Not acting is a decision."""

    reason: Prose
