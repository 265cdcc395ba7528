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
        """Often, also under a long lease: telemetry comes with the answer, and a node that does not is in doubt."""
        return min(self.lease_s / 4, 2.5)

    @property
    def retry_s(self) -> float:
        return min(self.lease_s / 20, 0.5)

    @property
    def call_s(self) -> float:
        """Patience with a call that only looks at memory."""
        return min(self.lease_s / 4, 5.0)

    @property
    def work_s(self) -> float:
        """Patience with a call that starts or ends processes, or reads a disk."""
        return min(3 * self.lease_s, 30.0)

    @property
    def poll_s(self) -> float:
        return min(self.lease_s, limits.LONG_POLL_MS / 1_000)
