"""`ctrl+p` finds any action by name; `:` finds a screen, job, pool, worker or approval by name."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from agentorch.tui.actions import Entry
from agentorch.tui.dialogs.dialog import Dialog
from agentorch.tui.spans import Line, Span, fit, line
from agentorch.tui.widgets.lines import Still
from agentorch.tui.widgets.table import Column, Table, text_cell

LISTED = 200


def score(typed: str, name: str) -> int:
    """How well `typed` matches: every word must occur; the start of a word is best. -1: not at all."""
    total = 0
    lowered = name.lower()
    for word in typed.lower().split():
        at = lowered.find(word)
        if at < 0:
            return -1
        starts = at == 0 or not lowered[at - 1].isalnum()
        total += 100 - min(at, 50) + (50 if starts else 0)
    return total


def ranked(typed: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that match, the best first; those that match alike keep their order."""
    if not typed.strip():
        return list(entries[:LISTED])
    scored = [(score(typed, f"{entry.name} {entry.does} {entry.id}"), entry) for entry in entries]
    return [entry for points, entry in sorted(scored, key=lambda pair: -pair[0]) if points >= 0][:LISTED]


class Finder(Dialog[str]):
    """Returns the id of the chosen entry; with `free`, the typed text when nothing matches."""

    def __init__(self, prompt: str, entries: Sequence[Entry], *, free: bool = False) -> None:
        super().__init__()
        self._entries = entries
        self._free = free
        self._input = Input(placeholder=prompt)
        notes = max((len(entry.note) for entry in entries), default=0)
        self._table: Table[Entry] = Table(
            (
                Column("", 20, self._named, stretch=True),
                Column("", notes, text_cell(lambda entry: entry.note, "dim", right=True), right=True),
            ),
            key=lambda entry: entry.id,
            header=False,
        )
        self._table.can_focus = False
        self._table.message = [line(("  nothing has this name", "dim"))]

    def _named(self, entry: Entry, width: int) -> Line:
        if entry.why_not:
            return [Span(fit(f" {entry.name}  off: {entry.why_not}", width), "dim")]
        if not entry.does:
            return [Span(fit(f" {entry.name}", width))]
        return [Span(f" {fit(entry.name, 14)} ", "bold"), Span(fit(entry.does, width - 16), "dim")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog finder"):
            yield self._input
            yield self._table
            yield Still(lambda width: [line((f" {self._counted()}", "dim"))], id="foot")

    def _counted(self) -> str:
        shown, total = len(self._table.rows), len(self._entries)
        return f"{shown} of {total}" if shown < total else f"{total}"

    def on_mount(self) -> None:
        super().on_mount()
        self._table.set_rows(ranked("", self._entries))
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._table.set_rows(ranked(event.value, self._entries))
        self._table.cursor = 0
        self.query_one("#foot", Still).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        current = self._table.current
        if current is not None:
            self.dismiss(current.id)
        elif self._free and event.value.strip():
            self.dismiss(event.value.strip())

    def on_table_opened(self, event: Table.Opened) -> None:
        if self._table.current is not None:
            self.dismiss(self._table.current.id)

    def on_key(self, event: events.Key) -> None:
        moves = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10, "ctrl+n": 1}
        if event.key in moves:
            event.stop()
            self._table.action_move(moves[event.key])
