"""Screen 4: inference routes. This version configures none, and the screen says so."""

from __future__ import annotations

from textual.app import ComposeResult

from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, line, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.panel import Panel


def empty(view: View, width: int, height: int) -> list[Line]:
    text = (
        "A route is a public model name and how requests to it choose among endpoints. There are none until inference "
        "is configured; its replicas, requests, first-token times and costs will stand here."
    )
    return [
        line(("No routes.", "bold")),
        [],
        *(line((row, "dim")) for row in wrap(text, min(width, 90))),
        [],
        line(
            ("Jobs and pools do not depend on it: ", "dim"),
            ("2", "primary bold"),
            " jobs  ",
            ("3", "primary bold"),
            " pools",
        ),
    ]


class Routes(Page):
    ABOUT = "Inference routes: none are configured on this server."
    screen_id = "routes"
    can_focus = True

    def compose(self) -> ComposeResult:
        yield Panel("Routes", empty, id="routes-empty")

    def focus_target(self) -> Page:
        return self

    def command(self) -> str:
        return "agentorch routes"
