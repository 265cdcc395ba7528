"""Who gives way first: an index of the running work that the scheduler may stop for other work.

Rebuildable from the facts; it carries no information of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from agentorch.core.claims import running_rank
from agentorch.core.facts import Facts
from agentorch.core.stopping import may_ever_stop
from agentorch.model.jobs import TIER_RANK, Job, JobState

#: Less is more debt: minus the rank, the job's number, its id.
Entry = tuple[int, int, str]


class Yielding:
    """By pool and tier, those that owe most first. Only work that saves itself, and that has no deadline to meet."""

    __slots__ = ("_entries", "_lists")

    def __init__(self, facts: Facts) -> None:
        self._entries: dict[str, tuple[tuple[str, int], Entry]] = {}
        self._lists: dict[tuple[str, int], list[Entry]] = {}
        for name in facts.running:
            if facts.jobs[name].state is not JobState.stopping:
                self.add(facts.jobs[name])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Yielding) and self._entries == other._entries and self._filled() == other._filled()

    __hash__ = None  # type: ignore[assignment]

    def _filled(self) -> dict[tuple[str, int], list[Entry]]:
        return {key: entries for key, entries in self._lists.items() if entries}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def add(self, job: Job) -> None:
        """It has started, or its priority or deadline has changed while it runs."""
        self.drop(job.id)
        if job.spec.checkpoint is None or job.deadline_ms is not None or not may_ever_stop(job.spec):
            return
        key = job.attempts[-1].pool, TIER_RANK[job.spec.tier]
        entry = -running_rank(job), job.number, job.id
        self._entries[job.id] = key, entry
        insort(self._lists.setdefault(key, []), entry)

    def drop(self, name: str) -> None:
        """It is being stopped, or has ended; harmless when it is not listed."""
        found = self._entries.pop(name, None)
        if found is not None:
            key, entry = found
            entries = self._lists[key]
            del entries[bisect_left(entries, entry)]

    def lower(self, pool: str, tier: int) -> Iterator[str]:
        """All of less urgent tiers, the least urgent first."""
        for other in range(len(TIER_RANK) - 1, tier, -1):
            yield from (name for _, _, name in self._lists.get((pool, other), ()))

    def owing(self, pool: str, tier: int, least_rank: int) -> Iterator[str]:
        """Those of the tier whose rank is at least that."""
        for minus_rank, _, name in self._lists.get((pool, tier), ()):
            if -minus_rank < least_rank:
                return
            yield name

    def any(self, pool: str, tier: int, least_rank: int) -> bool:
        """Whether there is anybody in either."""
        found = next(self.owing(pool, tier, least_rank), None) or next(self.lower(pool, tier), None)
        return found is not None
