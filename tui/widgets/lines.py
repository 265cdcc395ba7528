"""The one widget that draws lines: it repaints only those that changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBarRender
from textual.strip import Strip
from textual.widget import Widget

from agentorch.tui import glyphs
from agentorch.tui.spans import Line, clip_line, width_of
from agentorch.tui.stage import stage
from agentorch.tui.theme import Palette


def strip_of(
    spans: Line, width: int, palette: Palette, ground: Color, *, ascii_only: bool = False, selected: bool = False
) -> Strip:
    """One line as a strip of exactly `width` cells."""
    segments = []
    for text, look, click in clip_line(spans, width):
        style = palette.style(look, ground, selected=selected)
        if click:
            style = style + Style.from_meta({"@click": click})
        segments.append(Segment(glyphs.to_ascii(text) if ascii_only else text, style))
    gap = width - width_of(clip_line(spans, width))
    if gap > 0:
        segments.append(Segment(" " * gap, palette.style("", ground, selected=selected)))
    return Strip(segments, width)


class PlainBar(ScrollBarRender):
    """A scroll bar of whole cells, for terminals without block characters."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def plain_scroll_bar(view: ScrollView) -> None:
    """Give `view` an ASCII scroll bar where the app is in ASCII; called before its first paint."""
    if stage(view).ascii_only:
        # Declared for the class, read through the instance.
        view.vertical_scrollbar.renderer = PlainBar  # type: ignore[misc]


class Lines(Widget):
    """Draws what `lines` says for its size. `repaint` asks again and refreshes the lines that differ.

    With `height: auto` its height is the number of lines.
    """

    DEFAULT_CSS = "Lines { height: auto; }"

    selected_row: int | None = None  # this line is drawn on the selection's background

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._drawn_for: tuple[int, int] | None = None
        self._drawn_selected: int | None = None

    def lines(self, width: int, height: int) -> list[Line]:
        """What to draw in `width` cells; `height` is 0 while the widget's own height is not known."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Ask for the lines again; cheap when nothing changed."""
        width, height = self.size
        if not width:
            return
        auto = self.styles.height is not None and self.styles.height.is_auto
        fresh = self.lines(width, 0 if auto else height)
        old, old_selected = self._lines, self._drawn_selected
        self._lines, self._drawn_for, self._drawn_selected = fresh, (width, height), self.selected_row
        if auto and len(fresh) != len(old):
            self.refresh(layout=True)
            return
        for row in range(max(len(fresh), len(old))):
            before = old[row] if row < len(old) else None
            after = fresh[row] if row < len(fresh) else None
            if before != after or (row in (old_selected, self.selected_row) and old_selected != self.selected_row):
                self.refresh(Region(0, row, width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._lines = self.lines(width, 0)
        return len(self._lines)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def on_resize(self, event: events.Resize) -> None:
        self._drawn_for = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._drawn_for != (width, height):
            auto = self.styles.height is not None and self.styles.height.is_auto
            self._lines = self.lines(width, 0 if auto else height)
            self._drawn_for, self._drawn_selected = (width, height), self.selected_row
        spans = self._lines[y] if y < len(self._lines) else []
        app = stage(self)
        return strip_of(
            spans,
            width,
            app.palette,
            self.background_colors[1],
            ascii_only=app.ascii_only,
            selected=y == self.selected_row,
        )


class Still(Lines):
    """Lines that are given."""

    def __init__(self, draw: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw

    def lines(self, width: int, height: int) -> list[Line]:
        return self._draw(width)
