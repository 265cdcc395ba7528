"""Screen 7: who decided what, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widget import Widget

from agentorch.errors import ClientError
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.screens.impact import calibration_line
from agentorch.tui.screens.page import Page
from agentorch.tui.screens.summaries import ACTORS
from agentorch.tui.spans import Line, Span, fit, line, plain
from agentorch.tui.view import View
from agentorch.tui.widgets.panel import Drawn, titled
from agentorch.tui.widgets.table import Column, Table, text_cell

if TYPE_CHECKING:
    from agentorch.schemas.supervision import LogLine
    from agentorch.schemas.twin import CalibrationDocument

ACTS = (
    Act("log.open", "o", "decision", "the decision whole (enter)", command="agentorch decisions"),
    Act("log.actor", "s", "actor", "only what one actor did; again for the next, then all"),
    Act("log.copy", "y", "copy", "copy the command that shows the same", footer=False),
)
SEARCHED = 500
ORDER = ("", "agent", "human", "guard", "system")


class Log(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "The decision log: every proposal, verdict, answer and outcome, newest first. Enter shows what the brain saw. "
        "Foretold: how many of a brain's numbers came inside their range, by kind of action; 80 % is right."
    )
    screen_id = "log"

    def __init__(self) -> None:
        super().__init__()
        self.actor = ""
        self.calibration: list[CalibrationDocument] = []

    def compose(self) -> ComposeResult:
        columns: tuple[Column[LogLine], ...] = (
            Column("seq", 8, text_cell(lambda row: words.count(row.seq), "dim", right=True), right=True, drop=1),
            Column("time", 8, self._time),
            Column("actor", 8, _actor),
            Column("what", 10, _verb),
            Column("", 30, text_cell(lambda row: plain(row.text)), stretch=True),
            Column("outcome", 9, _outcome),
        )
        self.table: Table[LogLine] = Table(
            columns, key=lambda row: f"{row.seq}/{row.proposal}/{row.verb}", id="log-table"
        )
        self.table.add_class("panel")
        self.table.border_title = "Decision log"
        self.table.message = [line(("nothing was decided yet", "dim"))]
        yield Drawn(self._chain, id="chain")
        yield self.table

    def _time(self, row: LogLine, width: int) -> Line:
        view = self.stage.view()
        return [Span(fit(view.clock(row.at) if view else "", width), "dim")]

    def _chain(self, view: View, width: int, height: int) -> list[Line]:
        snapshot = view.snapshot
        head = snapshot.head_hash[:12] or words.UNKNOWN
        rows = [
            line(
                (" ledger ", "dim"),
                (f"seq {words.count(snapshot.seq)}", "bold"),
                ("  chain head ", "dim"),
                (head, ""),
                ("  agentorch verify checks it", "dim"),
                (f"  only {self.actor}" if self.actor else "", "warning"),
            )
        ]
        calibration = calibration_line(self.calibration, width)
        return [*rows, calibration] if calibration else rows

    def show(self, view: View) -> None:
        super().show(view)
        rows = [row for row in view.snapshot.log if not self.actor or row.actor == self.actor]
        self.table.set_rows(rows)
        total = view.snapshot.truncated.get("log", len(view.snapshot.log))
        shown = words.cut(len(view.snapshot.log), total, "line")
        chain = self.query_one("#chain", Drawn)
        legend = [Span(f"{shown}  ", "warning" if len(view.snapshot.log) < total else "dim"), *ACTORS]
        self.table.border_subtitle = titled(chain, legend)

    def entered(self) -> None:
        self.run_worker(self._calibrate(), group="calibration", exclusive=True)

    async def _calibrate(self) -> None:
        """How well what was foreseen came out; without an answer the line stays as it was."""
        try:
            page = await self.stage.feed.api.decisions(limit=1)
        except ClientError as error:
            self.stage.say(f"how forecasts came out could not be read: {error}", "warning")
            return
        self.calibration = page.calibration
        self.query_one("#chain", Drawn).repaint()

    def on_table_opened(self, event: Table.Opened) -> None:
        self.do_open()

    def focus_target(self) -> Widget:
        return self.table

    def command(self) -> str:
        row = self.table.current
        return f"agentorch decisions {row.cycle}" if row and row.cycle is not None else "agentorch decisions"

    def do_open(self) -> None:
        row = self.table.current
        if row is None:
            return
        if row.cycle is not None:
            self.stage.open_decision(row.cycle)
        elif row.proposal:
            view = self.stage.view()
            known = view.proposal(row.proposal) if view is not None else None
            if known is not None:
                self.stage.open_decision(known.cycle)
            else:
                self.run_worker(self._find(row.proposal), exclusive=True)
        else:
            self.stage.say("that was no decision: there is nothing more to see")

    async def _find(self, proposal_id: str) -> None:
        """The decision that an older proposal came from, among the newest that the server keeps."""
        try:
            page = await self.stage.feed.api.decisions(limit=SEARCHED)
        except ClientError as error:
            self.stage.say(f"the decisions could not be read: {error}", "error")
            return
        for decision in page.items:
            if any(proposal.id == proposal_id for proposal in decision.proposals):
                self.stage.open_decision(decision.cycle)
                return
        self.stage.say(f"{proposal_id} is older than the server keeps decisions: the ledger file has it")

    def do_actor(self) -> None:
        self.actor = ORDER[(ORDER.index(self.actor) + 1) % len(ORDER)]
        self.table.message = [line((f"nothing by {self.actor}: s shows the next actor" if self.actor else "", "dim"))]
        view = self.stage.view()
        if view is not None:
            self.show(view)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")


def _actor(row: LogLine, width: int) -> Line:
    sign, look = glyphs.ACTORS.get(row.actor, (glyphs.SYSTEM, "guard"))
    return [Span(fit(f"{sign} {row.actor}", width), look)]


def _verb(row: LogLine, width: int) -> Line:
    return [Span(fit(plain(row.verb), width), glyphs.ACTORS.get(row.actor, ("", "guard"))[1])]


def _outcome(row: LogLine, width: int) -> Line:
    sign, look = glyphs.OUTCOMES.get(row.status, (glyphs.HOLD, "dim"))
    return [Span(fit(f"{sign} {row.status}", width), look)]
