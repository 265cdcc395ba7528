"""A small time plot of several series in braille dots (2 by 4 to a cell), as lines: y axis, goal line, x labels.

Drawn by ourselves because plot libraries take 3 to 6 times as long for each redraw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentorch.tui import glyphs
from agentorch.tui.spans import Line, Span, clip_line

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
HEADROOM = 1.08  # the highest value does not touch the frame


@dataclass(frozen=True)
class Series:
    """`values` oldest first, None where unknown; spread from `start` to `end` of the plot's width (shares of 1)."""

    values: Sequence[float | None]
    look: str
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Axes:
    written: Callable[[float], str]  # a value on the y axis
    labels: tuple[str, str] = ("", "now")  # under the left and the right end
    goal: float | None = None
    now: float | None = None  # a vertical line at this share of the width
    top: float | None = None  # fixed top of the y axis


def plot(series: Sequence[Series], axes: Axes, width: int, height: int) -> list[Line]:
    """`height` lines of `width` cells; too little room or no value gives the axes alone."""
    known = [value for one in series for value in one.values if value is not None]
    top = axes.top or max([*known, axes.goal or 0.0]) * HEADROOM or HEADROOM
    rows = max(1, height - 1)
    gutter = max(len(axes.written(value)) for value in (top if axes.top else top / HEADROOM, 0.0, axes.goal or 0.0))
    columns = max(2, width - gutter - 2)
    dots, looks = _rasterise(series, columns, rows, top)
    goal_row = None if axes.goal is None else _row(axes.goal, top, rows * 4) // 4
    now_column = None if axes.now is None else min(columns - 1, int(axes.now * columns))
    lines = []
    for row in range(rows):
        label = _label(row, rows, goal_row, axes, top)
        line = [
            Span(f"{label:>{gutter}} ", "warning" if row == goal_row else "dim"),
            Span(glyphs.TICK if label else glyphs.AXIS, "track"),
        ]
        lines.append(line + _runs(dots[row], looks[row], row == goal_row, now_column))
    left, right = axes.labels
    room = max(0, columns - len(left) - len(right))
    lines.append([Span(" " * (gutter + 2) + left + " " * room + right, "dim")])
    return [clip_line(drawn, width) for drawn in lines[:height]]


def _row(value: float, top: float, dot_rows: int) -> int:
    return max(0, min(dot_rows - 1, dot_rows - 1 - int(value / top * (dot_rows - 1))))


def _label(row: int, rows: int, goal_row: int | None, axes: Axes, top: float) -> str:
    if row == goal_row and axes.goal is not None:
        return axes.written(axes.goal)
    if row == 0:
        label = axes.written(top if axes.top else top / HEADROOM)
        return "" if axes.goal is not None and label == axes.written(axes.goal) else label
    return axes.written(0.0) if row == rows - 1 else ""


def _rasterise(
    series: Sequence[Series], columns: int, rows: int, top: float
) -> tuple[list[list[int]], list[list[str]]]:
    """Dots and looks per cell; later series are drawn over earlier ones."""
    dots = [[0] * columns for _ in range(rows)]
    looks = [[""] * columns for _ in range(rows)]
    for one in series:
        total = len(one.values)
        first, last = int(one.start * columns * 2), int(one.end * columns * 2)
        if not total or last <= first:
            continue
        before: int | None = None
        for x in range(first, last):
            value = one.values[min(total - 1, (x - first) * total // (last - first))]
            if value is None:
                before = None
                continue
            y = _row(value, top, rows * 4)
            reached = range(min(before, y), max(before, y) + 1) if before is not None else (y,)
            for dot_y in reached:
                dots[dot_y // 4][x // 2] |= _DOTS[dot_y % 4][x % 2]
                looks[dot_y // 4][x // 2] = one.look
            before = y
    return dots, looks


def _runs(dots: list[int], looks: list[str], is_goal: bool, now_column: int | None) -> Line:
    """One row as spans, neighbours of the same look together."""
    spans: Line = []
    for column, pattern in enumerate(dots):
        if pattern:
            sign, look = chr(0x2800 + pattern), looks[column]
        elif column == now_column:
            sign, look = glyphs.NOW, "dim"
        elif is_goal:
            sign, look = glyphs.GOAL, "warning muted"
        else:
            sign, look = " ", ""
        if spans and spans[-1].look == look:
            spans[-1] = Span(spans[-1].text + sign, look)
        else:
            spans.append(Span(sign, look))
    return spans
