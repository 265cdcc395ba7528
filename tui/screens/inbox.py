"""Screen 6: what waits for an answer, its evidence, and the keys that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget

from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.frame import urgency
from agentorch.tui.screens import answering, card, what_if
from agentorch.tui.screens.page import Page
from agentorch.tui.screens.summaries import approval_line, expiry_share
from agentorch.tui.spans import Line, Span, clip, fit, line, plain, spread, wrap
from agentorch.tui.stage import stage
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge
from agentorch.tui.widgets.lines import Lines
from agentorch.tui.widgets.pager import Pager
from agentorch.tui.widgets.panel import Drawn, titled

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument

ACTS = (
    Act("inbox.approve", "a", "approve", "approve it as it is", "approve", "agentorch approve ID", False, "success"),
    Act("inbox.edit", "e", "edit", "narrow it, then approve", "approve", "agentorch edit ID", False, "human"),
    Act("inbox.reject", "r", "reject", "reject it with a reason", "approve", "agentorch reject ID", False, "error"),
    Act("inbox.what-if", "w", "what-if", "ask the twin as of now, or of another number", "", "", False, "agent"),
    Act("inbox.mark", "space", "mark", "mark it for answering several at once", "", "", False, "dim"),
    Act("inbox.approve-marked", "A", "all marked", "approve all that are marked", "approve"),
    Act("inbox.copy", "y", "copy", "copy the command that does the same"),
    Act("inbox.scroll-down", "pagedown,ctrl+d", "scroll", "scroll the card"),
    Act("inbox.scroll-up", "pageup,ctrl+u", "scroll back", "scroll the card back", footer=False),
)


BY_PEOPLE = ("approved", "acting", "done", "rejected")  # states in which the name of who answered says it all


class Waiting(Lines, can_focus=True):
    """Open proposals in the order they came into view, never reordered under the cursor; then the decided ones."""

    BINDINGS = [
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("home,g", "move(-100000)", show=False),
        Binding("end,G", "move(100000)", show=False),
    ]

    class Moved(Message):
        pass

    def __init__(self) -> None:
        super().__init__(id="waiting", classes="panel")
        self.border_title = "Inbox"
        self.order: list[str] = []
        self.decided: list[str] = []
        self.marked: set[str] = set()
        self.at = 0
        self._rows: list[int | None] = []  # line -> entry

    @property
    def current_id(self) -> str:
        entries = [*self.order, *self.decided]
        return entries[self.at] if 0 <= self.at < len(entries) else ""

    def take(self, view: View) -> None:
        """New proposals go to the end, answered ones leave; the cursor stays on what it was on."""
        before = self.current_id
        waiting = {proposal.id for proposal in view.snapshot.approvals}
        self.order = [name for name in self.order if name in waiting]
        self.order += [proposal.id for proposal in view.snapshot.approvals if proposal.id not in self.order]
        self.decided = [proposal.id for proposal in view.snapshot.decided]
        self.marked &= waiting
        entries = [*self.order, *self.decided]
        if before in entries and (before in self.order or self.at >= len(self.order)):
            self.at = entries.index(before)
        self.at = max(
            0, min(self.at, (len(self.order) or len(entries)) - 1 if before not in entries else len(entries) - 1)
        )

    def lines(self, width: int, height: int) -> list[Line]:
        view = stage(self).view()
        if view is None:
            return [line(("waiting for the server", "dim"))]
        narrow = width >= 70
        entries = [block for at, name in enumerate(self.order) for block in self._open(view, name, at, width, narrow)]
        top = entries or [(row, None) for row in _nothing(width)]
        bottom = self._settled(view, width)
        room = height or len(top) + len(bottom)
        bottom = bottom[: max(0, room - min(len(top), max(4, room - 6)))]
        space = room - len(bottom)
        focus = next((row for row, (_, at) in enumerate(top) if at == self.at), 0)
        first = max(0, min(focus - space // 2, len(top) - space))
        window = top[first : first + space]
        rows = [*window, *[([], None)] * max(0, space - len(window)), *bottom]
        self._rows = [at for _, at in rows]
        selected = [row for row, at in enumerate(self._rows) if at == self.at]
        self.selected_row = selected[0] if selected else None
        return [spans for spans, _ in rows]

    def _open(self, view: View, name: str, at: int, width: int, narrow: bool) -> list[tuple[Line, int | None]]:
        proposal = view.proposal(name)
        if proposal is None:
            return []
        marked = name in self.marked
        if narrow:
            return [(approval_line(view, proposal, width, marked=marked), at)]
        sign, look = glyphs.RISKS[proposal.risk]
        left = proposal.expires_at - view.now
        hurry = urgency(left)
        mark = Span(glyphs.MARK if marked else " ", "primary")
        title = [mark, Span(f"{sign} ", look), Span(clip(plain(proposal.title), width - 3), "bold")]
        time = line(
            (f"   {proposal.id}  ", "dim"),
            *gauge(expiry_share(proposal, view.now), 6, hurry),
            (f" {words.countdown(left)}", f"{hurry} bold"),
            (" then hold" if width >= 34 else f" {glyphs.ARROW}hold", "dim"),
        )
        return [(title, at), (time, None), ([], None)]

    def _settled(self, view: View, width: int) -> list[tuple[Line, int | None]]:
        if not self.decided:
            return []
        rows: list[tuple[Line, int | None]] = [(line(("Decided in the last hour", "dim bold")), None)]
        for at, name in enumerate(self.decided, len(self.order)):
            proposal = view.proposal(name)
            if proposal is None:
                continue
            sign, look = card.settled_sign(proposal.state)
            by = plain(proposal.answer.by) if proposal.answer and proposal.state in BY_PEOPLE else proposal.state
            ended = proposal.ended_at or (proposal.answer.at if proposal.answer else proposal.expires_at)
            tail = line((f" {fit(by, 9, right=True)} ", "dim"), (view.clock(ended, seconds=False), "dim"))
            room = width - 18
            rows.append((spread([Span(f" {sign} ", look), Span(clip(plain(proposal.title), room))], tail, width), at))
        return rows

    def action_move(self, by: int) -> None:
        self.move_to(self.at + by)

    def move_to(self, at: int) -> None:
        self.at = max(0, min(len(self.order) + len(self.decided) - 1, at))
        self.repaint()
        self.post_message(self.Moved())

    def select(self, proposal_id: str) -> None:
        entries = [*self.order, *self.decided]
        if proposal_id in entries:
            self.move_to(entries.index(proposal_id))

    def on_click(self, event: events.Click) -> None:
        # The border takes the first row of the widget.
        row = event.y - self.gutter.top
        for line_at in (row, row - 1):
            if 0 <= line_at < len(self._rows) and self._rows[line_at] is not None:
                self.move_to(self._rows[line_at] or 0)
                return


def _nothing(width: int) -> list[Line]:
    text = "The supervisor acts inside its guardrails; what needs a person appears here and in the top bar."
    return [
        line((f"{glyphs.DONE} Nothing waits for you.", "success")),
        *(line((row, "dim")) for row in wrap(text, width)),
    ]


class Inbox(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "What the guardrails say a person must decide. Low and medium risk: one key, with a few seconds to undo. "
        "High risk: asked again. An answer that never comes is a no."
    )
    screen_id = "inbox"

    def compose(self) -> ComposeResult:
        self.waiting = Waiting()
        with Horizontal(classes="split"):
            yield self.waiting
            with Vertical(id="card-side"):
                with Vertical(id="card", classes="panel"):
                    yield Drawn(self._head, id="card-head")
                    pager = Pager(self._body, id="card-body")
                    pager.can_focus = False
                    yield pager
                yield Drawn(self._bar, id="action-bar")

    @property
    def current(self) -> ProposalDocument | None:
        view = self.stage.view()
        return view.proposal(self.waiting.current_id) if view is not None else None

    def _head(self, view: View, width: int, height: int) -> list[Line]:
        proposal = view.proposal(self.waiting.current_id)
        return card.head(view, proposal, width) if proposal else []

    def _body(self, width: int) -> list[Line]:
        view = self.stage.view()
        proposal = view.proposal(self.waiting.current_id) if view else None
        return card.body(view, proposal, width) if view and proposal else []

    def _bar(self, view: View, width: int, height: int) -> list[Line]:
        proposal = view.proposal(self.waiting.current_id)
        if proposal is None:
            return [[]]
        if proposal.state != "open":
            return [line((f" already {proposal.state}", "dim"))]
        why = self.stage.feed.why_not("approve")
        if why:
            return [line((clip(f" answers are off: {why}", width), "warning"))]
        spans: Line = []
        marked = len(self.waiting.marked)
        for act in ACTS[: 6 if marked else 5]:
            label = f"{act.label} ({marked})" if act.id == "inbox.approve-marked" else act.label
            click = f"app.perform('{act.id}')"
            spans += [Span(" "), Span(f" {act.key} ", f"{act.look} chip", click), Span(f" {label} ", "", click)]
        return [spans]

    def show(self, view: View) -> None:
        self.waiting.take(view)
        self._titles()
        super().show(view)
        self.query_one("#card-body", Pager).repaint()

    def tick(self, view: View) -> None:
        self.waiting.repaint()
        self.query_one("#card-head", Drawn).repaint()
        self.query_one("#action-bar", Drawn).repaint()

    def _titles(self) -> None:
        proposal = self.current
        box = self.query_one("#card", Vertical)
        what = f"{proposal.id} {glyphs.DOT} {proposal.kind} {plain(proposal.target)}" if proposal else ""
        box.border_title = titled(box, line((what, "bold")))
        if proposal is not None:
            by = line(
                ("proposed by ", "dim"),
                (plain(proposal.brain), "agent"),
                (f" at seq {words.count(proposal.judged_seq)}", "dim"),
            )
            box.border_subtitle = titled(self.waiting, by)
        else:
            box.border_subtitle = None
        total = len(self.waiting.order)
        self.waiting.border_subtitle = titled(
            self.waiting, line((f"{words.count(total)} waiting {glyphs.DOT} soonest first" if total else "", "dim"))
        )

    def on_waiting_moved(self, event: Waiting.Moved) -> None:
        view = self.stage.view()
        if view is not None:
            pager = self.query_one("#card-body", Pager)
            self.show(view)
            pager.scroll_home(animate=False)

    def focus_target(self) -> Widget:
        return self.waiting

    def select(self, proposal_id: str) -> None:
        view = self.stage.view()
        if view is not None:
            self.waiting.take(view)
        self.waiting.select(proposal_id)

    def command(self) -> str:
        proposal = self.current
        return proposal.command if proposal else "agentorch approvals"

    # -- what the keys do

    def _open(self) -> ProposalDocument | None:
        proposal = self.current
        if proposal is None:
            self.stage.say("nothing waits for an answer")
            return None
        if proposal.state != "open":
            self.stage.say(f"{proposal.id} is already {proposal.state}")
            return None
        return proposal

    def do_approve(self) -> None:
        if proposal := self._open():
            answering.approve(self.stage, proposal)

    def do_edit(self) -> None:
        if proposal := self._open():
            answering.edit(self.stage, proposal)

    def do_reject(self) -> None:
        if proposal := self._open():
            answering.reject(self.stage, proposal)

    def do_what_if(self) -> None:
        proposal = self.current
        if proposal is None or proposal.action is None:
            self.stage.say("there is no action here to ask the twin about")
            return
        what_if.ask(self.stage, proposal.action)

    def do_mark(self) -> None:
        if proposal := self._open():
            self.waiting.marked ^= {proposal.id}
            self.waiting.action_move(1 if self.waiting.at + 1 < len(self.waiting.order) else 0)

    def do_approve_marked(self) -> None:
        view = self.stage.view()
        marked = (
            [proposal for proposal in view.snapshot.approvals if proposal.id in self.waiting.marked] if view else []
        )
        if not marked:
            self.stage.say("nothing is marked: space marks")
            return
        answering.approve_all(self.stage, marked, self.waiting.marked.clear)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")

    def do_scroll_down(self) -> None:
        self.query_one("#card-body", Pager).scroll_page_down(animate=False)

    def do_scroll_up(self) -> None:
        self.query_one("#card-body", Pager).scroll_page_up(animate=False)
