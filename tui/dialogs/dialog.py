"""What all dialogs share, and the two simplest: choose one of a few answers, type one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from agentorch.tui.spans import Line, Span, line, wrap
from agentorch.tui.stage import stage
from agentorch.tui.widgets.lines import Lines, Still

Result = TypeVar("Result")


class Dialog(ModalScreen[Result | None]):
    """A box over the page. Escape closes it with None."""

    BINDINGS = [Binding("escape", "dismiss(None)", show=False)]

    def on_mount(self) -> None:
        self.set_class(stage(self).ascii_only, "ascii")


@dataclass(frozen=True)
class Option:
    id: str
    label: str
    look: str = "primary"


class Choices(Lines, can_focus=True):
    """Answers next to each other: arrows or tab move, enter or a click chooses."""

    BINDINGS = [
        Binding("left,h,shift+tab", "move(-1)", show=False),
        Binding("right,l,tab", "move(1)", show=False),
        Binding("enter,space", "choose", show=False),
    ]

    class Chosen(Message):
        def __init__(self, option: str) -> None:
            super().__init__()
            self.option = option

    def __init__(self, options: Sequence[Option], preselected: int) -> None:
        super().__init__()
        self.options = tuple(options)
        self.at = preselected

    def lines(self, width: int, height: int) -> list[Line]:
        spans: Line = []
        for number, option in enumerate(self.options):
            selected = number == self.at
            look = f"{option.look} chip" if selected else option.look
            mark = f" {'▸' if selected else ' '} {option.label} "
            spans += [Span(mark, look), Span("  ")]
        return [spans, line(("  arrows choose · enter confirms · esc goes back", "dim"))]

    def action_move(self, by: int) -> None:
        self.at = (self.at + by) % len(self.options)
        self.repaint()

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self.options[self.at].id))

    def on_click(self, event: events.Click) -> None:
        left = 0
        for number, option in enumerate(self.options):
            right = left + len(option.label) + 4
            if event.y == 0 and left <= event.x < right:
                self.at = number
                self.action_choose()
            left = right + 2


class Choice(Dialog[str]):
    """A question with a few answers, one of them preselected. Returns the id of the chosen one."""

    def __init__(self, draw: Callable[[int], list[Line]], options: Sequence[Option], preselected: int = 0) -> None:
        super().__init__()
        self._draw = draw
        self._choices = Choices(options, preselected)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Still(lambda width: [*self._draw(width), []])
            yield self._choices

    def on_mount(self) -> None:
        super().on_mount()
        self._choices.focus()

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        self.dismiss(event.option)


class Prompt(Dialog[str]):
    """One line of text. `check` says what is wrong with it ("" = nothing) while it is typed; only good text returns."""

    def __init__(
        self,
        title: Line,
        *,
        value: str = "",
        placeholder: str = "",
        note: str = "",
        confirm: str = "confirm",
        look: str = "primary",
        check: Callable[[str], str] = lambda text: "",
    ) -> None:
        super().__init__()
        self._title = title
        self._input = Input(value=value, placeholder=placeholder, select_on_focus=False)
        self._note = note
        self._confirm = confirm
        self._look = look
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Still(lambda width: [self._title, []])
            yield self._input
            yield Still(self._foot, id="foot")

    def _foot(self, width: int) -> list[Line]:
        wrong = self._check(self._input.value)
        notes = [line((row, "error" if wrong else "dim")) for row in wrap(wrong or self._note, width)]
        keys = line((" enter ", f"{self._look} chip"), f" {self._confirm}   ", (" esc ", "dim chip"), " back")
        return [*notes, [], keys]

    def on_mount(self) -> None:
        super().on_mount()
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#foot", Still).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self._check(event.value):
            self.dismiss(event.value)
