"""What the twin said, as text: values with their units, one line of what changes, how it came out."""

from __future__ import annotations

from agentorch.cli.output import dollars, span
from agentorch.schemas.twin import ImpactDocument, RangeDocument, ScoreDocument


def label(measure: str) -> str:
    return measure.removesuffix("_s").removesuffix("_usd_micros").removesuffix("_percent").replace("_", " ")


def written(measure: str, value: float) -> str:
    """With the unit that the measure's name ends with."""
    if measure.endswith("_usd_micros"):
        return dollars(value / 1e6)
    if measure.endswith("_percent"):
        return f"{value:.0f} %"
    return signed(value) if measure.endswith("_s") else f"{value:g}"


def between(measure: str, found: RangeDocument) -> str:
    low, high = written(measure, found.low), written(measure, found.high)
    return low if low == high else f"{low} to {high}"


def signed(seconds: float) -> str:
    return f"-{span(-seconds)}" if seconds < 0 else span(seconds)


def impact_line(impact: ImpactDocument | None) -> str:
    """`wait p95 5m41s -> 1m36s (better), misses 9 -> 1 (better)`; why there is nothing, if so."""
    if impact is None:
        return "not computed"
    clear = [one for one in impact.changes if one.judged in ("better", "worse")]
    told = [
        f"{label(one.measure)} {written(one.measure, one.idle.mid)} -> {written(one.measure, one.acted.mid)}"
        f" ({one.judged})"
        for one in clear
    ]
    return ", ".join(told) or impact.text or "nothing that the twin can tell from noise"


def score_lines(score: ScoreDocument) -> list[str]:
    """`wait p95: foretold 1m36s (1m02s to 2m40s), came 1m50s, inside`."""
    return [
        f"{label(one.measure)}: foretold {written(one.measure, one.predicted.mid)} "
        f"({between(one.measure, one.predicted)}), came {written(one.measure, one.measured)}, "
        f"{'inside' if one.inside else 'outside'}"
        for one in score.measures
    ] or ["nobody looked when its horizon was over"]
