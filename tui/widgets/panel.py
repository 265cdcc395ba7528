"""Lines drawn from the newest view, with or without a titled border."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.widget import Widget

from agentorch.tui import glyphs
from agentorch.tui.spans import Line, line
from agentorch.tui.stage import stage
from agentorch.tui.view import View
from agentorch.tui.widgets.lines import Lines

Draw = Callable[[View, int, int], list[Line]]


class Drawn(Lines):
    """Draws `draw(view, width, height)`; before the first snapshot it says that it waits for one."""

    def __init__(self, draw: Draw, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._draw = draw

    def lines(self, width: int, height: int) -> list[Line]:
        view = stage(self).view()
        return [line(("waiting for the server", "dim"))] if view is None else self._draw(view, width, height)


class Panel(Drawn):
    """A round border with its title left and a legend in the bottom border; below 100 columns only a titled rule."""

    def __init__(
        self, title: str, draw: Draw, *, legend: Callable[[View], Line] | None = None, id: str | None = None
    ) -> None:
        super().__init__(draw, id=id)
        self.add_class("panel")
        self.border_title = Content(title)
        self._legend = legend

    def repaint(self) -> None:
        view = stage(self).view()
        if self._legend is not None and view is not None:
            self.set_legend(self._legend(view))
        super().repaint()

    def set_legend(self, spans: Line) -> None:
        legend = titled(self, spans)
        if self.border_subtitle != legend.markup:
            self.border_subtitle = legend


def titled(widget: Widget, spans: Line) -> Content:
    """Spans for a border's title, in the theme's colours and in ASCII where that is asked; never read as markup."""
    ascii_only = stage(widget).ascii_only
    parts: list[tuple[str, str]] = []
    for text, look, _ in spans:
        token = next((word for word in look.split() if word != "bold"), "foreground")
        style = f"${token} bold" if "bold" in look else f"${token}"
        parts.append((glyphs.to_ascii(text) if ascii_only else text, style))
    return Content.assemble(*parts)
