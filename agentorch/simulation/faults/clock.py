"""A wall clock that somebody sets: it jumps, forwards and backwards, while time itself goes on."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable
from typing import Final

START_MS: Final = 1_700_000_000_000


class JumpingClock:
    """Keeps `agentorch.runtime.clock.Clock`. `time_s` tells true seconds, which never jump (default: the loop's)."""

    def __init__(self, time_s: Callable[[], float] | None = None) -> None:
        self._time_s = time_s
        self._jumps: list[tuple[int, int]] = [(0, START_MS)]  # (true ms, what it is off by from then on)

    def true_ms(self) -> int:
        """Milliseconds that really passed since the beginning."""
        now_s = self._time_s() if self._time_s is not None else asyncio.get_running_loop().time()
        return round(now_s * 1000)

    def now_ms(self) -> int:
        return self.true_ms() + self._jumps[-1][1]

    def wall_ms(self, true_ms: int) -> int:
        """What the clock showed at some true time."""
        at = bisect.bisect_right(self._jumps, (true_ms, 1 << 62)) - 1
        return true_ms + self._jumps[max(0, at)][1]

    def jump(self, by_ms: int) -> None:
        """Set it forwards or backwards."""
        self._jumps.append((self.true_ms(), self._jumps[-1][1] + by_ms))

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
