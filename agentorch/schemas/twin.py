"""What the API answers with about the twin: ranges, courses, impacts, scores. Fields are those of `model.twin`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import computed_field

from agentorch.schemas.base import Document

#: Of which measures less is better (False: more is), the most telling first.
LESS_IS_BETTER: Final = {
    "wait_p95_s": True,
    "misses": True,
    "cost_usd_micros": True,
    "preempted": True,
    "lost_s": True,
    "wait_p50_s": True,
    "queued": True,
    "ended": False,
    "utilization_percent": False,
}
#: Whether these happen is what an approver asks: said also where both courses have none.
ALWAYS_SAID: Final = frozenset({"misses", "preempted"})

Judged = Literal["better", "worse", "same", "unclear"]


class RangeDocument(Document):
    """One number over all draws: 10 %, 50 % and 90 % of them are not above these."""

    low: float = 0.0
    mid: float = 0.0
    high: float = 0.0


NOTHING = RangeDocument()


class WaitsDocument(Document):
    """How long the jobs of a pool and tier waited, seconds."""

    pool: str
    tier: str
    p50_s: RangeDocument
    p95_s: RangeDocument


class CourseDocument(Document):
    """How it goes from now until the horizon. The series are medians at equally spaced times up to it."""

    wait_p50_s: RangeDocument = NOTHING
    wait_p95_s: RangeDocument = NOTHING
    queued: RangeDocument = NOTHING
    ended: RangeDocument = NOTHING
    misses: RangeDocument = NOTHING
    cost_usd_micros: RangeDocument = NOTHING
    utilization_percent: RangeDocument = NOTHING
    preempted: RangeDocument = NOTHING
    lost_s: RangeDocument = NOTHING
    waits: list[WaitsDocument] = []
    queue: list[float] = []
    waited_s: list[float] = []
    pool_waited_s: dict[str, list[float]] = {}


class ChangeDocument(Document):
    """One measure without the action and with it, and what the numbers say of the difference.

    `unclear`: the difference is no larger than what chance does.
    """

    measure: (
        str  # a field of CourseDocument: _s is seconds, _usd_micros millionths of a dollar, else a count or percent
    )
    idle: RangeDocument
    acted: RangeDocument
    changed: RangeDocument | None = None  # acted - idle, draw by draw; None where only the two courses are known
    judged: Judged


class ImpactDocument(Document):
    """What an action changes: the same draws without it and with it.

    `text` says why there are no numbers, if so, or why they are not those of now.
    """

    horizon_s: float = 0.0
    draws: int = 0
    steps: int = 0  # simulated events, of both courses together
    stopped_early: bool = False
    idle: CourseDocument | None = None
    acted: CourseDocument | None = None
    gain_s: RangeDocument = NOTHING  # waiting time saved until the horizon, of all jobs together
    changed: dict[str, RangeDocument] = {}  # measure -> acted - idle, draw by draw: the same chance in both
    text: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def changes(self) -> list[ChangeDocument]:
        """Each measure that either course has, the most telling first; none where nothing was computed."""
        if self.idle is None or self.acted is None:
            return []
        found = []
        for measure, less_is_better in LESS_IS_BETTER.items():
            idle: RangeDocument = getattr(self.idle, measure)
            acted: RangeDocument = getattr(self.acted, measure)
            if measure in ALWAYS_SAID or idle.high or acted.high:
                changed = self.changed.get(measure)
                word = judged(idle, acted, changed, less_is_better=less_is_better)
                found.append(ChangeDocument(measure=measure, idle=idle, acted=acted, changed=changed, judged=word))
        return found


def judged(
    idle: RangeDocument, acted: RangeDocument, changed: RangeDocument | None = None, *, less_is_better: bool
) -> Judged:
    """By the numbers alone. Draw by draw, a change counts when eight of ten draws agree on its direction. Where only
    the two courses are known, it counts when the middle of one lies outside the range of the other, so that it is
    larger than what chance does to either.
    """
    if changed is not None:
        if not changed.low and not changed.high:
            return "same"
        if not changed.mid or changed.low * changed.high < 0:
            return "unclear"
        return "better" if (changed.mid < 0) == less_is_better else "worse"
    if idle.mid == acted.mid:
        return "same"
    if acted.low <= idle.mid <= acted.high and idle.low <= acted.mid <= idle.high:
        return "unclear"
    return "better" if (acted.mid < idle.mid) == less_is_better else "worse"


class MeasuredDocument(Document):
    measure: str
    predicted: RangeDocument
    measured: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def inside(self) -> bool:
        return self.predicted.low <= self.measured <= self.predicted.high


class ScoreDocument(Document):
    """How an action came out, as of its horizon."""

    at_ms: int
    measures: list[MeasuredDocument]


class CalibrationDocument(Document):
    """Of one brain and kind of action: predicted numbers that were scored, and how many lay inside their range."""

    brain: str
    kind: str
    scored: int
    inside: int
