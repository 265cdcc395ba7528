"""`?`: what this screen shows, its keys, and the same on the command line."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical

from agentorch.tui import glyphs
from agentorch.tui.actions import GLOBAL, Act
from agentorch.tui.dialogs.dialog import Dialog
from agentorch.tui.spans import Line, Span, fit, line, wrap
from agentorch.tui.widgets.pager import Pager

SIGNS = (
    [glyphs.STATES["running"], "running", glyphs.STATES["queued"], "queued", glyphs.STATES["held"], "held"],
    [glyphs.STATES["failed"], "failed", glyphs.STATES["succeeded"], "done", glyphs.STATES["cancelled"], "cancelled"],
    [glyphs.RISKS["high"], "high risk", glyphs.RISKS["medium"], "medium", glyphs.RISKS["low"], "low"],
    [glyphs.ACTORS["agent"], "agent", glyphs.ACTORS["human"], "human", glyphs.ACTORS["guard"], "guard or system"],
)


class Help(Dialog[None]):
    BINDINGS = [Binding("question_mark,q", "dismiss(None)", show=False)]

    def __init__(self, title: str, about: str, acts: tuple[Act, ...], off: dict[str, str]) -> None:
        super().__init__()
        self._title = title
        self._about = about
        self._acts = acts
        self._off = off

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Pager(self._draw)

    def _draw(self, width: int) -> list[Line]:
        lines = [line((self._title, "bold")), *(line((row, "dim")) for row in wrap(self._about, width)), []]
        lines += self._keys(self._acts, width)
        if self._acts:
            lines.append([])
        lines += [line(("Everywhere", "bold"))]
        lines += [line((fit("1-8", 10), "primary bold"), "go to a screen")]
        lines += self._keys(tuple(act for act in GLOBAL if not act.id.startswith("go.")), width)
        lines += [[], line(("Signs", "bold"))]
        for row in SIGNS:
            spans: Line = []
            for (sign, look), word in zip(row[::2], row[1::2], strict=True):
                spans += line((f"{sign} ", look), fit(str(word), 17))
            lines.append(spans)
        return lines

    def _keys(self, acts: tuple[Act, ...], width: int) -> list[Line]:
        lines: list[Line] = []
        for act in acts:
            why = self._off.get(act.id, "")
            text = act.does + (f" (off: {why})" if why else "")
            for at, row in enumerate(wrap(text, max(20, width - 10))):
                key = Span(fit(act.key if at == 0 else "", 10), "dim" if why else "primary bold")
                lines.append([key, Span(row, "dim" if why else "")])
            if act.command:
                lines.append(line(" " * 10, (act.command, "dim")))
        return lines

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Pager).focus()
