"""How long work may run on a node that does not answer: the runtime's side of a lease.

The agent's deadline is `echo + seconds` on its own clock, where `echo` is a clock value that it gave us. It read that
clock before we received the value; so `received + seconds` on our clock is never earlier than the deadline, however
long the renewal is under way and whether or not an answer comes back. That moment is noted before the renewal is sent.
Both clocks go on while their machines sleep (CLOCK_BOOTTIME); a margin covers their drift and the time killing takes.
"""

from __future__ import annotations

from pathlib import Path

from agentorch.model import limits


class Tenure:
    """Times are seconds of the runtime's own clock; `safe_s` is when every lease given so far is certainly over."""

    def __init__(self, safe_s: float) -> None:
        self.safe_s = safe_s
        self._echo_ns = 0
        self._received_s = 0.0
        self._is_known = False

    @property
    def echo_ns(self) -> int:
        """The newest value of the agent's clock that is known."""
        return self._echo_ns

    def begin(self, clock_ns: int, deadline_ns: int, received_s: float) -> None:
        """Another incarnation of the agent: what earlier ones said of their clock is worth nothing now.

        The first one ends the guessing about leases that earlier runtimes gave: none of them is extended any more.
        """
        self._echo_ns, self._received_s = clock_ns, received_s
        if not self._is_known:
            self.safe_s = received_s + max(0.0, (deadline_ns - clock_ns) / 1e9)
            self._is_known = True

    def heard(self, clock_ns: int, received_s: float) -> None:
        """An answer has brought a value of the agent's clock; answers may overtake each other."""
        if clock_ns > self._echo_ns:
            self._echo_ns, self._received_s = clock_ns, received_s

    def promise(self, seconds: float) -> int:
        """A renewal is about to be sent; returns the echo that it is to carry."""
        self.safe_s = max(self.safe_s, self._received_s + seconds)
        return self._echo_ns

    def is_over(self, now_s: float, margin_s: float) -> bool:
        """Nothing that the leases allowed can be running any more."""
        return now_s > self.safe_s + margin_s


def remember_lease(path: Path, lease_s: float) -> float:
    """How long a lease may be that an earlier runtime gave, in seconds; the file holds the longest one ever given.

    Never lowered: the lease of the runtime before the last one may still hold. Without a file nothing is known, and
    it may be as long as leases can be. Raises OSError, and ValueError on a file that holds anything else.
    """
    known = path.exists()
    earlier_s = float(path.read_text()) if known else limits.LEASE_MAX_MS / 1_000
    temporary = path.with_suffix(".new")
    temporary.write_text(str(max(lease_s, earlier_s) if known else lease_s))
    temporary.rename(path)
    return earlier_s
