"""A branch of a recording: what another mind would have made of it, side by side with what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from agentorch.errors import ClientError, ServerRefused
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.branching import Asked
from agentorch.tui.screens import branch_lines
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, clip, line, plain, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge
from agentorch.tui.widgets.pager import Pager
from agentorch.tui.widgets.panel import Drawn, Panel, titled

if TYPE_CHECKING:
    from agentorch.schemas.replay import BranchDocument, CycleDocument, ReplayDocument

ACTS = (
    Act("branch.next", "n", "next difference", "to the next decision that would have been another"),
    Act("branch.previous", "N", "previous", "to the one before"),
    Act("branch.only", "d", "differences", "only what differs, or all decisions"),
    Act("branch.series", "v", "waiting/running", "plot the jobs that wait, or those that run"),
    Act("branch.look", "o,enter", "look", "look at the recording as of this decision: all screens show that moment"),
    Act("branch.other", "b", "branch", "another brain, other settings, another part"),
    Act("branch.copy", "y", "copy", "copy the command that compares the same", footer=False),
)
SERIES = {"queued": "Jobs that wait", "running": "Jobs that run"}


class Branch(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "What another brain, or other settings, would have made of the recording: each decision put before it again, "
        "and the whole time driven again in virtual time, once as it was and once otherwise. Nothing is changed."
    )
    screen_id = "replay"

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked
        self.found: BranchDocument | None = None
        self.trouble = ""
        self.kind = "queued"
        self.only_different = False
        self._places: list[tuple[int, CycleDocument]] = []
        self._before = 0  # lines above the decisions
        self._seq = 0  # of the decision that the cursor is on
        self._begins = False  # the cursor goes to the first difference, once there are lines to go to

    def compose(self) -> ComposeResult:
        yield Drawn(self._head, id="branch-head")
        with Horizontal(id="branch-columns"):
            with Vertical(id="branch-left"):
                yield Panel(SERIES["queued"], self._plot, legend=self._legend, id="branch-plot")
                yield Panel("Then and otherwise", self._table, id="branch-table")
            self.pager = Pager(self._decisions, id="branch-decisions")
            self.pager.add_class("panel")
            self.pager.border_title = "Decisions side by side"
            yield self.pager

    @property
    def replay(self) -> ReplayDocument | None:
        return self.found.replay if self.found is not None else None

    def entered(self) -> None:
        if self.found is None and not self.trouble:
            self.ask(self.asked)

    def ask(self, asked: Asked) -> None:
        self.asked, self.found, self.trouble, self._seq = asked, None, "", 0
        self.run_worker(self._load(asked), exclusive=True)

    async def _load(self, asked: Asked) -> None:
        """Ask until it is done; how far it is comes with each answer."""
        try:
            while True:
                self.found = await self.stage.feed.api.branch(asked.body())
                if self.found.state != "running":
                    break
                self._refresh()
        except ServerRefused as refused:
            self.trouble = refused.message
        except ClientError as error:
            self.trouble = str(error)
        if self.found is not None and self.found.state == "failed":
            self.trouble = self.found.problem
        self._begins = True
        self._refresh()

    def _refresh(self) -> None:
        view = self.stage.view()
        if view is not None:
            self.show(view)

    def show(self, view: View) -> None:
        super().show(view)
        self.query_one("#branch-columns").display = self.replay is not None
        self.query_one("#branch-plot", Panel).border_title = SERIES[self.kind]
        self.pager.repaint()
        if self.replay is not None:
            found = self.replay
            text = f"{words.plural(found.different, 'difference')} in {words.plural(len(found.cycles), 'decision')}"
            self.pager.border_subtitle = titled(self.pager, line((text, "dim")))

    # -- what is drawn

    def _head(self, view: View, width: int, height: int) -> list[Line]:
        title = line(
            (" branch ", f"{branch_lines.WOULD} chip"), " ", (clip(plain(self.asked.told()), width - 12), "bold")
        )
        if self.trouble:
            return [title, *(line(" ", (row, "error")) for row in wrap(self.trouble, width - 2)), []]
        found = self.replay
        if found is None:
            return [title, self._progress(width)]
        against = ", ".join(f"{plain(brain)} {words.count(count)}" for brain, count in found.was_brains.items())
        alike = [(f"{words.count(found.same)} alike", "dim"), (f"  {glyphs.DOT}  ", "dim")]
        window = f"  {glyphs.DOT}  sequence {words.count(found.from_seq)} to {words.count(found.to_seq)}"
        second = line(
            " ",
            *alike,
            (f"{glyphs.DIFFERS} {words.count(found.different)} otherwise", f"{branch_lines.WOULD} bold"),
            (window, "dim"),
            (f"  {glyphs.DOT}  then {against or 'nobody'}", "dim"),
        )
        return [title, second]

    def _progress(self, width: int) -> Line:
        found = self.found
        if found is None or not found.total:
            return line((" driven in virtual time", "dim"))
        counted = f" {words.count(found.done)} of {words.count(found.total)} cycles"
        return [*line(" "), *gauge(found.done / found.total, min(40, width - 30), "agent"), *line((counted, "dim"))]

    def _plot(self, view: View, width: int, height: int) -> list[Line]:
        return branch_lines.courses(view, self.replay, self.kind, width, height) if self.replay is not None else []

    def _legend(self, view: View) -> Line:
        return branch_lines.legend(self.replay.brain if self.replay is not None else self.asked.brain)

    def _table(self, view: View, width: int, height: int) -> list[Line]:
        return branch_lines.table(self.replay, width) if self.replay is not None else []

    def _decisions(self, width: int) -> list[Line]:
        view, found = self.stage.view(), self.replay
        if view is None or found is None:
            return []
        # Where there is no room beside the decisions, the numbers stand above them.
        above = [*branch_lines.table(found, width), []] if self.app.size.width < 100 else []
        rows, self._places = branch_lines.decisions(view, found.cycles, width, only_different=self.only_different)
        self._before = len(above)
        if self._begins:  # what is shown first has no width, and so no lines, before it was laid out
            self._begins = False
            self.call_after_refresh(self.do_next)
        if not rows:
            text = "every decision would have been the same" if found.cycles else "nobody decided in this part"
            rows = [line((text, "dim"))]
        return [*above, *rows, *branch_lines.assumptions(found, width)]

    def focus_target(self) -> Widget:
        return self.pager

    def command(self) -> str:
        return self.asked.command()

    # -- keys

    def _to(self, place: tuple[int, CycleDocument]) -> None:
        self._seq = place[1].seq
        self.pager.show_line(self._before + place[0])

    def do_next(self) -> None:
        self._step([place for place in self._places if not place[1].same and place[1].seq > self._seq][:1], "next")

    def do_previous(self) -> None:
        self._step([place for place in self._places if not place[1].same and place[1].seq < self._seq][-1:], "previous")

    def _step(self, found: list[tuple[int, CycleDocument]], which: str) -> None:
        if found:
            self._to(found[0])
        elif self._seq:
            self.stage.say(f"there is no {which} difference")

    def do_only(self) -> None:
        self.only_different = not self.only_different
        self.pager.found = None
        self.pager.repaint()
        kept = [place for place in self._places if place[1].seq == self._seq]
        if kept:
            self._to(kept[0])

    def do_series(self) -> None:
        self.kind = "running" if self.kind == "queued" else "queued"
        self._refresh()

    async def do_look(self) -> None:
        if not self._seq:
            self.stage.say("n goes to a difference first")
            return
        try:
            await self.stage.feed.look_at(self._seq)
        except ClientError as error:
            self.stage.say(f"can't look at {self._seq}: {error}", "error")
            return
        self.stage.go("replay")

    def do_other(self) -> None:
        self.stage.ask_branch(self.asked)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")
