"""How it went so far and how it will go, without an action and with it: one plot, true to time."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.screens.trends import short
from agentorch.tui.spans import Line, line, plain, width_of
from agentorch.tui.view import View
from agentorch.tui.widgets.plot import Axes, Series, plot

if TYPE_CHECKING:
    from agentorch.schemas.twin import CourseDocument, ImpactDocument

PLOT_ROWS = 7
SMALL_CHANGE = 0.05  # of a plotted course, as a share
PLOT_POINTS = 120  # a course has few points; lines between them are no steps


@dataclass(frozen=True)
class _Plotted:
    """One quantity over time: so far for `past_s`, then without the action and with it."""

    title: str
    past: Sequence[float | None]
    past_s: float
    idle: Sequence[float]
    acted: Sequence[float]
    written: Callable[[float], str]
    goal: float | None = None

    @property
    def change(self) -> float:
        """How far the two courses are apart, as a share of the larger."""
        apart = sum(abs(one - other) for one, other in zip(self.idle, self.acted, strict=False))
        whole = sum(max(one, other) for one, other in zip(self.idle, self.acted, strict=False))
        return apart / whole if whole else 0.0

    @property
    def blank(self) -> bool:
        return not any(self.past) and not any(self.idle) and not any(self.acted)


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
    horizon_s = impact.horizon_s if impact is not None and idle is not None and done is not None else 0.0
    shown = _plotted(view, target, idle, done, horizon_s)
    if shown.blank:
        return []
    legend = line((shown.title, "dim bold"), "  ", (glyphs.BAR, "dim"), (" so far", "dim"))
    split = shown.past_s / ((shown.past_s + horizon_s) or 1.0)
    series = [Series(shown.past, "dim", 0.0, split)]
    if shown.idle or shown.acted:
        for course, look, text in ((shown.idle, "error", "no action"), (shown.acted, "success", acted)):
            legend += line("  ", (glyphs.BAR, look), (f" {text}", "dim"))
            series.append(Series(_lines(course), look, split, 1.0))
    labels = (f"-{short(shown.past_s)}" if shown.past_s else "now", f"+{short(horizon_s)}" if horizon_s else "now")
    axes = Axes(shown.written, labels, goal=shown.goal, now=split if horizon_s and shown.past_s else None)
    heads = [legend] if width_of(legend) <= width else [legend[:1], legend[2:]]
    return [[], *heads, *plot(series, axes, width, rows)]


def _plotted(
    view: View, target: str, idle: CourseDocument | None, done: CourseDocument | None, horizon_s: float
) -> _Plotted:
    """What tells most: the waits where somebody waits and the action changes most, else how many wait."""
    if idle is None or done is None:
        kind, _, name = target.partition(":")
        own = _waits(view, name, [], [], 0.0) if kind == "pool" else None
        return own if own is not None and own.past_s else _waits(view, "", [], [], 0.0)
    both = [name for name in idle.pool_waited_s if name in done.pool_waited_s]
    waiting = [name for name in both if any(idle.pool_waited_s[name])] or both
    found = [_waits(view, name, idle.pool_waited_s[name], done.pool_waited_s[name], horizon_s) for name in waiting] or [
        _waits(view, "", idle.waited_s, done.waited_s, horizon_s)
    ]
    best = max(found, key=lambda one: sum(abs(a - b) for a, b in zip(one.idle, one.acted, strict=False)))
    queue = _Plotted(
        "Jobs that wait", *_past(view, view.snapshot.history.queued, horizon_s), idle.queue, done.queue, words.number
    )
    return queue if best.blank or (best.change < SMALL_CHANGE <= queue.change) else best


def _waits(view: View, name: str, idle: Sequence[float], acted: Sequence[float], horizon_s: float) -> _Plotted:
    """Of a pool, or of all for ""."""
    history = view.snapshot.history
    waits: Sequence[float | None] = history.pool_wait_s_p95.get(name, []) if name else history.wait_s_p95
    pool = view.pool(name) if name else None
    title = f"Queue wait p95 of {plain(name)}" if name else "Queue wait p95"
    goal = pool.target_wait_s if pool else None
    return _Plotted(title, *_past(view, waits, horizon_s), idle, acted, words.duration, goal)


def _past(view: View, values: Sequence[float | None], horizon_s: float) -> tuple[list[float | None], float]:
    """What was observed, at equal steps of time; no longer ago than the plot looks ahead. Empty where nobody knows."""
    at = view.snapshot.history.at
    if sum(value is not None for value in values) < 2 or len(at) != len(values):
        return [], 0.0
    past_s = min(at[-1] - at[0], horizon_s) if horizon_s else at[-1] - at[0]
    start, steps = at[-1] - past_s, len(values)
    moments = (start + past_s * step / (steps - 1) for step in range(steps))
    return [values[max(0, bisect.bisect_right(at, moment) - 1)] for moment in moments], past_s


def _lines(values: Sequence[float]) -> Sequence[float]:
    """The few points of a course with straight lines between them."""
    if len(values) < 2:
        return values
    places = [(len(values) - 1) * step / (PLOT_POINTS - 1) for step in range(PLOT_POINTS)]
    before = [min(int(place), len(values) - 2) for place in places]
    return [values[at] + (values[at + 1] - values[at]) * (place - at) for place, at in zip(places, before, strict=True)]
