"""Command -> events or refusal. Handlers are grouped by what they are about; each is a function of a turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.decide import attempts, clock, fleet, health, jobs, nodes, provisioning, supervision
from agentorch.core.state import State
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model.commands import Command
from agentorch.model.events import Event

HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    **jobs.HANDLERS,
    **attempts.HANDLERS,
    **fleet.HANDLERS,
    **nodes.HANDLERS,
    **provisioning.HANDLERS,
    **health.HANDLERS,
    **clock.HANDLERS,
    **supervision.HANDLERS,
}

_missing = [kind.__name__ for kind in Command.__args__ if kind not in HANDLERS]
assert not _missing, f"commands that nobody decides: {_missing}"


def decide(state: State, command: Command, now_ms: int) -> tuple[list[Event], Any]:
    """Decide a command at a time: (events, folded into `state` already; result). No events: nothing changed.

    Raises Refused; the state is then as it was.
    """
    turn = Turn(state, now_ms)
    try:
        result = HANDLERS[type(command)](turn, command)
    except Refused:
        assert not turn.events, f"{type(command).__name__} refused after it had changed something"
        raise
    return turn.events, result
