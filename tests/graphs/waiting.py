"""Waiting for a real condition, with a deadline instead of a sleep."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

DEADLINE_S = 30.0
_never = threading.Event()


async def eventually(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Return once `condition()` is true; raises AssertionError after DEADLINE_S."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come true"
        await asyncio.to_thread(_never.wait, 0.002)
