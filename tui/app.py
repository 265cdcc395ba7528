"""The app: composes the frame and the pages, and is the one place where an action is allowed or refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from textual.app import ComposeResult
from textual.containers import Container

from agentorch.errors import ClientError, ServerRefused
from agentorch.tui import frame, pages
from agentorch.tui.actions import GLOBAL, Act, Entry, bindings
from agentorch.tui.feed import Feed, connect
from agentorch.tui.pending import Held, Pending
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, line, spread
from agentorch.tui.stage import Stage
from agentorch.tui.theme import THEMES, Palette, theme
from agentorch.tui.view import View
from agentorch.tui.widgets.lines import Still

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument
    from agentorch.tui.branching import Asked

GRACE_S: Final = 3.0
NOTICE_S: Final = 6.0


class AgentorchApp(Stage):
    TITLE = "agentorch"
    CSS_PATH = "agentorch.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-mid"), (150, "-roomy"), (184, "-wide")]
    BINDINGS = bindings(GLOBAL)

    def __init__(
        self,
        feed: Feed,
        *,
        theme_name: str = "night",
        ascii_only: bool = False,
        start_screen: str = "dashboard",
        zone: tzinfo | None = None,
        grace_s: float = GRACE_S,
        keymap: dict[str, str] | None = None,
    ) -> None:
        """`keymap` remaps actions by their id, `{"jobs.cancel": "X"}`; `grace_s`: see `pending`."""
        super().__init__()
        self.feed = feed
        self.ascii_only = ascii_only
        self.zone = zone
        self.grace_s = grace_s
        self.palette = Palette(theme_name)
        for name in THEMES:
            self.register_theme(theme(name))
        self.theme = theme_name
        self._start_screen = start_screen
        self._pages: dict[str, Page] = {}
        self._over: list[Page] = []  # detail pages on top of a screen
        self._screen_id = start_screen
        self._asked: Asked | None = None  # the newest branch: who comes back from looking finds it in the form
        self._pending = Pending(self._send_held)
        self._notice: tuple[str, str, float] = ("", "", 0.0)
        if keymap:
            self.set_keymap(keymap)

    # -- frame

    def compose(self) -> ComposeResult:
        yield Still(lambda width: frame.top_bar(self.feed, self.view(), width), id="top-bar")
        yield Still(lambda width: frame.navigation(self.view(), self._lit(), width), id="navigation")
        yield Still(lambda width: frame.banner(self.feed, self.view(), width), id="banner")
        yield Container(id="body")
        yield Still(self._notice_line, id="notice")
        yield Still(lambda width: frame.footer(self._acts(), self._off(), width), id="footer")

    def on_mount(self) -> None:
        self.screen.set_class(self.ascii_only, "ascii")
        self.feed.changed = self._changed
        self._frame()
        self.go(self._start_screen)
        self.run_worker(self.feed.run(), group="feed")
        self.set_interval(1.0, self._tick)

    def view(self) -> View | None:
        snapshot = self.feed.snapshot
        return View(snapshot, self.feed.now(), self.zone) if snapshot is not None else None

    @property
    def page(self) -> Page | None:
        return self._over[-1] if self._over else self._pages.get(self._screen_id)

    def _lit(self) -> str:
        return self.page.screen_id if self.page is not None else self._screen_id

    def _acts(self) -> tuple[Act, ...]:
        return self.page.ACTS if self.page is not None else ()

    def _off(self) -> dict[str, str]:
        """Which actions are off at this moment, and why."""
        whys = {role: self.feed.why_not(role) for role in ("submit", "approve", "admin")}
        return {act.id: whys[act.role] for act in (*self._acts(), *GLOBAL) if act.role and whys[act.role]}

    def _changed(self) -> None:
        """The feed has something new."""
        if not self.is_running:
            return
        self._frame()
        view = self.view()
        if view is not None and self.page is not None and self.page.is_mounted:
            self.page.show(view)

    def _tick(self) -> None:
        self._pending.release(self._clock())
        if not self.is_running:
            return
        self._frame()
        view = self.view()
        if view is not None and self.page is not None and self.page.is_mounted:
            self.page.tick(view)

    def _frame(self) -> None:
        base = self.screen_stack[0]
        width = self.size.width
        banner = base.query_one("#banner", Still)
        banner.display = bool(frame.banner(self.feed, self.view(), width))
        notice = base.query_one("#notice", Still)
        notice.display = bool(self._notice_text()[0])
        base.query_one("#body").set_class(self.feed.link.state == "lost", "stale")
        for widget in base.query(Still):
            widget.repaint()

    # -- notices

    def say(self, text: str, look: str = "") -> None:
        self._notice = (text, look, self._clock() + NOTICE_S)
        self._frame()

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _notice_text(self) -> tuple[str, str]:
        held = self._pending.newest
        if held is not None:
            more = f" and {len(self._pending) - 1} more" if len(self._pending) > 1 else ""
            left = max(0.0, held.send_at - self._clock())
            return f"approving {held.proposal.id}{more} in {left:.0f} s: {held.proposal.title}", "success"
        text, look, until = self._notice
        return (text, look) if self._clock() < until else ("", "")

    def _notice_line(self, width: int) -> list[Line]:
        text, look = self._notice_text()
        undo = line((" u ", "success chip", "app.perform('app.undo')"), " undo ") if self._pending.newest else []
        return [spread(line((f" {text}", look)), undo, width)]

    # -- pages

    def go(self, screen: str) -> None:
        self.call_later(self._switch, screen)

    async def _switch(self, screen: str) -> None:
        before = self.page
        over, self._over = self._over, []
        self._screen_id = screen
        if screen not in self._pages:
            self._pages[screen] = pages.make(screen)
        await self._reveal(before, self._pages[screen])
        for page in over:
            await page.remove()

    async def _push(self, page: Page) -> None:
        before = self.page
        self._over.append(page)
        await self._reveal(before, page)

    async def _reveal(self, before: Page | None, page: Page) -> None:
        if before is not None and before is not page and before.is_mounted:
            before.left()
            before.display = False
        if not page.is_attached:
            await self.screen_stack[0].query_one("#body").mount(page)
        page.display = True
        page.entered()
        self._changed()
        target = page.focus_target()
        if target is not None and len(self.screen_stack) == 1:
            self.screen.set_focus(target)

    def open_job(self, job_id: str, *, logs: bool = False) -> None:
        self.call_later(self._push, pages.job(job_id, logs=logs))

    def open_decision(self, cycle: int) -> None:
        self.call_later(self._push, pages.decision(cycle))

    def open_what_if(self, action: dict[str, Any]) -> None:
        self.call_later(pages.what_if, self.page, action, self._push)

    def ask_branch(self, before: Asked | None = None) -> None:
        def show(asked: Asked) -> None:
            self._asked = asked
            self.call_later(pages.branch, self.page, asked, self._push)

        pages.ask_branch(self, before or self._asked, show)

    def open_proposal(self, proposal_id: str) -> None:
        view = self.view()
        known = view.proposal(proposal_id) if view is not None else None
        if known is None:
            self.say(f"{proposal_id} was settled more than an hour ago: its decision in the log has it")
            return

        async def show() -> None:
            await self._switch("inbox")
            pages.select_proposal(self._pages["inbox"], proposal_id)

        self.call_later(show)

    def action_go(self, screen: str) -> None:
        self.go(screen)

    def action_open_job(self, job_id: str) -> None:
        self.open_job(job_id)

    def action_open_decision(self, cycle: int) -> None:
        self.open_decision(cycle)

    def action_open_proposal(self, proposal_id: str) -> None:
        self.open_proposal(proposal_id)

    async def action_look_at(self, seq: int) -> None:
        await self._quietly(lambda: self.feed.look_at(seq))

    # -- actions

    async def action_perform(self, act_id: str) -> None:
        """Every action goes through here: whether it is on at this moment is asked once."""
        act = next((act for act in (*self._acts(), *GLOBAL) if act.id == act_id), None)
        if act is None:
            return
        why = self.feed.why_not(act.role)
        if why:
            self.say(f"{act.label.rstrip('…')} is off: {why}", "warning")
            return
        if act.id.startswith("go."):
            self.go(act.id.removeprefix("go."))
            return
        owner = self if act in GLOBAL else self.page
        result = getattr(owner, act.method)()
        if inspect.isawaitable(result):
            await result

    def send(self, doing: str, done: str | Callable[[Any], str], work: Callable[[], Awaitable[Any]]) -> None:
        self.say(doing, "dim")

        async def deliver() -> None:
            result = await self._quietly(work)
            if result is not None:
                self.say(done if isinstance(done, str) else done(result), "success")
            self.feed.poke()

        self.run_worker(deliver(), group="send")

    async def _quietly(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The result, or None after having said what went wrong."""
        try:
            return await work()
        except ServerRefused as refused:
            self.say(f"refused: {refused.message}", "error")
        except ClientError as error:
            self.say(f"it is not known whether that arrived: {error}", "error")
        return None

    def hold_answer(self, proposal: ProposalDocument, edits: dict[str, int | str] | None) -> None:
        self._pending.hold(Held(proposal, self._clock() + self.grace_s, edits))
        self.set_timer(self.grace_s + 0.01, lambda: self._pending.release(self._clock()))
        self._frame()

    def _send_held(self, held: Held) -> None:
        why = self.feed.why_not("approve")
        if why:
            self.say(f"{held.proposal.id} was not answered: {why}", "error")
            return
        from agentorch.tui.screens import answering

        answering.send(self, held.proposal, "edit" if held.edits else "approve", edits=held.edits)

    # -- what the global keys do

    def do_undo(self) -> None:
        held = self._pending.undo()
        self.say(f"taken back: {held.proposal.id} is still open" if held else "there is nothing to take back")

    async def do_back(self) -> None:
        page = self.page
        if page is None or page.back():
            return
        if self._over:
            self._over.pop()
            under = self.page
            if under is not None:
                await self._reveal(page, under)
            await page.remove()

    def do_palette(self) -> None:
        from agentorch.tui.dialogs.palette import Finder

        off = self._off()
        acts = (*self._acts(), *(act for act in GLOBAL if act.id != "app.palette"))
        entries = [Entry(act.id, act.label, act.does, act.key, off.get(act.id, "")) for act in acts]

        def chosen(act_id: str | None) -> None:
            if act_id is not None:
                self.call_later(self.action_perform, act_id)

        self.push_screen(Finder("what do you want to do?", entries), chosen)

    def do_jump(self) -> None:
        from agentorch.tui.dialogs.palette import Finder

        def chosen(place: str | None) -> None:
            if place is not None:
                pages.jump(self, self._pages, place)

        self.push_screen(Finder("jump to", pages.places(self.view()), free=True), chosen)

    def do_help(self) -> None:
        from agentorch.tui.dialogs.help import Help

        page = self.page
        label = next(act.label for act in GLOBAL if act.id == f"go.{self._lit()}")
        about, command = (page.ABOUT, page.command()) if page is not None else ("", "")
        same = f" On the command line: {command}" if command else ""
        self.push_screen(Help(label, about + same, self._acts(), self._off()))

    def do_pause(self) -> None:
        from agentorch.tui.dialogs.mode import ask_mode

        ask_mode(self)

    def do_theme(self) -> None:
        name = THEMES[(THEMES.index(self.palette.name) + 1) % len(THEMES)]
        self.palette = Palette(name)
        self.theme = name
        self.say(f"theme {name}")

    def do_reconnect(self) -> None:
        self.feed.retry_now()

    async def do_quit(self) -> None:
        for held in self._pending.drop_all():
            # The person said yes and leaves: what was in its grace is sent, not lost.
            answer, proposal = "edit" if held.edits else "approve", held.proposal
            await self._quietly(
                lambda proposal=proposal, answer=answer, edits=held.edits: self.feed.api.answer(  # type: ignore[misc]
                    proposal.id, answer, edits=edits, proposal_hash=proposal.proposal_hash
                )
            )
        self.exit(0)

    def action_help_quit(self) -> None:
        self.say("q quits; the server goes on")


def run(
    base_url: str,
    key: str | None,
    *,
    read_only: bool = False,
    theme: str = "night",
    ascii: bool = False,
    start_screen: str = "dashboard",
) -> int:
    """Show the server at `base_url` until the person leaves. Returns the exit code; 1 when the screen itself failed."""
    feed = connect(base_url, key, read_only=read_only)
    app = AgentorchApp(feed, theme_name=theme, ascii_only=ascii, start_screen=start_screen)
    app.run()
    return app.return_code or 0
