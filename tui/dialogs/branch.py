"""Branch a recording: which other brain, which other settings, and which part of it."""

from __future__ import annotations

from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from agentorch.tui.branching import Asked, read_branch
from agentorch.tui.dialogs.dialog import Dialog
from agentorch.tui.spans import Line, fit, line, wrap
from agentorch.tui.widgets.lines import Still

LABELS: Final = ("brain", "set", "from", "to")
MEANING: Final = (
    ("brain", "rules; recorded, which says again what was said; or one named at the start: --tui --brain FILE.py"),
    ("set", "KEY=VALUE with spaces between: pools.gpu.max_workers=8 guardrails.approval_ttl=5m"),
    ("from, to", "sequence numbers; empty is the beginning, and the end"),
)


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
