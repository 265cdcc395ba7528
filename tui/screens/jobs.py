"""Screen 2: every job, why it waits, what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Input

from agentorch.errors import ClientError
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.dialogs.dialog import Choice, Option, Prompt
from agentorch.tui.screens import job_filter
from agentorch.tui.screens.page import Page
from agentorch.tui.screens.summaries import job_cost, job_note, job_title
from agentorch.tui.spans import Line, Span, clip, clip_line, fit, line, plain, spread
from agentorch.tui.stage import Stage
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge
from agentorch.tui.widgets.lines import Still
from agentorch.tui.widgets.table import Column, Table, text_cell

if TYPE_CHECKING:
    from agentorch.schemas.documents import JobDocument

PAGE_ROWS: Final = 200
LOADED_MAX: Final = 10_000  # rows kept; beyond them, filter
REFRESHED_MAX: Final = 1_000  # rows asked for again when something changed: the server's longest page
LONG_WAIT_S: Final = 300.0

ACTS = (
    Act(
        "jobs.filter",
        "slash",
        "filter",
        "narrow by state, tenant, pool, label or words",
        command="agentorch jobs --state queued",
    ),
    Act("jobs.sort", "s", "sort", "next sort: as the server says, wait, priority, cost, name"),
    Act("jobs.open", "o", "detail", "the whole job (enter)", command="agentorch why JOB"),
    Act("jobs.cancel", "x", "cancel…", "cancel the job, after asking", "submit", "agentorch cancel JOB"),
    Act("jobs.logs", "l", "logs", "its logs", command="agentorch logs -f JOB"),
    Act("jobs.priority", "p", "priority", "change its priority, 0 to 100", "submit"),
    Act("jobs.faults", "ctrl+z", "faults", "only what failed; again for all", footer=False),
    Act("jobs.copy", "y", "copy", "copy the command that shows the same", footer=False),
)
SORTS: tuple[tuple[str, Callable[[JobDocument], Any] | None], ...] = (
    ("newest", None),
    ("wait", lambda job: -job.wait_s),
    ("priority", lambda job: -job.priority),
    ("cost", lambda job: -job.cost_usd),
    ("name", lambda job: job.name),
)


def gpus(job: JobDocument) -> str:
    return str(job.resources.get("gpus") or job.resources.get("gpu") or 0)


def _sign(job: JobDocument, width: int) -> Line:
    sign, look = glyphs.STATES.get(job.state, (glyphs.HOLD, "dim"))
    return [Span(sign, look)]


def _state(job: JobDocument, width: int) -> Line:
    return [Span(fit(job.state, width), glyphs.STATES.get(job.state, ("", "dim"))[1])]


def _wait(job: JobDocument, width: int) -> Line:
    waiting = job.state in ("queued", "held")
    look = "dim" if not waiting else "error" if job.wait_s > LONG_WAIT_S else "warning" if job.wait_s > 60 else ""
    return [Span(fit(words.duration(job.wait_s), width, right=True), look)]


def _progress(job: JobDocument, width: int) -> Line:
    if job.progress_percent is None or job.state not in ("running", "starting", "stopping"):
        return [Span(" " * width)]
    share = job.progress_percent / 100
    return [*gauge(share, width - 5, "success"), Span(f"{job.progress_percent:4.0f}%", "success")]


def _why(job: JobDocument, width: int) -> Line:
    note, look = job_note(job)
    return [Span(fit(note, width), look)]


COLUMNS: tuple[Column[JobDocument], ...] = (
    Column("", 1, _sign),
    Column("job", 11, text_cell(lambda job: job.id, "dim")),
    Column("name", 18, text_cell(job_title, "bold")),
    Column("tenant", 8, text_cell(lambda job: plain(job.tenant), "dim"), drop=4),
    Column("tier", 8, text_cell(lambda job: job.tier, "dim"), drop=7),
    Column("prio", 4, text_cell(lambda job: str(job.priority), right=True), right=True, drop=2),
    Column("gpu", 3, text_cell(gpus, right=True), right=True, drop=5),
    Column("wait", 6, _wait, right=True),
    Column("state", 9, _state),
    Column("pool", 11, text_cell(lambda job: plain(job.pool or words.UNKNOWN), "dim"), drop=3),
    Column("progress", 16, _progress, drop=6),
    Column("cost", 7, text_cell(job_cost, "dim", right=True), right=True, drop=1),
    Column("why", 16, _why, stretch=True),
)


class Jobs(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "Every job. The server filters and counts; sorting is over the rows loaded so far, which the title announces."
    )
    screen_id = "jobs"

    def __init__(self) -> None:
        super().__init__()
        self.filter = job_filter.JobFilter()
        self.total = 0
        self.cursor = ""
        self.sort = 0
        self.trouble = ""
        self._loaded: dict[str, JobDocument] = {}
        self._seen_seq: int | None = None
        self._busy = asyncio.Lock()

    def compose(self) -> ComposeResult:
        self.table: Table[JobDocument] = Table(COLUMNS, key=lambda job: job.id)
        self.typed = Input(placeholder=job_filter.HINT, id="filter")
        self.typed.display = False
        yield Still(self._title, id="crumbs")
        yield self.typed
        yield self.table

    def _title(self, width: int) -> list[Line]:
        name, order = SORTS[self.sort]
        shown = len(self.table.rows)
        within = f" of the {words.count(shown)} loaded" if order is not None and shown < self.total else ""
        left = line(
            (" Jobs", "bold"),
            (f" {glyphs.CRUMB} ", "dim"),
            ("sorted by ", "dim"),
            (name, "primary"),
            (within, "warning"),
            ("  filter ", "dim"),
            (str(self.filter) or "none", "primary" if not self.filter.empty else "dim"),
        )
        right = line((f" {words.cut(shown, self.total, 'job')} ", "warning" if shown < self.total else "dim"))
        return [
            spread(clip_line(left, width), right, width),
            *([line((f" {self.trouble}", "error"))] if self.trouble else []),
        ]

    # -- rows

    def entered(self) -> None:
        self._seen_seq = None
        view = self.stage.view()
        if view is not None:
            self.show(view)

    def show(self, view: View) -> None:
        super().show(view)
        if view.snapshot.seq != self._seen_seq:
            self._seen_seq = view.snapshot.seq
            self.run_worker(self._refresh(), exclusive=False)

    async def _refresh(self, *, restart: bool = False) -> None:
        """Ask again for what is loaded, up to a page; rows beyond keep what was last said of them."""
        if self._busy.locked() and not restart:
            return
        async with self._busy:
            if restart:
                self._loaded.clear()
            limit = max(PAGE_ROWS, min(REFRESHED_MAX, len(self._loaded)))
            try:
                page = await self.stage.feed.api.jobs(**self.filter.asked(), limit=limit)
            except ClientError as error:
                self._fail(error)
                return
            fresh = {job.id: job for job in page.items}
            beyond = len(self._loaded) > limit
            self._loaded = fresh | ({k: v for k, v in self._loaded.items() if k not in fresh} if beyond else {})
            self.total = page.total
            self.cursor = self.cursor if beyond else page.next or ""
            self._fill()

    async def _more(self) -> None:
        if not self.cursor or self._busy.locked() or len(self._loaded) >= LOADED_MAX:
            return
        async with self._busy:
            try:
                page = await self.stage.feed.api.jobs(**self.filter.asked(), cursor=self.cursor, limit=PAGE_ROWS)
            except ClientError as error:
                self._fail(error)
                return
            self._loaded |= {job.id: job for job in page.items}
            self.total, self.cursor = page.total, page.next or ""
            self._fill()

    def _fail(self, error: ClientError) -> None:
        self.stage.say(f"the jobs could not be read: {error}", "error")

    def _fill(self) -> None:
        rows = list(self._loaded.values())
        order = SORTS[self.sort][1]
        if order is not None:
            rows.sort(key=order)
        if self.filter.empty:
            text = "  no jobs yet: agentorch run -- COMMAND submits one"
        else:
            text = f"  no job matches {self.filter}: esc shows all"
        self.table.message = [line((text, "dim"))]
        self.table.set_rows(rows)
        self.query_one("#crumbs", Still).repaint()

    def on_table_moved(self, event: Table.Moved) -> None:
        if self.table.cursor >= len(self.table.rows) - 50:
            self.run_worker(self._more(), exclusive=False)

    def on_table_opened(self, event: Table.Opened) -> None:
        self.do_open()

    # -- filter

    def do_filter(self) -> None:
        self.typed.display = True
        self.typed.value = str(self.filter)
        self.typed.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        _, self.trouble = job_filter.parse(event.value)
        self.query_one("#crumbs", Still).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        wanted, trouble = job_filter.parse(event.value)
        if not trouble:
            self.narrow(wanted)

    def narrow(self, wanted: job_filter.JobFilter) -> None:
        """Show only what matches."""
        self.filter, self.trouble = wanted, ""
        self.typed.display = False
        self.table.focus()
        self.table.cursor = 0
        self.run_worker(self._refresh(restart=True), exclusive=False)

    def back(self) -> bool:
        if self.typed.display:
            self.typed.display = False
            self.trouble = ""
            self.query_one("#crumbs", Still).repaint()
            self.table.focus()
            return True
        if not self.filter.empty:
            self.narrow(job_filter.JobFilter())
            return True
        return False

    def focus_target(self) -> Widget:
        return self.table

    def command(self) -> str:
        job = self.table.current
        return f"agentorch why {job.id}" if job else "agentorch jobs"

    # -- keys

    def do_sort(self) -> None:
        self.sort = (self.sort + 1) % len(SORTS)
        self._fill()

    def do_faults(self) -> None:
        faults = job_filter.JobFilter(state="failed")
        self.narrow(job_filter.JobFilter() if self.filter == faults else faults)

    def do_open(self) -> None:
        if (job := self.table.current) is not None:
            self.stage.open_job(job.id)

    def do_logs(self) -> None:
        if (job := self.table.current) is not None:
            self.stage.open_job(job.id, logs=True)

    def do_cancel(self) -> None:
        if (job := self.table.current) is not None:
            ask_cancel(self.stage, job)

    def do_priority(self) -> None:
        if (job := self.table.current) is not None:
            ask_priority(self.stage, job)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")


def ask_cancel(app: Stage, job: JobDocument) -> None:
    """Cancel a job after saying what will be lost."""
    if job.state in ("succeeded", "failed", "cancelled"):
        app.say(f"{job.id} has already ended: {job.state}")
        return

    def question(width: int) -> list[Line]:
        lost = f"it runs since {words.duration(job.run_s)}; it is told to stop and killed after its grace"
        text = lost if job.started_at is not None and job.state != "queued" else "it has not started; nothing is lost"
        name = Span(clip(f"{job.id} {job_title(job)}", width - 8), "bold")
        return [[Span("Cancel ", "error bold"), name, Span("?")], [], line((text, "dim"))]

    def answered(option: str | None) -> None:
        if option == "cancel-job":
            app.send(
                f"cancelling {job.id}", lambda done: f"{job.id} is {done.state}", lambda: app.feed.api.cancel(job.id)
            )

    options = (Option("keep", "Keep it", "dim"), Option("cancel-job", "Cancel the job", "error"))
    app.push_screen(Choice(question, options), answered)


def ask_priority(app: Stage, job: JobDocument) -> None:
    def check(text: str) -> str:
        return "" if text.strip().isdigit() and int(text) <= 100 else "a whole number from 0 to 100"

    def typed(text: str | None) -> None:
        if text is not None:
            wanted = int(text)
            work = lambda: app.feed.api.patch_job(job.id, priority=wanted)  # noqa: E731
            app.send(f"changing {job.id}", f"{job.id} has priority {wanted}", work)

    title = line(("Priority ", "bold"), (f"{job.id} {job_title(job)}", ""))
    note = f"0 to 100, the highest goes first; now {job.priority}"
    app.push_screen(Prompt(title, value=str(job.priority), note=note, confirm="change", check=check), typed)
