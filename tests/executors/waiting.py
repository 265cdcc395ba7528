"""Waiting for what no file descriptor tells, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PATIENCE_S = 30.0


def eventually(look: Callable[[], Found], what: str) -> Found:
    """What `look` returns once it is true; fails after half a minute, saying `what` did not come."""
    give_up = time.monotonic() + _PATIENCE_S
    pause = threading.Event()
    while not (found := look()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {_PATIENCE_S:.0f} s in vain: {what}")
        pause.wait(0.01)
    return found
