"""A table of any size: its rows live outside the widget and only what is visible becomes strips.

Rows have a key. When new rows come in, the cursor stays on the row with its key and that row stays where it is on the
screen, so that a key never hits another row than the one looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agentorch.tui.spans import Line, Span, fit, pad_line
from agentorch.tui.stage import stage
from agentorch.tui.widgets.lines import plain_scroll_bar, strip_of

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """`cell` draws a row into at most `width` cells. Where room is short, columns go by `drop`, the highest first."""

    title: str
    width: int
    cell: Callable[[Row, int], Line]
    right: bool = False
    drop: int = 0  # 0: never
    stretch: bool = False  # takes what is left


def text_cell(text: Callable[[Row], str], look: str = "", *, right: bool = False) -> Callable[[Row, int], Line]:
    return lambda row, width: [Span(fit(text(row), width, right=right), look)]


def laid_out(columns: Sequence[Column[Row]], width: int) -> list[tuple[Column[Row], int]]:
    """The columns that fit and their widths, with one cell between them."""
    kept = list(columns)
    while kept and sum(column.width + 1 for column in kept) > width:
        last = max(kept, key=lambda column: column.drop)
        if not last.drop:
            break
        kept.remove(last)
    spare = max(0, width - sum(column.width + 1 for column in kept))
    stretching = [column for column in kept if column.stretch]
    share, extra = divmod(spare, len(stretching)) if stretching else (0, 0)
    widths = []
    for column in kept:
        grown = share + (extra if stretching and column is stretching[-1] else 0) if column.stretch else 0
        widths.append((column, column.width + grown))
    return widths


class Table(ScrollView, Generic[Row], can_focus=True):
    """`enter` or a second click posts `Opened`; a moved cursor posts `Moved`."""

    DEFAULT_CSS = "Table { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }"
    BINDINGS = [
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("home,g", "edge(0)", show=False),
        Binding("end,G", "edge(1)", show=False),
        Binding("enter", "open", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    class Opened(Message):
        """The page asks its table for `current`: what it is on may be newer than the message."""

    class Moved(Message):
        pass

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        key: Callable[[Row], str],
        *,
        header: bool = True,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.rows: Sequence[Row] = ()
        self.message: list[Line] = []  # shown when there are no rows
        self.marked: set[str] = set()
        self._key = key
        self._head = 1 if header else 0
        self._layout: tuple[int, list[tuple[Column[Row], int]]] = (-1, [])

    @property
    def current(self) -> Row | None:
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def set_rows(self, rows: Sequence[Row]) -> None:
        """New rows; the cursor goes with the key it is on, or stays at its place when that key is gone."""
        before, old = self.current, self.rows
        offset = self.cursor - self.scroll_offset.y
        self.rows = rows
        target = min(self.cursor, max(0, len(rows) - 1))
        if before is not None and rows:
            target = self._find(self._key(before), target)
        size = Size(self.size.width, len(rows) + self._head)
        if size != self.virtual_size:
            self.virtual_size = size
        if target != self.cursor:
            self.set_reactive(Table.cursor, target)
            self.scroll_to(y=max(0, target - offset), animate=False, force=True)
            self.refresh()
        elif not old or not rows:
            self.refresh()
        else:
            self._refresh_changed(old)

    def _refresh_changed(self, old: Sequence[Row]) -> None:
        """Draw again the visible rows that differ from the old ones."""
        top = int(self.scroll_offset.y)
        for y in range(self.size.height - self._head):
            at = top + y
            before = old[at] if at < len(old) else None
            after = self.rows[at] if at < len(self.rows) else None
            if before is not after and before != after:
                self.refresh(Region(0, y + self._head, self.size.width, 1))

    def _find(self, key: str, guess: int) -> int:
        if self._key(self.rows[guess]) == key:
            return guess
        return next((at for at, row in enumerate(self.rows) if self._key(row) == key), guess)

    def select(self, key: str) -> bool:
        """Put the cursor on the row with this key; False when it is not there."""
        for at, row in enumerate(self.rows):
            if self._key(row) == key:
                self.cursor = at
                return True
        return False

    def repaint(self) -> None:
        self.refresh()

    def on_mount(self) -> None:
        plain_scroll_bar(self)

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(event.size.width, len(self.rows) + self._head)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width  # beside the scroll bar
        if self._layout[0] != width:
            self._layout = (width, laid_out(self.columns, width))
        if y < self._head:
            return self._strip(self._header(), width, header=True)
        if not self.rows:
            at = y - self._head - 1
            return self._strip(self.message[at] if 0 <= at < len(self.message) else [], width)
        at = self.scroll_offset.y + y - self._head
        if at >= len(self.rows):
            return self._strip([], width)
        row = self.rows[at]
        spans: Line = []
        for column, room in self._layout[1]:
            spans += pad_line(column.cell(row, room), room)
            spans.append(Span(" "))
        return self._strip(spans, width, selected=at == self.cursor, marked=self._key(row) in self.marked)

    def _header(self) -> Line:
        return [Span(fit(column.title, room, right=column.right) + " ", "dim") for column, room in self._layout[1]]

    def _strip(
        self, spans: Line, width: int, *, header: bool = False, selected: bool = False, marked: bool = False
    ) -> Strip:
        app = stage(self)
        ground = self.background_colors[1]
        if selected and not self.has_focus:
            spans = [span._replace(look=f"{span.look} bold".strip()) for span in spans]
        if header:
            spans = [span._replace(look="dim bold") for span in spans]
        return strip_of(spans, width, app.palette, ground, ascii_only=app.ascii_only, selected=selected or marked)

    def watch_cursor(self, old: int, new: int) -> None:
        room = max(1, self.size.height - self._head)
        top = int(self.scroll_offset.y)
        if new < top:
            self.scroll_to(y=new, animate=False, force=True)
            self.refresh()
        elif new >= top + room:
            self.scroll_to(y=new - room + 1, animate=False, force=True)
            self.refresh()
        else:
            for at in (old, new):
                self.refresh(Region(0, at - top + self._head, self.size.width, 1))
        self.post_message(self.Moved())

    def action_move(self, by: int) -> None:
        self._to(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._to(self.cursor + by * max(1, self.size.height - self._head - 1))

    def action_edge(self, end: int) -> None:
        self._to(len(self.rows) - 1 if end else 0)

    def _to(self, at: int) -> None:
        self.cursor = max(0, min(len(self.rows) - 1, at))

    def action_open(self) -> None:
        if self.rows:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        at = self.scroll_offset.y + event.y - self._head
        if event.y < self._head or not 0 <= at < len(self.rows):
            return
        if at == self.cursor and event.chain > 1:
            self.action_open()
        self.cursor = at
