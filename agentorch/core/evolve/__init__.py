"""Event -> state. The only code that writes facts; total: it never refuses, because what is recorded has happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.evolve import attempts, fleet, health, jobs, nodes, supervision
from agentorch.core.state import State
from agentorch.model.events import EVENT_TYPES, Event

HANDLERS: dict[type, Callable[[State, Any], None]] = {
    **jobs.HANDLERS,
    **attempts.HANDLERS,
    **fleet.HANDLERS,
    **nodes.HANDLERS,
    **health.HANDLERS,
    **supervision.HANDLERS,
}

_missing = [kind.__name__ for kind in EVENT_TYPES if kind not in HANDLERS]
assert not _missing, f"events that nobody folds in: {_missing}"


def evolve(state: State, event: Event) -> None:
    """Fold one event in. Raises KeyError or AttributeError only for a ledger that never could have been written."""
    HANDLERS[type(event)](state, event)
    facts = state.facts
    facts.seq += 1
    if event.at_ms > facts.at_ms:
        facts.at_ms = event.at_ms
