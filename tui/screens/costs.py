"""Screen 5: what was spent, by whom, how fast, and until when the budget lasts."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widget import Widget

from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.dialogs.dialog import Prompt
from agentorch.tui.screens.page import Page
from agentorch.tui.screens.summaries import budget_note
from agentorch.tui.screens.trends import span_label
from agentorch.tui.spans import Line, Span, fit, line, plain
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import level, stacked
from agentorch.tui.widgets.panel import Panel, titled
from agentorch.tui.widgets.plot import Axes, Series, plot
from agentorch.tui.widgets.table import Column, Table, text_cell

if TYPE_CHECKING:
    from agentorch.schemas.documents import BudgetDocument

ACTS = (
    Act("costs.cap", "e", "edit cap", "change the tenant's hard cap", "admin"),
    Act("costs.copy", "y", "copy", "copy the command that shows the same", footer=False),
)


def _bar(budget: BudgetDocument, width: int) -> Line:
    """Spent, then reserved, of the cap."""
    cap = budget.hard_cap_usd
    if not cap:
        return [Span(fit("no cap" if cap is None else "cap $0", width), "dim")]
    spent = budget.spent_usd / cap
    return stacked([(spent, level(spent)), (budget.reserved_usd / cap, "primary")], width)


def _share(budget: BudgetDocument, width: int) -> Line:
    share = budget.spent_usd / budget.hard_cap_usd if budget.hard_cap_usd else None
    look = level(share) if share is not None else "dim"
    return [Span(fit(words.percent(share * 100 if share is not None else None), width, right=True), look)]


def _note(budget: BudgetDocument, width: int) -> Line:
    text, look = budget_note(budget)
    if budget.blocked_jobs:
        text += f" {glyphs.DOT} {words.plural(budget.blocked_jobs, 'job')} blocked"
        look = "error"
    return [Span(fit(text, width), look)]


COLUMNS: tuple[Column[BudgetDocument], ...] = (
    Column("tenant", 12, text_cell(lambda budget: plain(budget.tenant), "bold")),
    Column("spent and reserved", 14, _bar, stretch=True),
    Column("used", 5, _share, right=True),
    Column("spent", 8, text_cell(lambda budget: words.usd(budget.spent_usd), right=True), right=True),
    Column(
        "reserved", 8, text_cell(lambda budget: words.usd(budget.reserved_usd), "dim", right=True), right=True, drop=2
    ),
    Column("cap", 8, text_cell(lambda budget: words.usd(budget.hard_cap_usd), "dim", right=True), right=True),
    Column(
        "burn", 9, text_cell(lambda budget: words.rate(budget.burn_usd_per_hour), "dim", right=True), right=True, drop=1
    ),
    Column("", 1, lambda budget, width: [Span(" ")]),
    Column("lasts", 18, _note, stretch=True),
)


def spend_plot(view: View, width: int, height: int) -> list[Line]:
    history = view.snapshot.history
    if len(history.at) < 2:
        return [line(("no history yet", "dim"))]
    cap = view.cap_usd
    near = cap is not None and history.spent_usd and history.spent_usd[-1] > cap / 4
    axes = Axes(words.usd, (span_label(view), "now"), goal=cap if near else None)
    return plot([Series(history.spent_usd, "warning")], axes, width, height or 8)


def burn_plot(view: View, width: int, height: int) -> list[Line]:
    history = view.snapshot.history
    if len(history.at) < 2:
        return [line(("no history yet", "dim"))]
    return plot(
        [Series(history.burn_usd_per_hour, "primary")], Axes(words.rate, (span_label(view), "now")), width, height or 8
    )


class Costs(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "Money by tenant. Reserved is what running jobs may still cost; spent and reserved never pass the cap together."
    )
    screen_id = "costs"

    def compose(self) -> ComposeResult:
        self.table: Table[BudgetDocument] = Table(COLUMNS, key=lambda budget: budget.tenant, id="budget-table")
        self.table.add_class("panel")
        self.table.border_title = "Budgets"
        self.table.message = [line(("no tenants", "dim"))]
        yield self.table
        yield Panel("Spent", spend_plot, id="spend-plot")
        yield Panel("Burn rate", burn_plot, id="burn-plot")

    def show(self, view: View) -> None:
        super().show(view)
        self.table.set_rows(view.snapshot.budgets)
        total = (
            f"{words.usd(view.snapshot.spent_usd)} spent {glyphs.DOT} {words.rate(view.snapshot.burn_usd_per_hour)} now"
        )
        self.table.border_subtitle = titled(self, line((total, "dim")))

    def focus_target(self) -> Widget:
        return self.table

    def command(self) -> str:
        return "agentorch budgets"

    def do_cap(self) -> None:
        budget = self.table.current
        if budget is None:
            return

        def check(text: str) -> str:
            return "" if read_cap(text)[0] else "an amount in dollars, such as 250 or 99.50; `none` for no cap"

        def typed(text: str | None) -> None:
            if text is not None:
                _, cap = read_cap(text)
                shown = f"the cap is {words.usd(cap)}" if cap is not None else "no cap"
                work = lambda: self.stage.feed.api.set_budget(budget.tenant, hard_cap_usd=cap)  # noqa: E731
                self.stage.send(f"changing {budget.tenant}", f"{budget.tenant}: {shown}", work)

        now = f"{words.usd(budget.spent_usd)} spent, {words.usd(budget.reserved_usd)} reserved"
        value = "none" if budget.hard_cap_usd is None else words.number(budget.hard_cap_usd)
        title = line(("Hard cap of ", "bold"), (plain(budget.tenant), "bold"))
        note = f"{now}; a cap below that stops new starts, and running jobs when their reservation ends"
        self.app.push_screen(Prompt(title, value=value, note=note, confirm="change", check=check), typed)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")


def read_cap(text: str) -> tuple[bool, float | None]:
    """Whether the text is a cap, and the dollars (None: no cap)."""
    text = text.strip().removeprefix("$")
    if text.lower() == "none":
        return True, None
    try:
        amount = float(text)
    except ValueError:
        return False, None
    return (True, amount) if isfinite(amount) and amount >= 0 else (False, None)
