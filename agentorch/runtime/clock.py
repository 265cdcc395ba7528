"""The runtime's one clock. Tests, the demo and the simulator hand in their own; guard windows run on it too."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    async def wait(self, seconds: float) -> None:
        """Let this much of its time pass."""


class WallClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FasterClock:
    """Wall time sped up by a factor from the moment it was made: guard windows of minutes pass in seconds."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._start_ms = time.time_ns() // 1_000_000
        self._start = time.monotonic()

    def now_ms(self) -> int:
        return self._start_ms + int((time.monotonic() - self._start) * 1000 * self.factor)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.factor)
