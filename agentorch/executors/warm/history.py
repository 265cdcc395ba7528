"""Calls that have ended: how, and where their logs lie. Bounded: whole workers' directories go, oldest first.

A call leaves no file of its own; its end is a line in its worker's journal, which is kept here as it was written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from agentorch.executors.warm import wire
from agentorch.model import limits


class Past:
    """What one worker did. `told` is the cursor of the last end that was published."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []
        self.told = 0
        self.unsynced = 0  # ends that wait for a sync before they are told
        self.dead = False


class History:
    def __init__(self) -> None:
        self._ends: dict[str, tuple[str, bytes]] = {}  # call -> worker, line
        self._pasts: dict[str, Past] = {}
        self._over: deque[Past] = deque()  # of workers that are dead, oldest first

    def __contains__(self, call: str) -> bool:
        return call in self._ends

    def add(self, past: Past, call: str, line: bytes) -> None:
        self._pasts[past.name] = past
        self._ends[call] = past.name, line
        past.calls.append(call)

    def end_of(self, call: str) -> wire.Ended | None:
        found = self._ends.get(call)
        return wire.decode_end(found[1]) if found is not None else None

    def worker_of(self, call: str) -> str:
        return self._ends[call][0]

    def close(self, past: Past) -> None:
        """Its worker is dead, and everything that it did is here."""
        self._over.append(past)

    def forget(self, told: int) -> Iterator[Past]:
        """What is to be removed: the oldest, beyond what is kept, but never an end that nobody has heard of."""
        while self._over:
            past = self._over[0]
            if past.calls and (len(self._ends) - len(past.calls) < limits.WARM_CALLS_KEPT or past.told > told):
                return
            self._over.popleft()
            self._pasts.pop(past.name, None)
            for call in past.calls:
                del self._ends[call]
            yield past
