"""A picture of two courses over time, beside what really happened: what waits and what runs, as a small SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from agentorch.schemas.replay import ReplayDocument
from agentorch.simulation.plot import BOTTOM, GAP, LEFT, PANEL, RIGHT, TOP, WIDTH, grid, head, times

#: (what, colour, width, dashes): colour-blind safe (Okabe and Ito, https://jfly.uni-koeln.de/color/), told apart in
#: grey by their width and dashes too.
STYLES: Final = (
    ("measured", "#bbbbbb", 5.0, ""),
    ("was", "#0072b2", 1.6, ""),
    ("would", "#d55e00", 1.6, "6 3"),
)


def plot(document: ReplayDocument) -> str:
    """The SVG's text. A replay without the whole time driven again is a blank picture."""
    series = document.series
    span_s = (series.at[-1] - series.at[0] if series.at else 0.0) or 1.0
    words = {"measured": "as it really was", "was": "the same, driven again", "would": f"with {document.brain}"}
    floors = (TOP + PANEL, TOP + 2 * PANEL + GAP)
    settings = ", ".join(f"{key} = {value}" for key, value in document.settings.items())
    parts = head(f"{document.ledger}: {document.brain}{f', {settings}' if settings else ''}", floors[1] + BOTTOM)
    for label, kind, floor in (("jobs waiting", "queued", floors[0]), ("jobs running", "running", floors[1])):
        lines = {name: getattr(series, f"{kind}_{name}") for name, *_ in STYLES}
        top = max([1.0, *(value for line in lines.values() for value in line)])
        parts += [*grid(top, floor), f'<text x="{LEFT}" y="{floor - PANEL - 6}" fill="#111">{label}</text>']
        for name, colour, width, dashes in STYLES:
            parts.append(_line(lines[name], top, floor, colour, width, dashes))
    for at, (name, colour, width, dashes) in enumerate(STYLES):
        parts += _key(words[name], LEFT + 130 + 250 * at, colour, width, dashes)
    return "\n".join([*parts, *times(span_s, floors[1]), "</svg>"]) + "\n"


def _line(values: Sequence[float], top: float, floor: int, colour: str, width: float, dashes: str) -> str:
    """Steps: what was stays so until the next point."""
    wide = WIDTH - LEFT - RIGHT
    points: list[str] = []
    before = float(floor)
    for at, value in enumerate(values):
        x, y = LEFT + wide * at / max(1, len(values) - 1), floor - PANEL * value / top
        points += [f"{x:.1f},{before:.1f}"] if at else []
        points.append(f"{x:.1f},{y:.1f}")
        before = y
    return f'<polyline points="{" ".join(points)}" fill="none" {_stroke(colour, width, dashes)}/>'


def _stroke(colour: str, width: float, dashes: str) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'stroke="{colour}" stroke-width="{width}"{dashed}'


def _key(text: str, x: int, colour: str, width: float, dashes: str) -> list[str]:
    y = TOP - 10
    return [
        f'<line x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}" {_stroke(colour, width, dashes)}/>',
        f'<text x="{x + 30}" y="{y + 4}">{escape(text[:30])}</text>',
    ]
