"""A picture of a run: GPUs in use and the queue over time, as a small SVG of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from agentorch.simulation.run import Run

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP, BOTTOM = 960, 180, 70, 20, 56, 50, 40
#: So many points are drawn; each is the mean of its share of the time.
POINTS = 480
DAY_S = 86_400
#: (until this many days or hours or minutes, unit in seconds, its letter): what the time axis counts in.
UNITS = ((120, 1, "s"), (7_200, 60, "min"), (2 * DAY_S, 3600, "h"))


def plot(run: Run, title: str) -> str:
    """The SVG's text. A run without moments is a blank picture."""
    begin_s = run.moments[0].at_s if run.moments else 0.0
    span_s = (run.moments[-1].at_s - begin_s if run.moments else 0.0) or 1.0
    busy = means([(moment.at_s, moment.gpus_busy) for moment in run.moments], begin_s, span_s)
    queued = means([(moment.at_s, moment.queued) for moment in run.moments], begin_s, span_s)
    height = TOP + 2 * PANEL + GAP + BOTTOM
    parts = [
        *head(title, height),
        *_panel(busy, run.gpus, TOP, "#2f6f4f", f"GPUs in use, of {run.gpus}"),
        *_panel(queued, max([1.0, *queued]), TOP + PANEL + GAP, "#a0522d", "jobs waiting"),
        *times(span_s, TOP + 2 * PANEL + GAP),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def head(title: str, height: int) -> list[str]:
    """How a picture begins; `</svg>` ends it."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12" fill="#444">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#111">{escape(title)}</text>',
    ]


def means(steps: Sequence[tuple[float, float]], begin_s: float, span_s: float) -> list[float]:
    """The mean over each of `POINTS` equal parts of the time, of a value that stays until the next step."""
    width_s = span_s / POINTS
    sums = [0.0] * POINTS
    for (at_s, value), (until_s, _) in pairwise(steps):
        start, end = (at_s - begin_s) / width_s, (until_s - begin_s) / width_s
        while start < end:
            part = min(int(start), POINTS - 1)
            stop = end if part == POINTS - 1 else min(end, part + 1.0)
            sums[part] += value * (stop - start)
            start = stop
    return sums


def _panel(values: Sequence[float], top_value: float, top: int, colour: str, label: str) -> list[str]:
    """A filled line over an axis from 0 to `top_value`."""
    width = WIDTH - LEFT - RIGHT
    floor = top + PANEL
    points = [
        f"{LEFT + width * (at + 0.5) / len(values):.1f},{floor - PANEL * min(1.0, value / top_value):.1f}"
        for at, value in enumerate(values)
    ]
    area = f"{LEFT},{floor} {' '.join(points)} {WIDTH - RIGHT},{floor}"
    return [
        *grid(top_value, floor),
        f'<polygon points="{area}" fill="{colour}" fill-opacity="0.18"/>',
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.3"/>',
        f'<text x="{LEFT}" y="{top - 6}" fill="{colour}">{escape(label)}</text>',
    ]


def grid(top_value: float, floor: int) -> list[str]:
    """Three lines of a panel that stands on `floor`, with their values."""
    return [
        f'<line x1="{LEFT}" y1="{floor - PANEL * part:.0f}" x2="{WIDTH - RIGHT}" y2="{floor - PANEL * part:.0f}" '
        f'stroke="#ddd"/><text x="{LEFT - 8}" y="{floor - PANEL * part + 4:.0f}" text-anchor="end">'
        f"{_short(top_value * part)}</text>"
        for part in (0, 0.5, 1)
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def times(span_s: float, floor: int) -> list[str]:
    """Marks at a round distance, about six of them."""
    unit_s, letter = next(((unit, letter) for until, unit, letter in UNITS if span_s <= until), (DAY_S, "d"))
    rough = span_s / unit_s / 6
    scale = 10.0 ** (len(str(int(rough))) - 1)
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= rough)
    width = WIDTH - LEFT - RIGHT
    marks = []
    for at in range(int(span_s / unit_s / step) + 1):
        x = LEFT + width * at * step * unit_s / span_s
        marks.append(f'<text x="{x:.0f}" y="{floor + 20}" text-anchor="middle">{at * step:g} {letter}</text>')
    return marks
