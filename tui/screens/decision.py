"""One decision whole: what was seen, what the brain said, what the guardrails said, what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from agentorch.errors import ClientError
from agentorch.tui import glyphs, words
from agentorch.tui.actions import Act, bindings
from agentorch.tui.feed import is_gone
from agentorch.tui.screens import card
from agentorch.tui.screens.impact import calibration_lines, impact_line, score_table
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import Line, Span, clip, fit, line, plain, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.pager import Pager

if TYPE_CHECKING:
    from agentorch.schemas.supervision import DecisionDocument, ProposalDocument

ACTS = (
    Act("decision.json", "J", "JSON", "the decision as the server sent it, and back"),
    Act("decision.copy", "y", "copy", "copy the command that shows the same", footer=False),
)
OBSERVED_SHOWN = 40


class Decision(Page):
    ACTS = ACTS
    BINDINGS = bindings(ACTS)
    ABOUT = (
        "One cycle of the supervisor: observation, what was said to the model and back, proposals, verdicts, outcomes."
    )
    screen_id = "log"

    def __init__(self, cycle: int) -> None:
        super().__init__()
        self.cycle = cycle
        self.decision: DecisionDocument | None = None
        self.trouble = ""
        self.raw = False

    def compose(self) -> ComposeResult:
        self.pager = Pager(self._draw, id="decision")
        self.pager.add_class("panel")
        self.pager.border_title = f"Decision {words.count(self.cycle)}"
        yield self.pager

    def entered(self) -> None:
        self.run_worker(self._load(), exclusive=True)

    async def _load(self) -> None:
        try:
            self.decision = await self.stage.feed.api.decision(self.cycle)
        except ClientError as error:
            self.trouble = f"there is no decision {self.cycle}" if is_gone(error) else str(error)
        self.pager.repaint()

    def show(self, view: View) -> None:
        super().show(view)

    def _draw(self, width: int) -> list[Line]:
        if self.decision is None:
            return [line((self.trouble or "loading", "error" if self.trouble else "dim"))]
        if self.raw:
            text = json.dumps(self.decision.model_dump(mode="json"), indent=2, ensure_ascii=False)
            return [line(plain(row)) for row in text.splitlines()]
        view = self.stage.view()
        return decision_lines(view, self.decision, width) if view is not None else []

    def focus_target(self) -> Widget:
        return self.pager

    def command(self) -> str:
        return f"agentorch decisions {self.cycle}"

    def do_json(self) -> None:
        self.raw = not self.raw
        self.pager.repaint()
        self.pager.scroll_home(animate=False)

    def do_copy(self) -> None:
        self.stage.copy_to_clipboard(self.command())
        self.stage.say(f"copied: {self.command()}")


def _title(text: str, note: str = "") -> list[Line]:
    return [[], line((text, "dim bold"), (f"  {note}" if note else "", "dim"))]


def decision_lines(view: View, decision: DecisionDocument, width: int) -> list[Line]:
    head = line(
        (view.moment(decision.at), "bold"),
        (f"  seq {words.count(decision.seq)}  ", "dim"),
        (f"{glyphs.AGENT} {plain(decision.brain) or 'no brain'}", "agent"),
        (f"  took {words.duration(decision.took_s)}", "dim"),
    )
    lines = [head]
    if decision.fallback_from:
        lines.append(line((f"{glyphs.HIGH} in place of {plain(decision.fallback_from)}, which failed", "warning")))
    if decision.error:
        lines += [line((row, "error")) for row in wrap(f"the brain failed: {decision.error}", width)]
    if decision.hold:
        lines += [line((row, "")) for row in wrap(f"held: {decision.hold}", width)]
    for proposal in decision.proposals:
        lines += _proposal(view, proposal, width)
    lines += calibration_lines(decision.calibration, width)
    lines += _observation(decision, width)
    for number, exchange in enumerate(decision.exchanges, 1):
        tokens = f"{words.count(exchange.tokens_in)} tokens in, {words.count(exchange.tokens_out)} out"
        note = f"{plain(exchange.model)}, {tokens}, {words.duration(exchange.took_s)}"
        lines += _title(f"Exchange {number}", note)
        lines += _said("asked", exchange.request, width) + _said("said", exchange.response, width)
    return lines


def _said(who: str, text: str, width: int) -> list[Line]:
    rows = [row for part in text.splitlines() for row in wrap(part, max(10, width - 9))]
    return [
        line(
            (f"  {fit(who if at == 0 else '', 6)} ", "agent" if who == "said" else "dim"),
            (row, "" if who == "said" else "dim"),
        )
        for at, row in enumerate(rows)
    ]


def _proposal(view: View, proposal: ProposalDocument, width: int) -> list[Line]:
    sign, look = card.settled_sign(proposal.state)
    lines = _title("Proposal", proposal.id)
    click = f"app.open_proposal('{proposal.id}')"
    lines.append(
        [
            Span(f"{sign} ", look),
            Span(clip(plain(proposal.title), width - 14), "bold", click),
            Span(f"  {proposal.state}", look),
        ]
    )
    lines.append(impact_line(proposal.impact, width))
    lines += [line(row) for row in wrap(proposal.reason, width)] if proposal.reason else []
    for note in proposal.notes:
        lines += card.note_line(note, width)
    if proposal.answer is not None:
        reason = f": {plain(proposal.answer.reason)}" if proposal.answer.reason else ""
        when = view.moment(proposal.answer.at)
        text = f"{glyphs.HUMAN} {plain(proposal.answer.by)} said {proposal.answer.kind} at {when}{reason}"
        lines += [line((row, "human")) for row in wrap(text, width)]
    if proposal.outcome:
        lines += [line((row, "dim")) for row in wrap(f"outcome: {proposal.outcome}", width)]
    return lines + score_table(view, proposal.score, width)


def _observation(decision: DecisionDocument, width: int) -> list[Line]:
    lines = _title(
        "What the brain saw", f"sha256 {decision.observation_sha256[:16]}" if decision.observation_sha256 else ""
    )
    if decision.observation is None:
        return [*lines, line(("  not in this document", "dim"))]
    flat = list(_flat(decision.observation))
    for name, value in flat[:OBSERVED_SHOWN]:
        lines.append(line((f"  {fit(name, 34)} ", "dim"), clip(plain(value), max(8, width - 38))))
    if len(flat) > OBSERVED_SHOWN:
        lines.append(line((f"  {words.count(len(flat) - OBSERVED_SHOWN)} more values: J shows them all", "dim")))
    return lines


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested mappings as dotted names; lists are counted."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            rows += _flat(item, f"{name}.")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for number, part in enumerate(item[:4]):
                label = str(part.get("name") or part.get("id") or number) if isinstance(part, dict) else str(number)
                rows += _flat(part, f"{name}.{label}.") if isinstance(part, dict) else [(f"{name}.{label}", str(part))]
            if len(item) > 4:
                rows.append((name, f"{len(item) - 4} more"))
        else:
            rows.append((name, json.dumps(item) if not isinstance(item, str) else item))
    return rows
