"""Screen 8: look back through a ledger. The whole interface shows the state as of the sequence that is chosen."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer

from agentorch.errors import ClientError
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.screens import summaries, trends
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, Span, clip, line, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.panel import Drawn, Panel

if TYPE_CHECKING:
    from agentorch.schemas.supervision import LogLine

COMMAND: Final = "agentorch replay FILE --tui"
PLAY_EVERY_S: Final = 0.5
FIRST_SEQ: Final = 1

ACTS = (
    Act("replay.back", "left_square_bracket,left", "step back", "one event back"),
    Act("replay.step", "right_square_bracket,right", "step", "one event on"),
    Act("replay.decision-back", "left_curly_bracket", "decision back", "to the line of the decision log before"),
    Act("replay.decision", "right_curly_bracket", "decision", "to the next line of the decision log"),
    Act("replay.branch", "b", "branch", "what another brain or other settings would have made of it", look="agent"),
    Act("replay.play", "space", "play", "go from decision to decision, or stop"),
    Act("replay.start", "home,g", "start", "to the first event", footer=False),
    Act("replay.end", "end,G", "end", "to the newest event", footer=False),
    Act("replay.copy", "y", "copy", "copy the command that opens a ledger file", footer=False),
)


class Replay(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "Look back: [ ] step by event, { } by decision. All screens show the same moment; actions are off. b puts the "
        "recording before another brain."
    )
    screen_id = "replay"
    can_focus = True

    def __init__(self) -> None:
        super().__init__()
        self._ticks: dict[int, LogLine] = {}  # every decision seen so far, because a look back shows only older ones
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Drawn(self._scrub, id="scrub")
        with Horizontal(id="replay-columns"):
            yield Panel("Queue wait p95", self._plot, legend=trends.wait_legend, id="replay-wait")
            yield Panel("Decisions", self._decisions, legend=lambda _: summaries.ACTORS, id="replay-log")

    def show(self, view: View) -> None:
        self._ticks.update((row.seq, row) for row in view.snapshot.log)
        recording = view.snapshot.read_only
        self.query_one("#replay-columns").display = recording
        super().show(view)

    def _scrub(self, view: View, width: int, height: int) -> list[Line]:
        if not view.snapshot.read_only:
            return _live(width)
        seq, last = view.snapshot.seq, max(view.snapshot.last_seq, self.stage.feed.newest_seq, 1)
        room = max(10, width - 2)
        signs = [Span(glyphs.BAR, "human muted")] * room
        place = min(room - 1, (seq - 1) * room // last)
        signs[place:] = [Span(glyphs.TRACK, "track")] * (room - place)
        for row in self._ticks.values():
            _, look = glyphs.ACTORS.get(row.actor, ("", "guard"))
            at = min(room - 1, (row.seq - 1) * room // last)
            signs[at] = Span(glyphs.SEPARATOR, look, f"app.look_at({row.seq})")
        signs[place] = Span(glyphs.BRAND, "primary bold")
        state = (f"{glyphs.PAUSE} playing", "success") if self._timer else (f"{glyphs.PLAY} stopped", "dim")
        where = line(
            (f" {view.moment(view.snapshot.at)}  ", "dim"),
            (f"seq {words.count(seq)} of {words.count(last)}", "bold"),
            "   ",
            state,
            ("   chain head ", "dim"),
            view.snapshot.head_hash[:12] or words.UNKNOWN,
        )
        return [[], [Span(" "), *signs], where, []]

    def _plot(self, view: View, width: int, height: int) -> list[Line]:
        return trends.wait_plot(view, width, height)

    def _decisions(self, view: View, width: int, height: int) -> list[Line]:
        return summaries.decisions(view, width, height)

    def focus_target(self) -> Page:
        return self

    def left(self) -> None:
        self._stop()

    def command(self) -> str:
        return COMMAND

    # -- keys

    def _seq(self) -> int | None:
        view = self.stage.view()
        if view is None or not view.snapshot.read_only:
            self.stage.say(f"this is a live server: {COMMAND} opens a ledger file")
            return None
        return view.snapshot.seq

    def _to(self, seq: int) -> None:
        last = self.stage.feed.newest_seq
        wanted = max(FIRST_SEQ, min(last, seq))
        self.run_worker(self._look(wanted if wanted < last else None), group="look", exclusive=True)

    async def _look(self, seq: int | None) -> None:
        try:
            await self.stage.feed.look_at(seq)
        except ClientError as error:
            self._stop()
            self.stage.say(f"can't look at {seq}: {error}", "error")

    def do_back(self) -> None:
        if (seq := self._seq()) is not None:
            self._to(seq - 1)

    def do_step(self) -> None:
        if (seq := self._seq()) is not None:
            self._to(seq + 1)

    def do_decision_back(self) -> None:
        if (seq := self._seq()) is not None:
            known = sorted(self._ticks)
            at = bisect.bisect_left(known, seq)
            self._to(known[at - 1] if at else FIRST_SEQ)

    def do_decision(self) -> None:
        if (seq := self._seq()) is not None:
            known = sorted(self._ticks)
            at = bisect.bisect_right(known, seq)
            self._to(known[at] if at < len(known) else self.stage.feed.newest_seq)

    def do_start(self) -> None:
        if self._seq() is not None:
            self._to(FIRST_SEQ)

    def do_end(self) -> None:
        if self._seq() is not None:
            self._to(self.stage.feed.newest_seq)

    def do_branch(self) -> None:
        if self._seq() is not None:
            self.stage.ask_branch()

    def do_play(self) -> None:
        if self._timer is not None:
            self._stop()
        elif self._seq() is not None:
            self._timer = self.set_interval(PLAY_EVERY_S, self._next)
        self.query_one("#scrub", Drawn).repaint()

    def _next(self) -> None:
        seq = self._seq()
        if seq is None or seq >= self.stage.feed.newest_seq:
            self._stop()
            self.query_one("#scrub", Drawn).repaint()
        else:
            self.do_decision()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(COMMAND)
        self.stage.say(f"copied: {COMMAND}")


def _live(width: int) -> list[Line]:
    text = (
        "This is a live server, and what it shows is the present. A look back opens a ledger file instead: every "
        "screen then shows the state as of one sequence number, and nothing can be changed."
    )
    return [
        [],
        line((" Replay opens a recording", "bold")),
        [],
        *(line(" ", (row, "dim")) for row in wrap(text, min(width - 2, 90))),
        [],
        line("   ", (clip(COMMAND, width - 4), "primary bold"), ("   y copies it", "dim")),
    ]
