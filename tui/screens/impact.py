"""What the twin computed and what came of it: a line and tables. What was not computed is not shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.screens.trends import short
from agentorch.tui.spans import Line, Span, cells, clip, fit, line, plain, width_of, wrap
from agentorch.tui.view import View

if TYPE_CHECKING:
    from agentorch.schemas.twin import (
        CalibrationDocument,
        ChangeDocument,
        ImpactDocument,
        RangeDocument,
        ScoreDocument,
    )

NOT_COMPUTED = "impact: not computed yet"
RANGES_FROM = 66  # cells of the table from which ranges stand in it
WORDS_FROM = 44  # and words instead of signs
LABELS = {
    "wait_p95_s": "p95 wait",
    "wait_p50_s": "median wait",
    "misses": "jobs late",
    "queued": "queued",
    "ended": "jobs ended",
    "cost_usd_micros": "cost",
    "utilization_percent": "busy",
    "preempted": "preempted",
    "lost_s": "work lost",
}
#              look, word, sign
JUDGED = {
    "better": ("success", "better", "+"),
    "worse": ("warning", "worse", "-"),
    "same": ("dim", "same", "="),
    "unclear": ("dim", "in the noise", "~"),
}


def label(measure: str) -> str:
    return LABELS.get(measure, measure.removesuffix("_s").replace("_", " "))


def written(measure: str, value: float) -> str:
    """A measure's value with its unit, which its name ends with."""
    if measure.endswith("_usd_micros"):
        return words.usd(value / 1e6)
    if measure.endswith("_percent"):
        return words.percent(value)
    if measure.endswith("_s"):
        return words.duration(value)
    return words.count(round(value)) if abs(value) >= 100 or not value % 1 else words.number(value)


def between(measure: str, found: RangeDocument) -> str:
    """`1m02s to 2m40s`; "" where every draw says the same."""
    low, high = written(measure, found.low), written(measure, found.high)
    return "" if low == high else f"{low} to {high}"


# -- one line


def impact_line(impact: ImpactDocument | None, width: int) -> Line:
    """The clearest changes on one line; where there is none, what is known instead."""
    if impact is None:
        return [Span(NOT_COMPUTED, "dim")]
    if not impact.changes:
        return [Span(clip(f"impact: {plain(impact.text) or 'nothing was computed'}", width), "dim")]
    clear = [one for one in impact.changes if one.judged in ("better", "worse")]
    unclear = [one for one in impact.changes if one.judged == "unclear"]
    if not clear:
        lead = "in the noise: " if unclear else "nothing changes that the twin can tell"
        return [Span(clip(lead, width), "dim"), *_pieces(unclear, width - cells(lead))]
    return _pieces(clear, width)


def _pieces(found: Sequence[ChangeDocument], width: int) -> Line:
    spans: Line = []
    used = 0
    for one in found:
        look = JUDGED[one.judged][0]
        before, after = written(one.measure, one.idle.mid), written(one.measure, one.acted.mid)
        arrow = (f" {glyphs.ARROW} ", "dim")
        piece = line((f"{label(one.measure)} ", "dim"), before, arrow, (after, f"{look} bold"))
        gap = 3 if spans else 0
        if used + gap + width_of(piece) > width:
            break
        spans += [Span(" " * gap), *piece] if gap else piece
        used += gap + width_of(piece)
    return spans


# -- the table


def impact_table(impact: ImpactDocument | None, width: int, *, acted: str = "approved") -> list[Line]:
    """Every measure without the action and with it; what the numbers rest on in small print."""
    title = line(("Impact", "dim bold"), ("  as the twin foresees it", "dim"))
    if impact is None:
        return [[], title, line(("  not computed yet", "dim"))]
    rows = _table(impact.changes, width, acted) if impact.changes else []
    said = [line((row, "dim")) for row in wrap(impact.text, width, indent=2)] if impact.text else []
    return [[], title, *rows, *said, *_small_print(impact, width)]


def _table(changes: Sequence[ChangeDocument], width: int, acted: str) -> list[Line]:
    before = [written(one.measure, one.idle.mid) for one in changes]
    after = [written(one.measure, one.acted.mid) for one in changes]
    ranges = [between(one.measure, one.acted) if width >= RANGES_FROM else "" for one in changes]
    headed = width >= RANGES_FROM
    first = max(map(cells, [*before, "no action" if headed else ""]))
    second = max(map(cells, [*after, acted if headed else ""]))
    third = max(map(cells, [*ranges, "8 of 10 futures" if any(ranges) else ""]))
    says = [JUDGED[one.judged][1 if width >= WORDS_FROM else 2] for one in changes]
    tail = (third + 2 if third else 0) + max(map(cells, says)) + 2
    name = max(8, min(width - first - second - tail - 7, max(cells(label(one.measure)) for one in changes)))
    lines = []
    if headed:
        columns = f"  {fit('', name)}  {fit('no action', first, right=True)}   {fit(acted, second)}"
        lines.append(line((columns + (f"  {fit('8 of 10 futures', third)}" if third else ""), "dim")))
    for one, was, will, spread, said in zip(changes, before, after, ranges, says, strict=True):
        look = JUDGED[one.judged][0]
        lines.append(
            line(
                "  ",
                (fit(label(one.measure), name), "dim"),
                "  ",
                fit(was, first, right=True),
                (f" {glyphs.ARROW} ", "dim"),
                (fit(will, second), f"{look} bold"),
                (f"  {fit(spread, third)}" if third else "", "dim"),
                (f"  {said}", look),
            )
        )
    return lines


def _small_print(impact: ImpactDocument, width: int) -> list[Line]:
    if not impact.draws:
        return []
    gain = impact.gain_s
    lines: list[Line] = []
    if gain.low or gain.high:
        spread = between("gain_s", gain)
        saved = f"waiting saved, all jobs together: {words.duration(gain.mid)}" + (f" ({spread})" if spread else "")
        lines += [line((row, "dim")) for row in wrap(saved, width, indent=2)]
    parts = [
        f"{short(impact.horizon_s)} ahead",
        words.plural(impact.draws, "draw"),
        words.plural(impact.steps, "simulated event"),
    ]
    lines += [line((row, "dim")) for row in wrap(f" {glyphs.DOT} ".join(parts), width, indent=2)]
    if impact.stopped_early:
        text = "stopped early: fewer draws, or less far ahead, than wanted"
        lines += [line((row, "warning")) for row in wrap(text, width, indent=2)]
    return lines


# -- afterwards


def score_word(score: ScoreDocument) -> str:
    """`3 of 4 as foretold`."""
    if not score.measures:
        return "nobody looked when its horizon was over"
    return f"{sum(one.inside for one in score.measures)} of {len(score.measures)} as foretold"


def score_table(view: View, score: ScoreDocument | None, width: int) -> list[Line]:
    """What was foretold beside what was measured; nothing before the horizon."""
    if score is None:
        return []
    lines = [
        [],
        line(("Afterwards", "dim bold"), (f"  {score_word(score)}, measured {view.moment(score.at_ms / 1000)}", "dim")),
    ]
    foretold = [
        f"{written(one.measure, one.predicted.mid)}" + (f" ({spread})" if spread else "")
        for one in score.measures
        for spread in [between(one.measure, one.predicted)]
    ]
    first = min(max(map(cells, foretold), default=0), max(8, width - 40))
    name = max((cells(label(one.measure)) for one in score.measures), default=0)
    for one, text in zip(score.measures, foretold, strict=True):
        sign, look = (glyphs.DONE, "success") if one.inside else (glyphs.FAILED, "warning")
        lines.append(
            line(
                "  ",
                (f"{sign} ", look),
                (fit(label(one.measure), name), "dim"),
                ("  foretold ", "dim"),
                fit(text, first),
                ("  came ", "dim"),
                (written(one.measure, one.measured), f"{look} bold"),
            )
        )
    return lines


def calibration_line(found: Sequence[CalibrationDocument], width: int) -> Line:
    """The same on one line, those with most numbers first; what does not fit is announced."""
    rows = sorted((one for one in found if one.scored), key=lambda one: -one.scored)
    if not rows:
        return []
    spans = line((" foretold ", "dim"))
    for at, one in enumerate(rows):
        share = 100.0 * one.inside / one.scored
        piece = line(
            (f" {plain(one.brain)}", "agent"),
            (f" {plain(one.kind)} ", "dim"),
            (words.percent(share), f"{_calibrated(share)} bold"),
            (f" of {words.count(one.scored)} ", "dim"),
        )
        if width_of(spans) + width_of(piece) > width - 8:
            return [*spans, Span(f" {len(rows) - at} more", "dim")]
        spans += piece
    return spans


def _calibrated(share: float) -> str:
    return "success" if 65 <= share <= 95 else "warning"


def calibration_lines(found: Sequence[CalibrationDocument], width: int) -> list[Line]:
    """How often what was foretold came, by brain and kind of action. Ranges hold 80 % when they are right."""
    rows = [one for one in found if one.scored]
    if not rows:
        return []
    lines: list[Line] = [
        [],
        line(("Calibration", "dim bold"), ("  numbers that came inside 10-90 %; 80 % is right", "dim")),
    ]
    names = [f"{plain(one.brain)} {glyphs.DOT} {plain(one.kind)}" for one in rows]
    room = min(max(map(cells, names)), max(10, width - 30))
    for one, name in zip(rows, names, strict=True):
        share = 100.0 * one.inside / one.scored
        look = _calibrated(share)
        counted = f"  {words.count(one.inside)} of {words.count(one.scored)}"
        lines.append(
            line("  ", (fit(name, room), "agent"), (f"  {words.percent(share):>4}", f"{look} bold"), (counted, "dim"))
        )
    return lines
