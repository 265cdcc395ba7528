"""Impacts and scores, and what the numbers say of each measure: better, worse, the same, or nobody can know."""

from __future__ import annotations

from typing import Final

import msgspec

from agentorch.model.twin import Impact, Range, Score
from agentorch.schemas.twin import (
    ChangeDocument,
    ImpactDocument,
    Judged,
    MeasuredDocument,
    RangeDocument,
    ScoreDocument,
)

#: Of which measures less is better (False: more is), the most telling first.
LESS_IS_BETTER: Final = {
    "wait_p95_s": True,
    "wait_p50_s": True,
    "misses": True,
    "queued": True,
    "ended": False,
    "cost_usd_micros": True,
    "utilization_percent": False,
    "preempted": True,
    "lost_s": True,
}
#: Whether these happen is what an approver asks: said also where both courses have none.
ALWAYS_SAID: Final = frozenset({"misses", "preempted"})


def impact_document(impact: Impact) -> ImpactDocument:
    document = ImpactDocument.model_validate(msgspec.to_builtins(impact))
    document.changes = changes(impact)
    return document


def changes(impact: Impact) -> list[ChangeDocument]:
    """One row for each measure that either course has; none where nothing was computed."""
    if impact.idle is None or impact.acted is None:
        return []
    found = []
    for measure, less_is_better in LESS_IS_BETTER.items():
        idle: Range = getattr(impact.idle, measure)
        acted: Range = getattr(impact.acted, measure)
        if measure not in ALWAYS_SAID and not idle.high and not acted.high:
            continue
        found.append(
            ChangeDocument(
                measure=measure,
                idle=_range(idle),
                acted=_range(acted),
                judged=judged(idle, acted, less_is_better=less_is_better),
            )
        )
    return found


def judged(idle: Range, acted: Range, *, less_is_better: bool) -> Judged:
    """By the numbers alone. A difference counts when the middle of one course lies outside the range of the other, so
    that it is larger than what chance does to either; a smaller one is unclear.
    """
    if idle == acted or idle.mid == acted.mid:
        return "same"
    if acted.low <= idle.mid <= acted.high and idle.low <= acted.mid <= idle.high:
        return "unclear"
    return "better" if (acted.mid < idle.mid) == less_is_better else "worse"


def _range(found: Range) -> RangeDocument:
    return RangeDocument(low=found.low, mid=found.mid, high=found.high)


def score_document(score: Score) -> ScoreDocument:
    return ScoreDocument(
        at_ms=score.at_ms,
        measures=[
            MeasuredDocument(
                measure=one.measure, predicted=_range(one.predicted), measured=one.measured, inside=one.inside
            )
            for one in score.measures
        ],
    )
