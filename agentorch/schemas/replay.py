"""What a replay with another brain, other settings or both says: decisions side by side, and the whole time again.

`was` is the recording; in `summary` and `series` it is the recording driven again in virtual time, which is what the
other course can be compared with, and `measured` is what really happened: the nearer the two, the more the difference
can be believed. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agentorch.model import limits
from agentorch.schemas.base import INTEGRAL, Document, Request
from agentorch.schemas.supervision import NoteDocument
from agentorch.schemas.twin import CourseDocument, RangeDocument


class WantedDocument(Document):
    """An action that a brain wanted, and what guardrails said of it."""

    kind: str  # scale | reschedule | reroute | cordon | uncordon | alert | malformed
    target: str
    title: str
    action: dict[str, Any] | None = None  # None: it was no action at all
    reason: str = ""
    ruling: str  # allow | ask | deny
    notes: list[NoteDocument] = []
    state: str = ""  # what became of it, of the recording only: model.proposals.ProposalState
    impact: dict[str, Any] | None = None  # what the twin said of it alone; None: not computed


class StanceDocument(Document):
    """What one brain made of one cycle."""

    brain: str
    actions: list[WantedDocument] = []
    hold: str = ""
    error: str = ""
    verdicts: dict[str, int] = {}  # ruling -> how many


class PredictedDocument(Document):
    """How the twin sees it go on from the recorded state: with nothing done, and with all that each of the two wanted
    and guardrails did not deny, had it been done at once. None: not computed.
    """

    horizon_s: float = 0.0
    draws: int = 0
    idle: CourseDocument | None = None
    was: CourseDocument | None = None
    would: CourseDocument | None = None
    was_gain_s: RangeDocument | None = (
        None  # waiting saved until the horizon against doing nothing, of all jobs together
    )
    would_gain_s: RangeDocument | None = None
    text: str = ""  # why there are no numbers, if so; else what they rest on


class CycleDocument(Document):
    cycle: int
    seq: int  # of its observation
    at: float
    was: StanceDocument
    would: StanceDocument
    same: bool  # the same actions, judged alike
    differences: list[str] = []  # in words, empty when it is the same
    predicted: PredictedDocument = PredictedDocument()


class MeasureDocument(Document):
    """One number of the whole time. `difference` is `would` less `was`; None = unknown."""

    measure: str
    unit: str  # s | usd | jobs | cycles | proposals
    measured: float | None = None  # as it really was
    was: float | None = None  # the recording, driven again
    would: float | None = None
    difference: float | None = None


class SeriesDocument(Document):
    """Parallel lists: how many jobs waited and ran at equally spaced times."""

    at: list[float] = []
    queued_measured: list[float] = []
    queued_was: list[float] = []
    queued_would: list[float] = []
    running_measured: list[float] = []
    running_was: list[float] = []
    running_would: list[float] = []


class ReplayDocument(Document):
    ledger: str  # the name of the file
    head_hash: str
    brain: str  # that of `would`
    was_brains: dict[str, int] = {}  # brain -> recorded cycles that it decided
    settings: dict[str, str] = {}  # what was set otherwise, by key
    from_seq: int
    to_seq: int
    from_at: float
    to_at: float
    cycles: list[CycleDocument] = []
    same: int = 0  # cycles decided alike
    different: int = 0
    summary: list[MeasureDocument] = []
    series: SeriesDocument = SeriesDocument()
    notes: list[str] = []  # what can't be known, and what was assumed


class BranchRequest(Request):
    """Replay a part of a ledger file. `seq`: from there to the end. Asked again, it answers with what it has."""

    brain: str = Field(default="rules", max_length=limits.NAME_MAX_CHARS)  # rules, recorded, or what was allowed
    settings: dict[str, str] = Field(default_factory=dict, alias="set", max_length=100)
    seq: Annotated[int, Field(ge=0), INTEGRAL] | None = None
    from_seq: Annotated[int, Field(ge=0), INTEGRAL] | None = Field(default=None, alias="from")
    to_seq: Annotated[int, Field(ge=0), INTEGRAL] | None = Field(default=None, alias="to")
    wait_s: float = Field(default=20.0, ge=0, le=50)  # answer by then, finished or not


class BranchDocument(Document):
    """A replay under way or done. Ask again with the same body until it is not `running`."""

    state: Literal["running", "done", "failed"]
    done: int = 0  # of `total` cycles, each counted for every course that is driven
    total: int = 0
    problem: str = ""  # why it failed
    replay: ReplayDocument | None = None
