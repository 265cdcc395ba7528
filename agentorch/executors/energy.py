"""What attempts draw: the energy counters of their GPUs when they start, and what was added when they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agentorch.model.attempts import AttemptStatus

#: The counters of these GPUs together, in millijoules; None = unknown. Must not wait for a driver.
ReadEnergy = Callable[[Sequence[str]], int | None]


def unknown(devices: Sequence[str]) -> int | None:
    return None


class EnergyMeter:
    """Only what was watched from its start to its end is known: of an attempt that was found again, nothing is."""

    def __init__(self, read: ReadEnergy = unknown) -> None:
        self._read = read
        self._started: dict[str, tuple[Sequence[str], int]] = {}

    def start(self, attempt: str, devices: Sequence[str]) -> None:
        counter = self._read(devices) if devices else None
        if counter is not None:
            self._started[attempt] = (devices, counter)

    def end(self, status: AttemptStatus) -> AttemptStatus:
        """With the energy in its usage, if it is known. A counter that went back was reset: unknown."""
        started = self._started.pop(status.id, None)
        counter = self._read(started[0]) if started is not None else None
        if started is None or counter is None or counter < started[1]:
            return status
        usage = msgspec.structs.replace(status.usage, energy_mj=counter - started[1])
        return msgspec.structs.replace(status, usage=usage)
