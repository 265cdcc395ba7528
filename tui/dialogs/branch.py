"""Branch a recording: which other brain, which other settings, and which part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from agentorch.tui import words
from agentorch.tui.dialogs.dialog import Dialog
from agentorch.tui.spans import Line, fit, line, wrap
from agentorch.tui.widgets.lines import Still

LABELS: Final = ("brain", "set", "from", "to")
WAIT_S: Final = 1.0  # how long an answer may take before it tells how far it is
MEANING: Final = (
    ("brain", "rules; recorded, which says again what was said; or what this server names, openai:MODEL"),
    ("set", "KEY=VALUE with spaces between: pools.gpu.max_workers=8 guardrails.approval_ttl=5m"),
    ("from, to", "sequence numbers; empty is the beginning, and the end"),
)


@dataclass(frozen=True)
class Asked:
    """What a branch is asked with. `from_seq` and `to_seq`: None = the beginning, the end."""

    brain: str = "rules"
    settings: dict[str, str] = field(default_factory=dict)
    from_seq: int | None = None
    to_seq: int | None = None

    def told(self) -> str:
        """In words: `rules with pools.gpu.max_workers=8`."""
        pairs = " ".join(f"{key}={value}" for key, value in self.settings.items())
        return self.brain + (f" with {pairs}" if pairs else "")

    def body(self) -> dict[str, Any]:
        """As the server is asked."""
        return {
            "brain": self.brain,
            "set": self.settings,
            "from": self.from_seq,
            "to": self.to_seq,
            "wait_s": WAIT_S,
        }

    def command(self) -> str:
        parts = ["agentorch replay FILE --brain", self.brain]
        parts += [f"--set {key}={value}" for key, value in self.settings.items()]
        parts += [f"--from '#{self.from_seq}'"] if self.from_seq is not None else []
        parts += [f"--to '#{self.to_seq}'"] if self.to_seq is not None else []
        return " ".join(parts)


def read_branch(brain: str, settings: str, first: str, last: str, newest: int) -> tuple[Asked, list[str]]:
    """What was typed, and what is wrong with it."""
    wrong: list[str] = []
    pairs: dict[str, str] = {}
    for item in settings.split():
        key, equals, value = item.partition("=")
        if not key or not equals or not value:
            wrong.append(f"set: {item!r} is not KEY=VALUE")
        pairs[key] = value
    bounds: list[int | None] = []
    for name, text in (("from", first.strip()), ("to", last.strip())):
        number = int(text) if text.isascii() and text.isdigit() else None
        if text and (number is None or not 1 <= number <= newest):
            wrong.append(f"{name}: a sequence number, 1 to {words.count(newest)}")
        bounds.append(number)
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        wrong.append("from: must not be after to")
    if not brain.strip():
        wrong.append("brain: name one, such as rules")
    return Asked(brain.strip(), pairs, bounds[0], bounds[1]), wrong


class BranchForm(Dialog[Asked]):
    """Returns what to ask for."""

    def __init__(self, before: Asked, newest: int) -> None:
        super().__init__()
        self._newest = newest
        values = (
            before.brain,
            " ".join(f"{key}={value}" for key, value in before.settings.items()),
            "" if before.from_seq is None else str(before.from_seq),
            "" if before.to_seq is None else str(before.to_seq),
        )
        self._inputs = [
            Input(value=value, select_on_focus=False, id=f"branch-{name}")
            for name, value in zip(LABELS, values, strict=True)
        ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Still(self._head)
            for name, typed in zip(LABELS, self._inputs, strict=True):
                label = Still(lambda width, name=name: [line((name, "dim"))])  # type: ignore[misc]
                label.styles.width = 7
                with Horizontal(classes="field"):
                    yield label
                    yield typed
            yield Still(self._foot, id="foot")

    def _head(self, width: int) -> list[Line]:
        return [
            line(("Branch", "agent bold"), ("  what would another mind have made of this?", "bold")),
            line(("the recording is only read; both courses are driven in virtual time", "dim")),
            [],
        ]

    def _read(self) -> tuple[Asked, list[str]]:
        brain, settings, first, last = (typed.value for typed in self._inputs)
        return read_branch(brain, settings, first, last, self._newest)

    def _foot(self, width: int) -> list[Line]:
        wrong = self._read()[1]
        notes = [line((row, "error")) for text in wrong for row in wrap(text, width)]
        for name, text in () if wrong else MEANING:
            rows = wrap(text, max(20, width - 10))
            notes += [line((fit(name if not at else "", 10), "primary"), (row, "dim")) for at, row in enumerate(rows)]
        keys = line((" enter ", "agent chip"), " branch   ", (" tab ", "dim chip"), " next field   ")
        return [[], *notes, [], [*keys, *line((" esc ", "dim chip"), " back")]]

    def on_mount(self) -> None:
        super().on_mount()
        self._inputs[0].focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#foot", Still).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        asked, wrong = self._read()
        if not wrong:
            self.dismiss(asked)
