"""The state: the facts and their index, the queue. One turn of the core is a command turned into events."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.queue import Queue


class State:
    """Facts, and the queue index that is rebuilt from them and carries no information of its own."""

    __slots__ = ("facts", "queue")

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts if facts is not None else Facts()
        self.queue = Queue(self.facts)
