"""What all pages share."""

from __future__ import annotations

from typing import ClassVar

from textual.containers import Vertical
from textual.widget import Widget

from agentorch.tui.actions import Act
from agentorch.tui.stage import Stage, stage
from agentorch.tui.view import View
from agentorch.tui.widgets.lines import Lines


class Page(Vertical):
    """A full page between the navigation and the footer."""

    ACTS: ClassVar[tuple[Act, ...]] = ()
    ABOUT: ClassVar[str] = ""  # what the page shows, for its help

    screen_id: ClassVar[str] = ""  # the navigation entry that is lit

    @property
    def stage(self) -> Stage:
        return stage(self)

    def show(self, view: View) -> None:
        """A new snapshot or a new second: repaint what changed."""
        for widget in self.query(Lines):
            widget.repaint()

    def tick(self, view: View) -> None:
        """A second passed and nothing else is new: repaint what counts time."""

    def entered(self) -> None:
        """It became visible: load what it needs."""

    def left(self) -> None:
        """It is no longer visible: stop what runs for it."""

    def back(self) -> bool:
        """Escape: True when the page closed something of its own."""
        return False

    def focus_target(self) -> Widget | None:
        """What takes the keys."""
        return next((widget for widget in self.query("*") if widget.can_focus and widget.display), None)

    def command(self) -> str:
        """The command line that shows or does the same as what is selected."""
        return ""
