"""Edit a proposal before approving it: a form from the fields that the server lets a person narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from agentorch.tui.dialogs.dialog import Dialog
from agentorch.tui.spans import Line, fit, line, plain, wrap
from agentorch.tui.widgets.lines import Still

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument


def allowed_range(field: dict[str, Any]) -> str:
    """The values of one field in words."""
    if field.get("choices"):
        return "one of " + ", ".join(str(choice) for choice in field["choices"])
    low, high = field.get("from"), field.get("to")
    if low is not None and high is not None:
        # A narrowing may run downwards: from the proposed value to the one of today.
        return f"{min(low, high)} to {max(low, high)}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else "any text"


def read_value(name: str, field: dict[str, Any], text: str) -> tuple[int | str | None, str]:
    """The value that was typed, or what is wrong with it."""
    text = text.strip()
    if field.get("choices"):
        for choice in field["choices"]:
            if str(choice) == text:
                return choice, ""
        return None, f"{name}: {allowed_range(field)}"
    if field.get("type") not in ("int", "integer", "number"):
        return (text, "") if text else (None, f"{name}: must not be empty")
    try:
        value = int(text)
    except ValueError:
        return None, f"{name}: a whole number, {allowed_range(field)}"
    bounds = [bound for bound in (field.get("from"), field.get("to")) if bound is not None]
    low = min(bounds) if len(bounds) == 2 else field.get("from")
    high = max(bounds) if len(bounds) == 2 else field.get("to")
    if (low is not None and value < low) or (high is not None and value > high):
        return None, f"{name}: {allowed_range(field)}; an edit may narrow a proposal, never widen it"
    return value, ""


class EditForm(Dialog[dict[str, int | str]]):
    """Returns only the fields that were changed, so an unchanged form returns {}."""

    def __init__(self, proposal: ProposalDocument) -> None:
        super().__init__()
        self._proposal = proposal
        action = proposal.action or {}
        self._before = {name: str(action.get(name, "")) for name in proposal.edit_fields}
        self._inputs = {
            name: Input(value=self._before[name], select_on_focus=False, id=f"field-{name.replace('_', '-')}")
            for name in proposal.edit_fields
        }

    def compose(self) -> ComposeResult:
        room = max(len(name) for name in self._inputs) + 2
        with Vertical(classes="dialog"):
            yield Still(self._head)
            for name, typed in self._inputs.items():
                label = Still(lambda width, name=name: [line((name, "dim"))])  # type: ignore[misc]
                label.styles.width = room
                with Horizontal(classes="field"):
                    yield label
                    yield typed
            yield Still(self._foot, id="foot")

    def _head(self, width: int) -> list[Line]:
        title = line(("Edit ", "bold"), (self._proposal.id, "dim"), "  ", (plain(self._proposal.title), "bold"))
        return [title, line(("the guardrails judge your values as they judged the agent's", "dim")), []]

    def _foot(self, width: int) -> list[Line]:
        wrong = self.problems()
        if wrong:
            notes = [line((row, "error")) for text in wrong for row in wrap(text, width)]
        else:
            room = max(len(name) for name in self._inputs)
            fields = self._proposal.edit_fields
            notes = [line((fit(name, room), "dim"), f"  {allowed_range(field)}") for name, field in fields.items()]
        enter = " approve edited   " if self.changes() else " approve unchanged   "
        return [[], *notes, [], line((" enter ", "success chip"), enter, (" esc ", "dim chip"), " back")]

    def problems(self) -> list[str]:
        fields = self._proposal.edit_fields
        read = (read_value(name, fields[name], typed.value) for name, typed in self._inputs.items())
        return [wrong for _, wrong in read if wrong]

    def changes(self) -> dict[str, int | str]:
        changed: dict[str, int | str] = {}
        for name, typed in self._inputs.items():
            value, _ = read_value(name, self._proposal.edit_fields[name], typed.value)
            if value is not None and str(value) != self._before[name]:
                changed[name] = value
        return changed

    def on_mount(self) -> None:
        super().on_mount()
        next(iter(self._inputs.values())).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#foot", Still).repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self.problems():
            self.dismiss(self.changes())
