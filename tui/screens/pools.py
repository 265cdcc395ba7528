"""Screen 3: pools, their workers, and the devices of what is selected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.dialogs.dialog import Prompt
from agentorch.tui.screens import what_if
from agentorch.tui.screens.fleet_lines import pool_details, worker_details
from agentorch.tui.screens.page import Page
from agentorch.tui.screens.summaries import pool_state
from agentorch.tui.spans import Line, Span, fit, line, plain
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge, level
from agentorch.tui.widgets.pager import Pager
from agentorch.tui.widgets.panel import titled
from agentorch.tui.widgets.table import Column, Table

if TYPE_CHECKING:
    from agentorch.schemas.documents import PoolDocument, WorkerDocument

ACTS = (
    Act("pools.cordon", "d,c", "cordon", "place nothing new on the worker, or again; what runs goes on", "admin"),
    Act(
        "pools.what-if",
        "w",
        "what-if",
        "ask the twin: of a pool about another number of workers, of a worker about its cordon",
        command="agentorch what-if scale POOL N",
    ),
    Act("pools.fold", "space", "fold", "show or hide the workers of the pool"),
    Act("pools.copy", "y", "copy", "copy the command that shows the same", footer=False),
)


@dataclass(frozen=True)
class FleetRow:
    """A pool, or one of its workers."""

    pool: PoolDocument
    worker: WorkerDocument | None = None

    @property
    def key(self) -> str:
        return f"worker:{self.worker.id}" if self.worker is not None else f"pool:{self.pool.name}"


def worker_sign(worker: WorkerDocument) -> tuple[str, str, str]:
    """Sign, look and word."""
    if worker.state != "up":
        return (
            (glyphs.FAILED, "error", worker.state)
            if worker.state == "down"
            else (glyphs.STOPPING, "warning", worker.state)
        )
    if worker.node_state != "up":
        return glyphs.HIGH, "warning", f"node {'in doubt' if worker.node_state == 'suspect' else worker.node_state}"
    if worker.health == "broken":
        return glyphs.FAILED, "error", "broken"
    if worker.cordoned:
        return glyphs.HELD, "warning", "cordoned"
    if worker.health == "suspect":
        return glyphs.HIGH, "warning", "suspect"
    return (glyphs.RUNNING, "success", "busy") if worker.jobs else (glyphs.QUEUED, "dim", "idle")


def worker_share(worker: WorkerDocument) -> float:
    """How much of the worker is taken: of its scarcest resource."""
    shares = [1 - worker.free_cpus / worker.cpus if worker.cpus else 0.0]
    if worker.gpus:
        shares.append(1 - worker.free_gpus / worker.gpus)
    if worker.memory_bytes:
        shares.append(1 - worker.free_memory_bytes / worker.memory_bytes)
    return max(shares)


def _name(row: FleetRow, width: int) -> Line:
    if row.worker is None:
        sign, look, _ = pool_state(row.pool)
        return [Span(f"{sign} ", look), Span(fit(plain(row.pool.name), width - 2), "bold")]
    sign, look, _ = worker_sign(row.worker)
    return [Span(f"  {sign} ", look), Span(fit(plain(row.worker.id), width - 4))]


def _word(row: FleetRow, width: int) -> Line:
    _, look, word = pool_state(row.pool) if row.worker is None else worker_sign(row.worker)
    return [Span(fit(word, width), look)]


def _use(row: FleetRow, width: int) -> Line:
    share = row.pool.utilization_percent / 100 if row.worker is None else worker_share(row.worker)
    # A full worker is a good worker; a full pool is a warning.
    look = level(share) if row.worker is None else "success"
    return [*gauge(share, width - 5, look), Span(f"{share * 100:4.0f}%")]


def _size(row: FleetRow, width: int) -> Line:
    if row.worker is None:
        target = "" if row.pool.target == row.pool.workers else f"{glyphs.ARROW}{row.pool.target}"
        return [Span(fit(f"{row.pool.workers}{target} of {row.pool.max_workers}", width), "dim")]
    gpus = f" {row.worker.gpus}gpu" if row.worker.gpus else ""
    return [Span(fit(f"{words.number(row.worker.cpus)}cpu{gpus}", width), "dim")]


def _work(row: FleetRow, width: int) -> Line:
    if row.worker is None:
        return [Span(fit(f"{words.count(row.pool.running)}r {words.count(row.pool.queued)}q", width, right=True))]
    return [Span(fit(words.plural(len(row.worker.jobs), "job") if row.worker.jobs else "", width, right=True), "dim")]


def _price(row: FleetRow, width: int) -> Line:
    text = words.rate(row.pool.price_usd_per_hour) if row.worker is None else ""
    return [Span(fit(text, width, right=True), "dim")]


def _executor(row: FleetRow, width: int) -> Line:
    return [Span(fit(row.pool.executor if row.worker is None else plain(row.worker.node), width), "dim")]


COLUMNS: tuple[Column[FleetRow], ...] = (
    Column("pool and workers", 20, _name, stretch=True),
    Column("state", 12, _word),
    Column("in use", 16, _use),
    Column("size", 10, _size, drop=2),
    Column("work", 9, _work, right=True),
    Column("price", 9, _price, right=True, drop=3),
    Column("where", 9, _executor, drop=4),
)


class Pools(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "Pools and their workers; right, the devices of what is selected, each sample with its age. Unknown is unknown."
    )
    screen_id = "pools"

    def __init__(self) -> None:
        super().__init__()
        self.folded: set[str] = set()

    def compose(self) -> ComposeResult:
        self.table: Table[FleetRow] = Table(COLUMNS, key=lambda row: row.key, id="fleet")
        self.table.add_class("panel")
        self.table.border_title = "Fleet"
        self.table.message = [line(("no pools are configured", "dim"))]
        self.side = Pager(self._details, id="fleet-details")
        self.side.add_class("panel")
        self.side.can_focus = False
        with Horizontal(classes="split"):
            yield self.table
            yield self.side

    def _rows(self, view: View) -> Iterator[FleetRow]:
        for pool in view.snapshot.pools:
            yield FleetRow(pool)
            if pool.name not in self.folded:
                for worker in view.snapshot.workers:
                    if worker.pool == pool.name:
                        yield FleetRow(pool, worker)

    def show(self, view: View) -> None:
        super().show(view)
        self.table.set_rows(list(self._rows(view)))
        shown, total = len(view.snapshot.workers), view.snapshot.truncated.get("workers", len(view.snapshot.workers))
        counted = f"{words.plural(len(view.snapshot.pools), 'pool')} {glyphs.DOT} {words.cut(shown, total, 'worker')}"
        self.table.border_subtitle = titled(self, line((counted, "warning" if shown < total else "dim")))
        self._side()

    def _side(self) -> None:
        row = self.table.current
        name = (row.worker.id if row.worker else row.pool.name) if row else "Devices"
        self.side.border_title = titled(self, line((plain(name), "bold")))
        self.side.repaint()

    def _details(self, width: int) -> list[Line]:
        view, row = self.stage.view(), self.table.current
        if view is None or row is None:
            return []
        return worker_details(view, row.worker, width) if row.worker else pool_details(view, row.pool, width)

    def on_table_moved(self, event: Table.Moved) -> None:
        self._side()

    def on_table_opened(self, event: Table.Opened) -> None:
        row = self.table.current
        if row is not None and row.worker is not None and row.worker.jobs:
            self.stage.open_job(row.worker.jobs[0])
        else:
            self.do_fold()

    def focus_target(self) -> Widget:
        return self.table

    def command(self) -> str:
        return "agentorch pools"

    def select(self, key: str) -> bool:
        return self.table.select(key)

    def do_fold(self) -> None:
        view, row = self.stage.view(), self.table.current
        if row is not None and view is not None:
            self.folded ^= {row.pool.name}
            self.show(view)

    def do_cordon(self) -> None:
        row = self.table.current
        if row is None or row.worker is None:
            self.stage.say("cordon acts on a worker: put the cursor on one")
            return
        worker = row.worker
        api = self.stage.feed.api
        if worker.cordoned:
            self.stage.send(
                f"uncordoning {worker.id}", f"{worker.id} takes work again", lambda: api.cordon(worker.id, False)
            )
            return

        def reasoned(reason: str | None) -> None:
            if reason is not None:
                work = lambda: api.cordon(worker.id, True, reason=reason.strip())  # noqa: E731
                self.stage.send(f"cordoning {worker.id}", f"{worker.id} takes nothing new", work)

        title = line(("Cordon ", "warning bold"), (plain(worker.id), "bold"))
        runs = words.plural(len(worker.jobs), "job")
        note = f"nothing new is placed on it; {runs} on it {'goes' if len(worker.jobs) == 1 else 'go'} on"
        prompt = Prompt(title, placeholder="reason", note=note, confirm="cordon", look="warning")
        self.app.push_screen(prompt, reasoned)

    def do_what_if(self) -> None:
        row = self.table.current
        if row is None:
            return
        if row.worker is None:
            what_if.ask(self.stage, {"kind": "scale", "pool": row.pool.name, "workers": row.pool.target})
        else:
            what_if.ask(self.stage, {"kind": "uncordon" if row.worker.cordoned else "cordon", "worker": row.worker.id})

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")
