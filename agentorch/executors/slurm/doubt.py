"""When an attempt that Slurm does not run any more is known to be over, though it left no verdict.

Slurm's word alone is not enough. A node that failed was given up by the controller, and may be running all it ran; a
job that the controller has forgotten may have been lost by the controller. So the attempt is asked to end, through its
directory, and then: where Slurm saw the end of the job itself, a second look that finds the claim free is enough;
otherwise it takes `fence_s`, after which a guard that can't see its directory has killed the attempt.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from agentorch.model.attempts import AttemptStatus
from agentorch.model.jobs import Cause

#: A guard looks at the clock every second, and killing takes a moment.
MARGIN_S: Final = 5.0
_LOOKS: Final = 2
#: States in which the controller gave the job up without having heard of its end.
_UNSEEN: Final = frozenset({"", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})
_CAUSES: Final = {
    "NODE_FAIL": Cause.node_lost,
    "BOOT_FAIL": Cause.node_lost,
    "TIMEOUT": Cause.timeout,
    "DEADLINE": Cause.timeout,
    "OUT_OF_MEMORY": Cause.oom,
    "PREEMPTED": Cause.interruption,
    "CANCELLED": Cause.interruption,
}


@dataclass
class Watch:
    """An attempt that has not ended. `queued_at`: a squeue that began before it proves nothing; None = not queued."""

    started: asyncio.Future[AttemptStatus]
    queued_at: float | None
    doubts: int = 0
    doubted_at: float | None = None
    kill_at: float | None = None

    def doubt(self) -> None:
        self.doubts += 1
        self.doubted_at = self.doubted_at or time.monotonic()

    def settle(self) -> None:
        self.doubts, self.doubted_at = 0, None


def cause_of(state: str) -> Cause:
    """What the end of a job means for an attempt that could not say it."""
    return _CAUSES.get(state, Cause.lost)


def is_over(watch: Watch, state: str, held: bool, fence_s: float) -> bool:
    """Whether nothing of the attempt can be running any more."""
    if watch.doubted_at is None:
        return False
    if state not in _UNSEEN and watch.doubts >= _LOOKS and not held:
        return True
    return time.monotonic() - watch.doubted_at > fence_s + MARGIN_S
