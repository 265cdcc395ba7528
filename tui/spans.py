"""Lines of styled text as plain data, and the few ways to cut, pad and join them.

A `Span` is text, the name of its look (see `theme.Palette`) and an action to perform when it is clicked. A `Line` is a
list of spans. They know neither theme nor widget, so what a screen shows is a pure function that a test can print.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

ELLIPSIS = "…"


class Span(NamedTuple):
    text: str
    look: str = ""
    click: str = ""


Line = list[Span]


def line(*parts: str | tuple[str, str] | tuple[str, str, str] | Span) -> Line:
    """A line from strings and `(text, look[, click])` tuples; empty parts are dropped."""
    spans = [Span(part) if isinstance(part, str) else Span(*part) for part in parts]
    return [span for span in spans if span.text]


def plain(text: str) -> str:
    """Text from outside on one line: control characters become spaces, so that nothing can move the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "" if unicodedata.category(char) == "Mn" else " " for char in text)


def cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def width_of(spans: Line) -> int:
    return sum(cells(span.text) for span in spans)


def clip(text: str, width: int) -> str:
    """At most `width` cells; what was cut is announced by an ellipsis."""
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells: clipped or padded, to the right where `right`."""
    text = clip(text, width)
    pad = " " * (width - cells(text))
    return pad + text if right else text + pad


def clip_line(spans: Line, width: int) -> Line:
    """At most `width` cells; the last span that fits partly is clipped with an ellipsis."""
    kept: Line = []
    left = width
    for span in spans:
        size = cells(span.text)
        if size > left:
            if left > 0:
                kept.append(span._replace(text=clip(span.text, left)))
            return kept
        kept.append(span)
        left -= size
    return kept


def pad_line(spans: Line, width: int) -> Line:
    """Exactly `width` cells."""
    spans = clip_line(spans, width)
    gap = width - width_of(spans)
    return [*spans, Span(" " * gap)] if gap else spans


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` at the left edge, `right` at the right edge; `right` wins where both do not fit."""
    room = width - width_of(right)
    if room <= 0:
        return clip_line(right, width)
    return pad_line(left, room) + right


def beside(left: list[Line], right: list[Line], left_width: int, gap: int) -> list[Line]:
    """Two columns of lines next to each other."""
    rows = max(len(left), len(right))
    joined = []
    for row in range(rows):
        first = left[row] if row < len(left) else []
        second = right[row] if row < len(right) else []
        joined.append([*pad_line(first, left_width + gap), *second] if second else first)
    return joined


def wrap(text: str, width: int, *, indent: int = 0, hanging: int = 0) -> list[str]:
    """Words onto lines of at most `width` cells; a word longer than a line is broken. Only spaces are lost.

    `indent` cells stand before the first line, `indent + hanging` before the others.
    """
    rows: list[str] = []
    current = ""
    for word in plain(text).split():
        lead = " " * (indent + (hanging if rows else 0))
        room = max(1, width - len(lead))
        candidate = f"{current} {word}" if current else word
        if cells(candidate) <= room:
            current = candidate
            continue
        if current:
            rows.append(lead + current)
            room = max(1, width - indent - hanging)
        while cells(word) > room:
            head = set_cell_size(word, room).rstrip() or word[0]
            rows.append(" " * (indent + (hanging if rows else 0)) + head)
            word = word[len(head) :]
        current = word
    if current or not rows:
        rows.append(" " * (indent + (hanging if rows else 0)) + current)
    return rows


def text_of(lines: Iterable[Line]) -> str:
    """The text alone, as a test prints it."""
    return "\n".join("".join(span.text for span in spans).rstrip() for spans in lines)
