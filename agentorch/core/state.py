"""The state: the facts and their indexes. One turn of the core is a command turned into events."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.queue import Queue
from agentorch.core.rooms import Rooms
from agentorch.core.yielding import Yielding
from agentorch.model.fleet import Worker


class State:
    """Facts, and indexes that are rebuilt from them and carry no information of their own.

    They are the queue; `rooms`: which workers have how much room; `homes`: to which worker a device belongs; `paying`:
    jobs that run at a price, in start order; `yielding`: who gives way first. `imagined`: a fork of the twin, in which
    nothing that happens is learned from.
    """

    __slots__ = ("facts", "homes", "imagined", "paying", "queue", "rooms", "yielding")

    def __init__(self, facts: Facts | None = None, *, imagined: bool = False) -> None:
        self.facts = facts if facts is not None else Facts()
        self.imagined = imagined
        self.queue = Queue(self.facts)
        self.rooms = Rooms(self.facts.workers.values())
        self.homes = homes(self.facts)
        self.paying = paying(self.facts)
        self.yielding = Yielding(self.facts)

    def home_of(self, device: str) -> Worker | None:
        return self.facts.workers.get(self.homes.get(device, ""))


def homes(facts: Facts) -> dict[str, str]:
    """Device -> worker."""
    return {device: worker.id for worker in facts.workers.values() for device in worker.devices}


def paying(facts: Facts) -> dict[str, None]:
    """Jobs that run at a price, in start order."""
    return {name: None for name in facts.running if facts.jobs[name].attempts[-1].price_usd_micros_per_hour}
