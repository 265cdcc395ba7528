"""What would come of an action that a person thinks of: the twin's answer as a card. Nothing is proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from agentorch.errors import ClientError, ServerRefused
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.dialogs.dialog import Prompt
from agentorch.tui.screens import card
from agentorch.tui.screens.forecast import PLOT_ROWS, forecast_plot
from agentorch.tui.screens.impact import impact_line, impact_table
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, Span, beside, clip, line, plain, wrap
from agentorch.tui.stage import Stage
from agentorch.tui.view import View
from agentorch.tui.widgets.pager import Pager

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ForeseenDocument

ACTS = (
    Act("what-if.more", "plus,equals_sign", "one more", "ask about one worker more"),
    Act("what-if.fewer", "minus", "one fewer", "ask about one worker fewer"),
    Act("what-if.other", "w", "other", "ask about another number of workers"),
    Act("what-if.again", "r", "again", "ask again: the answer is as of the moment it was given"),
    Act("what-if.copy", "y", "copy", "copy the command that asks the same"),
)
WITH_IT = "with it"
ROOMY_FROM = 130  # cells from which the plot is higher
ROOMY_PLOT = 12
WORKERS_MAX = 10_000_000
_RULINGS = {
    "allow": ("success", "would allow it"),
    "ask": ("guard", "would ask a person"),
    "deny": ("error", "would deny it"),
}


def command_of(action: dict[str, Any]) -> str:
    """The same on the command line; "" for an action that it has no word for."""
    kind = action.get("kind")
    if kind == "scale":
        return f"agentorch what-if scale {action.get('pool')} {action.get('workers')}"
    if kind in ("cordon", "uncordon"):
        return f"agentorch what-if {kind} {action.get('worker')}"
    if kind == "reroute" and action.get("job"):
        return f"agentorch what-if reroute {action['job']} {action.get('pool')}"
    if kind == "reschedule" and action.get("change") == "priority":
        return f"agentorch what-if priority {action.get('job')} {action.get('priority')}"
    if kind == "reschedule" and action.get("change") != "start_at":
        return f"agentorch what-if {action.get('change')} {action.get('job')}"
    return ""


def read_workers(text: str) -> tuple[int | None, str]:
    """The number that was typed, or what is wrong with it."""
    text = text.strip()
    if not text.isascii() or not text.isdigit() or int(text) > WORKERS_MAX:
        return None, "a whole number of workers, 0 or more"
    return int(text), ""


def ask(app: Stage, action: dict[str, Any]) -> None:
    """Ask the twin about an action; about scaling, ask the person for the number first."""
    if action.get("kind") != "scale":
        app.open_what_if(action)
        return

    def typed(text: str | None) -> None:
        workers = read_workers(text)[0] if text is not None else None
        if workers is not None:
            app.open_what_if(action | {"workers": workers})

    view = app.view()
    pool = view.pool(str(action.get("pool"))) if view is not None else None
    title = line(("What if ", "agent bold"), (plain(str(action.get("pool"))), "bold"), " had this many workers?")
    note = "the twin answers; nothing is proposed"
    if pool is not None:
        note = f"it has {pool.workers}, and may have {pool.min_workers} to {pool.max_workers}; {note}"
    prompt = Prompt(
        title,
        value=str(action.get("workers", "")),
        note=note,
        confirm="ask the twin",
        look="agent",
        check=lambda text: read_workers(text)[1],
    )
    app.push_screen(prompt, typed)


class WhatIf(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "What the twin foresees of an action, beside doing nothing: a fork of the present state is run ahead several "
        "times. Nothing is proposed and nothing changes."
    )
    screen_id = "pools"

    def __init__(self, action: dict[str, Any]) -> None:
        super().__init__()
        self.action = action
        self.found: ForeseenDocument | None = None
        self.trouble = ""

    def compose(self) -> ComposeResult:
        self.pager = Pager(self._draw, id="what-if")
        self.pager.add_class("panel")
        self.pager.border_title = "What if"
        yield self.pager

    def entered(self) -> None:
        self.ask(self.action)

    def ask(self, action: dict[str, Any]) -> None:
        self.action = action
        self.run_worker(self._load(), exclusive=True)

    async def _load(self) -> None:
        self.found, self.trouble = None, ""
        self.pager.repaint()
        try:
            self.found = await self.stage.feed.api.foresee(self.action)
        except ServerRefused as refused:
            self.trouble = refused.message
        except ClientError as error:
            self.trouble = str(error)
        self.pager.repaint()

    def show(self, view: View) -> None:
        super().show(view)
        self.pager.repaint()

    def _draw(self, width: int) -> list[Line]:
        view = self.stage.view()
        if self.trouble:
            return [line((row, "error")) for row in wrap(f"the twin did not answer: {self.trouble}", width)]
        if view is None or self.found is None:
            return [line(("the twin runs ahead", "dim"))]
        return what_if_lines(view, self.found, width)

    def focus_target(self) -> Widget:
        return self.pager

    def command(self) -> str:
        return command_of(self.action)

    # -- keys

    def _by(self, step: int) -> None:
        if self.action.get("kind") != "scale":
            self.stage.say("only a number of workers can be one more or one fewer")
            return
        self.ask(self.action | {"workers": max(0, int(self.action["workers"]) + step)})

    def do_more(self) -> None:
        self._by(1)

    def do_fewer(self) -> None:
        self._by(-1)

    def do_other(self) -> None:
        if self.action.get("kind") == "scale":
            ask(self.stage, self.action)
        else:
            self.stage.say("there is nothing to vary in this action: r asks again")

    def do_again(self) -> None:
        self.ask(self.action)

    def do_copy(self) -> None:
        if not self.command():
            self.stage.say("the command line has no word for this action")
            return
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")


def what_if_lines(view: View, found: ForeseenDocument, width: int) -> list[Line]:
    look, word = _RULINGS.get(found.ruling, ("dim", found.ruling))
    title = plain(found.title)
    head = [
        line((clip(f"What if: {title[:1].lower()}{title[1:]}?", width), "bold")),
        line(
            ("guardrails ", "dim"),
            (word, f"{look} bold"),
            (f"  {glyphs.DOT}  asked at {view.moment(found.at)}, sequence {words.count(found.seq)}", "dim"),
            (f"  {glyphs.DOT}  nothing was proposed" if width >= 84 else "", "dim"),
        ),
        impact_line(found.impact, width),
    ]
    if width < card.TWO_COLUMNS:
        return [*head, *_foreseen(view, found, width), *_said(found, width)]
    left_width = width * 9 // 20
    rows = ROOMY_PLOT if width >= ROOMY_FROM else PLOT_ROWS
    right = _foreseen(view, found, width - left_width - 3, rows)
    return [*head, *beside(_said(found, left_width), right, left_width, 3)]


def _foreseen(view: View, found: ForeseenDocument, width: int, rows: int = PLOT_ROWS) -> list[Line]:
    return [
        *forecast_plot(view, found.impact, found.target, width, acted=WITH_IT, rows=rows),
        *impact_table(found.impact, width, acted=WITH_IT),
    ]


def _said(found: ForeseenDocument, width: int) -> list[Line]:
    lines: list[Line] = [*card.change_lines(found.target, found.before, found.after, width)]
    lines += [[], line(("Guardrails", "dim bold"), ("  if it were proposed now", "dim"))]
    for note in sorted(found.notes, key=lambda note: ("allow", "ask", "deny").index(note.ruling)):
        lines += card.note_line(note, width)
    if found.rests_on:
        lines += [[], line(("What is not known", "dim bold"))]
        lines += [line((row, "dim")) for row in wrap(found.rests_on, width, indent=2)]
    same = command_of(found.action)
    if same:
        lines += [[], line(("The same on the command line", "dim bold"), ("  y copies it", "dim"))]
        lines += [[Span(row, "primary")] for row in wrap(same, width, indent=2, hanging=4)]
    return lines
