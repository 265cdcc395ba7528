"""The supervisor's mode, its cycles, its proposals and their approvals: who decides which command, and the tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.decide import actions, approvals, proposals, scoring
from agentorch.core.guardrails.describe import clean
from agentorch.core.guardrails.protection import is_supervisor
from agentorch.core.observe import history_point, observation_sha256, observe
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.guardrails import loosened
from agentorch.model.observation import Observation
from agentorch.model.proposals import MODE_RANK, ProposalState


def set_mode(turn: Turn, command: cmd.SetMode) -> None:
    """Anything may make it safer; only a person raises it."""
    facts = turn.facts
    raises = MODE_RANK[command.mode] > MODE_RANK[facts.mode]
    if raises and (not command.person or is_supervisor(command.by)):
        raise Refused("forbidden", f"G16: only a person raises the mode to {command.mode}", rule="G16")
    if command.mode is not facts.mode:
        reason = clean(command.reason, limits.REASON_MAX_CHARS)
        turn.emit(ev.ModeChanged(at_ms=turn.now_ms, mode=command.mode, by=command.by, reason=reason))


def configure_guardrails(turn: Turn, command: cmd.ConfigureGuardrails) -> None:
    if is_supervisor(command.by):
        raise Refused("forbidden", "G16: the supervisor can't change guardrails", rule="G16")
    wrong = loosened(command.settings)
    if wrong:
        raise Refused("invalid", "; ".join(wrong))
    if command.settings != turn.facts.settings:
        turn.emit(ev.GuardrailsConfigured(at_ms=turn.now_ms, settings=command.settings, by=command.by))


def raise_alert(turn: Turn, command: cmd.RaiseAlert) -> None:
    text = clean(command.text, limits.REASON_MAX_CHARS)
    code = clean(command.code, limits.NAME_MAX_CHARS)
    turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code=code, text=text, by=command.by))


def begin_cycle(turn: Turn, command: cmd.Observe) -> Observation:
    """Number, record and return what is there now."""
    seen = observe(turn.state, command.devices, turn.now_ms)
    turn.emit(
        ev.CycleObserved(
            at_ms=turn.now_ms,
            observation=seen,
            sha256=observation_sha256(seen),
            history=history_point(turn.state, seen),
        )
    )
    return seen


def tick(turn: Turn) -> None:
    """Expire, lapse, look again, follow what is being done, and score what was."""
    for name in list(turn.facts.unsettled):
        proposal = turn.facts.proposals[name]
        if proposal.state is ProposalState.acting:
            actions.follow(turn, proposal)
        else:
            approvals.age(turn, proposal)
    scoring.tick(turn)


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.SetMode: set_mode,
    cmd.ConfigureGuardrails: configure_guardrails,
    cmd.RaiseAlert: raise_alert,
    cmd.Observe: begin_cycle,
    cmd.HandIn: proposals.hand_in,
    cmd.RenewImpact: proposals.renew_impact,
    cmd.AnswerApproval: approvals.answer,
    cmd.CarryOut: actions.carry_out,
}
