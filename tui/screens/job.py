"""One job: specification, attempts, timeline, cost, why it waits, and its live logs."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker

from agentorch.errors import ClientError
from agentorch.tui import glyphs
from agentorch.tui.actions import Act, bindings
from agentorch.tui.feed import is_gone
from agentorch.tui.screens.job_lines import details, heading
from agentorch.tui.screens.jobs import ask_cancel, ask_priority
from agentorch.tui.screens.log_tail import LogTail
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, line
from agentorch.tui.view import View
from agentorch.tui.widgets.pager import Pager
from agentorch.tui.widgets.panel import Drawn, titled

if TYPE_CHECKING:
    from agentorch.schemas.documents import ExplainDocument, JobDocument

ACTS = (
    Act("job.logs", "l", "logs", "between the details and the logs", command="agentorch logs -f JOB"),
    Act("job.follow", "f", "follow", "stay at the end of the logs, or not"),
    Act("job.wrap", "w", "wrap", "wrap long lines, or cut them"),
    Act("job.find", "slash", "find", "find a text in the logs"),
    Act("job.next", "n", "next", "next place where it was found", footer=False),
    Act("job.stream", "t", "stderr", "between stdout and stderr"),
    Act("job.rank", "r", "rank", "the logs of a gang's next rank", footer=False),
    Act("job.cancel", "x", "cancel…", "cancel the job, after asking", "submit", "agentorch cancel JOB"),
    Act("job.priority", "p", "priority", "change its priority", "submit", footer=False),
    Act("job.copy", "y", "copy", "copy the command that shows the same", footer=False),
)


class Job(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = "Everything known about one job. The logs outlive the worker; the timeline is what the ledger says of it."
    screen_id = "jobs"

    def __init__(self, job_id: str, *, logs: bool = False) -> None:
        super().__init__()
        self.job_id = job_id
        self.job: JobDocument | None = None
        self.explain: ExplainDocument | None = None
        self.timeline: list[dict[str, Any]] = []
        self.trouble = ""
        self.stream = "stdout"
        self.rank = 0
        self.wrapped = False
        self.sought = ""
        self.tail = LogTail()
        self._logs_first = logs
        self._seen_seq: int | None = None
        self._reader: Worker[None] | None = None
        self._read_attempt = -1

    def compose(self) -> ComposeResult:
        self.info = Pager(self._details, id="job-info")
        self.log_pager = Pager(self._logs, id="job-logs")
        self.log_pager.follow = True
        self.typed = Input(placeholder="find in the logs", id="find")
        self.typed.display = False
        for pager, title in ((self.info, "Job"), (self.log_pager, "Logs")):
            pager.add_class("panel")
            pager.border_title = title
        yield Drawn(self._head, id="job-head")
        yield self.typed
        with Horizontal(classes="split job-split"):
            yield self.info
            yield self.log_pager

    def _head(self, view: View, width: int, height: int) -> list[Line]:
        if self.job is None:
            return [line((f" {self.job_id}: {self.trouble or 'loading'}", "error" if self.trouble else "dim"))]
        return [heading(view, self.job, width)]

    def _details(self, width: int) -> list[Line]:
        view = self.stage.view()
        if view is None or self.job is None:
            return []
        return details(view, self.job, self.explain, self.timeline, width)

    def _logs(self, width: int) -> list[Line]:
        if not self.tail.lines:
            never = self.job is not None and self.job.attempt == 0
            return [
                line(("it has not started: there are no logs yet" if never else f"nothing on {self.stream} yet", "dim"))
            ]
        return self.tail.drawn(width, wrapped=self.wrapped, sought=self.sought)

    # -- loading

    def entered(self) -> None:
        self.set_class(self._logs_first, "logs-first")
        view = self.stage.view()
        if view is not None:
            self.show(view)

    def left(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
            self._read_attempt = -1

    def show(self, view: View) -> None:
        super().show(view)
        self.info.repaint()
        if view.snapshot.seq != self._seen_seq:
            self._seen_seq = view.snapshot.seq
            self.run_worker(self._load(), group="load", exclusive=True)

    def tick(self, view: View) -> None:
        if self.job is not None and self.job.ended_at is None:
            self.query_one("#job-head", Drawn).repaint()
            self.info.repaint()

    async def _load(self) -> None:
        api = self.stage.feed.api
        try:
            self.job = await api.job(self.job_id)
            self.timeline = await api.job_events(self.job_id)
            self.explain = await api.explain(self.job_id) if self.job.state in ("queued", "held") else None
        except ClientError as error:
            self.trouble = f"there is no job {self.job_id}" if is_gone(error) else str(error)
        else:
            self.trouble = ""
            if self.job.attempt and self.job.attempt != self._read_attempt:
                self._read()
        self.query_one("#job-head", Drawn).repaint()
        self.info.repaint()
        self.log_pager.repaint()
        self._legend()

    def _read(self) -> None:
        """Read the newest attempt's logs from the start and go on as they grow."""
        self.left()
        assert self.job is not None
        self._read_attempt = self.job.attempt
        self.tail.clear()
        self._reader = self.run_worker(self._follow(self.job.attempt), group="logs")

    async def _follow(self, attempt: int) -> None:
        try:
            async with aclosing(
                self.stage.feed.api.follow_logs(self.job_id, attempt, self.stream, rank=self.rank)
            ) as pieces:
                async for text in pieces:
                    self.tail.feed(text)
                    self.log_pager.repaint()
        except ClientError as error:
            # The next change of the job starts it again.
            self._read_attempt = -1
            self.stage.say(f"the logs stopped: {error}", "error")

    def _legend(self) -> None:
        state = "following" if self.log_pager.follow else "not following"
        attempt = f"attempt {self._read_attempt} {glyphs.DOT} " if self._read_attempt > 0 else ""
        rank = f"rank {self.rank} {glyphs.DOT} " if self.job is not None and self.job.workers > 1 else ""
        wrapped = f" {glyphs.DOT} wrapped" if self.wrapped else ""
        self.log_pager.border_subtitle = titled(
            self.query_one("#job-head", Drawn),
            line((f"{attempt}{rank}{self.stream} {glyphs.DOT} {state}{wrapped}", "dim")),
        )

    def focus_target(self) -> Widget:
        return self.log_pager if self.has_class("logs-first") else self.info

    def back(self) -> bool:
        if self.typed.display:
            self.typed.display = False
            self.focus_target().focus()
            return True
        return False

    def command(self) -> str:
        return f"agentorch logs -f {self.job_id}" if self.has_class("logs-first") else f"agentorch why {self.job_id}"

    # -- keys

    def do_logs(self) -> None:
        self.toggle_class("logs-first")
        self.focus_target().focus()

    def do_follow(self) -> None:
        self.log_pager.follow = not self.log_pager.follow
        if self.log_pager.follow:
            self.log_pager.scroll_end(animate=False)
        self._legend()

    def do_wrap(self) -> None:
        self.wrapped = not self.wrapped
        self.log_pager.repaint()
        self._legend()

    def do_find(self) -> None:
        self.typed.display = True
        self.typed.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.typed.display = False
        self.sought = event.value
        self.log_pager.found = None
        self.log_pager.focus()
        self.do_next()

    def do_next(self) -> None:
        self.log_pager.follow = False
        self.log_pager.repaint()
        self._legend()
        drawn = self.log_pager.drawn
        start = -1 if self.log_pager.found is None else self.log_pager.found
        order = [*range(start + 1, len(drawn)), *range(start + 1)]
        for at in order:
            if self.sought and any("chip" in span.look for span in drawn[at]):
                self.log_pager.show_line(at)
                return
        self.stage.say(f"{self.sought!r} is not in the logs" if self.sought else "nothing is sought: / finds")

    def do_stream(self) -> None:
        self.stream = "stderr" if self.stream == "stdout" else "stdout"
        if self.job is not None and self.job.attempt:
            self._read()
        self.log_pager.repaint()
        self._legend()

    def do_rank(self) -> None:
        if self.job is None or self.job.workers == 1:
            self.stage.say("this job is no gang: it has no ranks")
            return
        self.rank = (self.rank + 1) % self.job.workers
        if self.job.attempt:
            self._read()
        self.log_pager.repaint()
        self._legend()

    def do_cancel(self) -> None:
        if self.job is not None:
            ask_cancel(self.stage, self.job)

    def do_priority(self) -> None:
        if self.job is not None:
            ask_priority(self.stage, self.job)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")
