"""Scrolled lines: only what is visible becomes strips, so a log of any length costs the same."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agentorch.tui.spans import Line
from agentorch.tui.stage import stage
from agentorch.tui.widgets.lines import plain_scroll_bar, strip_of


class Pager(ScrollView, can_focus=True):
    """Draws `draw(width)`; `repaint` asks again and keeps the place. With `follow` it stays at the end."""

    DEFAULT_CSS = "Pager { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }"
    BINDINGS = [
        Binding("down,j", "scroll_down", show=False),
        Binding("up,k", "scroll_up", show=False),
        Binding("pagedown,ctrl+f", "page_down", show=False),
        Binding("pageup,ctrl+b", "page_up", show=False),
        Binding("home,g", "scroll_home", show=False),
        Binding("end,G", "scroll_end", show=False),
    ]

    def __init__(self, draw: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._lines: list[Line] = []
        self._width = -1
        self.follow = False
        self.found: int | None = None  # this line is drawn on the selection's background

    @property
    def room(self) -> int:
        """Cells beside the scroll bar."""
        return self.scrollable_content_region.width

    def repaint(self) -> None:
        width = self.room
        if not width:
            return
        fresh = self._draw(width)
        if fresh == self._lines and width == self._width:
            return
        self._lines, self._width = fresh, width
        size = Size(width, len(fresh))
        if size != self.virtual_size:
            self.virtual_size = size
        if self.follow:
            self.scroll_end(animate=False, force=True, immediate=True, x_axis=False)
        self.refresh()

    def show_line(self, at: int) -> None:
        """Scroll so that line `at` is visible, and mark it."""
        self.found = at
        top, height = int(self.scroll_offset.y), self.size.height
        if not top <= at < top + height:
            self.scroll_to(y=max(0, at - height // 2), animate=False, force=True)
        self.refresh()

    @property
    def drawn(self) -> list[Line]:
        return self._lines

    def on_mount(self) -> None:
        plain_scroll_bar(self)

    def on_resize(self, event: events.Resize) -> None:
        self._width = -1
        self.repaint()

    def render_line(self, y: int) -> Strip:
        if self.room != self._width:
            # The scroll bar came or went.
            self.call_after_refresh(self.repaint)
        at = int(self.scroll_offset.y) + y
        spans = self._lines[at] if at < len(self._lines) else []
        app = stage(self)
        ground = self.background_colors[1]
        return strip_of(spans, self.room, app.palette, ground, ascii_only=app.ascii_only, selected=at == self.found)
