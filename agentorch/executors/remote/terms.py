"""What the links to all nodes share: who asks, through what, how long leases are, and how long to wait for what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from agentorch.executors.remote.transport import Transport
from agentorch.model import limits


@dataclasses.dataclass(frozen=True)
class Terms:
    """What all links share. `clock_s` goes on while the machine sleeps; `clock_ms` is the time of day."""

    transport: Transport
    epoch: int
    control: str
    lease_s: float
    margin_s: float
    clock_s: Callable[[], float]
    clock_ms: Callable[[], int]

    @property
    def renew_every_s(self) -> float:
        return self.lease_s / 4

    @property
    def retry_s(self) -> float:
        return self.lease_s / 20

    @property
    def call_s(self) -> float:
        """Patience with a call that only looks at memory."""
        return self.lease_s / 4

    @property
    def work_s(self) -> float:
        """Patience with a call that starts or ends processes, or reads a disk."""
        return 3 * self.lease_s

    @property
    def poll_s(self) -> float:
        return min(self.lease_s, limits.LONG_POLL_MS / 1_000)
