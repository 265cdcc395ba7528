"""Thin bars, countdown bars and sparklines, as spans."""

from __future__ import annotations

from collections.abc import Sequence

from agentorch.tui import glyphs
from agentorch.tui.spans import Line, Span

WARN_SHARE = 0.75
ERROR_SHARE = 0.92


def level(share: float) -> str:
    """The look of how full something is: full is bad."""
    return "error" if share >= ERROR_SHARE else "warning" if share >= WARN_SHARE else "success"


def gauge(share: float | None, width: int, look: str) -> Line:
    """`━━━╸──` in half-cell steps; anything above zero shows at least half a cell, unknown an empty track."""
    if share is None:
        return [Span(glyphs.GOAL * width, "track")]
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    if share > 0 and halves == 0:
        halves = 1
    full, half = divmod(halves, 2)
    bar = glyphs.BAR * full + glyphs.HALF_BAR * half
    return [span for span in (Span(bar, look), Span(glyphs.TRACK * (width - len(bar)), "track")) if span.text]


def stacked(shares: Sequence[tuple[float, str]], width: int) -> Line:
    """One bar of several parts; the rest is track. Shares of 1; a part above zero shows at least one cell."""
    spans: Line = []
    left = width
    for share, look in shares:
        size = min(left, max(1, round(share * width)) if share > 0 else 0)
        if size:
            spans.append(Span(glyphs.BAR * size, look))
            left -= size
    return [*spans, Span(glyphs.TRACK * left, "track")] if left else spans


def spark(
    values: Sequence[float | None], width: int, look: str, *, low: float | None = None, high: float | None = None
) -> Line:
    """The newest `width` values, right-aligned: history muted, the last bright. Uses 7 of 8 levels, so rows keep a gap.

    The scale goes from the smallest value (or `low`) to the largest (or `high`). A missing value is a gap.
    """
    recent = list(values)[-width:]
    known = [value for value in recent if value is not None]
    if not known:
        return [Span(" " * width)]
    low = min(known) if low is None else low
    span = ((max(known) if high is None else high) - low) or 1.0
    text = "".join(" " if value is None else _level(value, low, span) for value in recent)
    pad = Span(" " * (width - len(text)))
    history, current = Span(text[:-1], f"{look} muted"), Span(text[-1:], look)
    return [part for part in (pad, history, current) if part.text]


def _level(value: float, low: float, span: float) -> str:
    top = len(glyphs.LEVELS) - 1
    return glyphs.LEVELS[min(top, max(0, int((value - low) / span * (top + 0.99))))]
