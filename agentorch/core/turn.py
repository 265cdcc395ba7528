"""One turn: what a command handler is given, and the only way in which it says what happened."""

from __future__ import annotations

from agentorch.core.evolve import evolve
from agentorch.core.facts import Facts
from agentorch.core.queue import Queue
from agentorch.core.state import State
from agentorch.model.events import Event


class Turn:
    """A handler reads `facts`, raises `Refused` before its first event or not at all, and emits what happened.

    `emit` folds each event in at once, so that what follows in the same turn is decided on the state that it made.
    """

    __slots__ = ("events", "facts", "now_ms", "queue", "state")

    def __init__(self, state: State, now_ms: int) -> None:
        self.state = state
        self.facts: Facts = state.facts
        self.queue: Queue = state.queue
        self.now_ms = now_ms
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        evolve(self.state, event)
        self.events.append(event)
