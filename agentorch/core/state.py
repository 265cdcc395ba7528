"""The state: the facts and their indexes. One turn of the core is a command turned into events."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.queue import Queue
from agentorch.model.fleet import Worker


class State:
    """Facts, and indexes that are rebuilt from them and carry no information of their own.

    They are the queue, and `homes`: to which worker a device belongs. `imagined`: a fork of the twin, in which nothing
    that happens is learned from.
    """

    __slots__ = ("facts", "homes", "imagined", "queue")

    def __init__(self, facts: Facts | None = None, *, imagined: bool = False) -> None:
        self.facts = facts if facts is not None else Facts()
        self.imagined = imagined
        self.queue = Queue(self.facts)
        self.homes = {device: worker.id for worker in self.facts.workers.values() for device in worker.devices}

    def home_of(self, device: str) -> Worker | None:
        return self.facts.workers.get(self.homes.get(device, ""))
