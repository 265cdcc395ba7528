"""Which cores an attempt may use: as many as it asked for, rounded up, on the cores that are held least.

This is the CPU limit of the local executor: a program with more threads than cores asked for can't take its
neighbours' time. A fraction of a core is not enforced below one whole core. Attempts of an earlier runtime keep their
cores and are not counted here.
"""

from __future__ import annotations

from collections.abc import Iterable


class Cores:
    """`allowed` are the cores that this process may use. Bookkeeping only: the kernel does the rest."""

    def __init__(self, allowed: Iterable[int]) -> None:
        self._load = dict.fromkeys(sorted(allowed), 0)
        self._held: dict[str, tuple[tuple[int, ...], int]] = {}

    def take(self, attempt: str, cpu_milli: int) -> tuple[int, ...]:
        """Cores for the attempt, the least held first; () when it asked for all there are, or more."""
        count = max(1, -(-cpu_milli // 1_000))
        if count >= len(self._load) or attempt in self._held:
            return self._held.get(attempt, ((), 0))[0]
        chosen = tuple(sorted(sorted(self._load, key=lambda core: (self._load[core], core))[:count]))
        share = -(-cpu_milli // count)
        for core in chosen:
            self._load[core] += share
        self._held[attempt] = (chosen, share)
        return chosen

    def release(self, attempt: str) -> None:
        """The attempt has ended; harmless when it held none."""
        chosen, share = self._held.pop(attempt, ((), 0))
        for core in chosen:
            self._load[core] -= share
