"""Screen 1: what matters now, on one page."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from agentorch.tui.actions import Act, bindings
from agentorch.tui.screens import summaries, trends
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import line
from agentorch.tui.view import View
from agentorch.tui.widgets.panel import Drawn, Panel

ACTS = (
    Act("dashboard.open", "enter", "inbox", "go to what waits for your answer", command="agentorch approvals"),
    Act("dashboard.jobs", "slash", "filter", "find jobs", command="agentorch jobs"),
)


INBOX = line(("6", "primary"), (" inbox", "dim"))


class Dashboard(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = "Queue, pools, what waits for you, what the supervisor did, and money. Panels lead to their screens."
    screen_id = "dashboard"
    can_focus = True

    def compose(self) -> ComposeResult:
        yield Drawn(trends.key_figures, id="figures")
        with Horizontal(id="columns"):
            with Vertical(classes="column first"):
                yield Panel("Queue wait p95", trends.wait_plot, legend=trends.wait_legend, id="wait")
                yield Panel("Pools", summaries.pools, legend=lambda _: line(("q queued  r running", "dim")), id="pools")
                yield Panel("Routes", summaries.routes, id="routes")
            with Vertical(classes="column second"):
                yield Panel("Recent jobs", summaries.recent_jobs, id="recent")
                yield Panel("Queued and running", trends.load_plot, legend=trends.load_legend, id="load")
            with Vertical(classes="column third"):
                yield Panel("Approvals", summaries.approvals, legend=lambda _: INBOX, id="approvals")
                yield Panel("Decisions", summaries.decisions, legend=lambda _: summaries.ACTORS, id="decisions")
                yield Panel("Budgets", summaries.budgets, id="budgets")

    def tick(self, view: View) -> None:
        self.query_one("#approvals", Panel).repaint()

    def focus_target(self) -> Page:
        return self

    def do_open(self) -> None:
        self.stage.go("inbox")

    def do_jobs(self) -> None:
        self.stage.go("jobs")

    def command(self) -> str:
        return "agentorch jobs"
