"""What the twin computed and what came of it: a line, a table, a plot. What was not computed is not shown."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.screens.trends import short
from agentorch.tui.spans import Line, Span, cells, clip, fit, line, plain, width_of, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.plot import Axes, Series, plot

if TYPE_CHECKING:
    from agentorch.schemas.twin import (
        CalibrationDocument,
        ChangeDocument,
        CourseDocument,
        ImpactDocument,
        RangeDocument,
        ScoreDocument,
    )

NOT_COMPUTED = "impact: not computed yet"
PLOT_ROWS = 7
PLOT_POINTS = 120  # a course has few points; lines between them are no steps
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


# -- the plot


def forecast_plot(
    view: View,
    impact: ImpactDocument | None,
    target: str,
    width: int,
    *,
    acted: str = "approved",
    rows: int = PLOT_ROWS,
) -> list[Line]:
    """So far from the observations, then without the action and with it where the twin computed that; true to time."""
    idle, done = (impact.idle, impact.acted) if impact is not None else (None, None)
    name = _plotted(target, idle, done) if idle is not None and done is not None else _pool_of(target)
    horizon_s = impact.horizon_s if impact is not None and idle is not None else 0.0
    past, past_s = _past(view, name, horizon_s)
    if not past and name:
        name = ""
        past, past_s = _past(view, name, horizon_s)
    ahead = [_series(course, name) for course in (idle, done) if course is not None]
    if not any(past) and not any(map(any, ahead)):
        return []
    title = f"Queue wait p95 of {name}" if name else "Queue wait p95"
    legend = line((title, "dim bold"), "  ", (glyphs.BAR, "dim"), (" so far", "dim"))
    split = past_s / ((past_s + horizon_s) or 1.0)
    series = [Series(past, "dim", 0.0, split)]
    if any(ahead):
        for course, look, text in zip(ahead, ("error", "success"), ("no action", acted), strict=False):
            legend += line("  ", (glyphs.BAR, look), (f" {text}", "dim"))
            series.append(Series(course, look, split, 1.0))
    pool = view.pool(name) if name else None
    labels = (f"-{short(past_s)}" if past_s else "now", f"+{short(horizon_s)}" if horizon_s else "now")
    goal = pool.target_wait_s if pool else None
    axes = Axes(words.duration, labels, goal=goal, now=split if horizon_s and past_s else None)
    heads = [legend] if width_of(legend) <= width else [legend[:1], legend[2:]]
    return [[], *heads, *plot(series, axes, width, rows)]


def _pool_of(target: str) -> str:
    kind, _, name = target.partition(":")
    return name if kind == "pool" else ""


def _plotted(target: str, idle: CourseDocument, done: CourseDocument) -> str:
    """The pool whose waits tell most: the action's own if anything changes there, else where most does; "" is all."""

    def changed(name: str) -> float:
        before, after = idle.pool_waited_s[name], done.pool_waited_s[name]
        return sum(abs(one - other) for one, other in zip(before, after, strict=False))

    both = [name for name in idle.pool_waited_s if name in done.pool_waited_s]
    own = _pool_of(target)
    if own in both and changed(own):
        return own
    most = max(both, key=changed, default="")
    return most if most and changed(most) else ""


def _series(course: CourseDocument, name: str) -> list[float]:
    values = course.pool_waited_s.get(name, []) if name else course.waited_s
    if len(values) < 2:
        return values
    places = [(len(values) - 1) * step / (PLOT_POINTS - 1) for step in range(PLOT_POINTS)]
    before = [min(int(place), len(values) - 2) for place in places]
    return [values[at] + (values[at + 1] - values[at]) * (place - at) for place, at in zip(places, before, strict=True)]


def _past(view: View, name: str, horizon_s: float) -> tuple[list[float | None], float]:
    """What was measured, at equal steps of time; no longer ago than the plot looks ahead. Empty where nobody knows."""
    history = view.snapshot.history
    waits: Sequence[float | None] = history.pool_wait_s_p95.get(name, []) if name else history.wait_s_p95
    if sum(value is not None for value in waits) < 2 or len(history.at) != len(waits):
        return [], 0.0
    whole_s = history.at[-1] - history.at[0]
    past_s = min(whole_s, horizon_s) if horizon_s else whole_s
    steps = len(waits)
    start = history.at[-1] - past_s
    moments = (start + past_s * step / (steps - 1) for step in range(steps))
    return [waits[max(0, bisect.bisect_right(history.at, moment) - 1)] for moment in moments], past_s


# -- afterwards


def score_word(score: ScoreDocument) -> str:
    """`3 of 4 as foretold`."""
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
        look = "success" if 65 <= share <= 95 else "warning"
        counted = f"  {words.count(one.inside)} of {words.count(one.scored)}"
        lines.append(
            line("  ", (fit(name, room), "agent"), (f"  {words.percent(share):>4}", f"{look} bold"), (counted, "dim"))
        )
    return lines
