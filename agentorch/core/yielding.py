"""Who gives way first: an index of the running work that the scheduler may stop for other work.

Rebuildable from the facts; it carries no information of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from agentorch.core.claims import rank_at_start, running_rank, undisturbed_ms
from agentorch.core.facts import Facts
from agentorch.core.stopping import may_ever_stop
from agentorch.model import limits
from agentorch.model.jobs import TIER_RANK, Job, JobState

#: Less is more debt: minus the rank, the job's number, its id.
Entry = tuple[int, int, str]
#: A pool, and the rank of the tier that work was started in.
Place = tuple[str, int]


class Yielding:
    """By pool and tier, those that owe most first. Only work that saves itself, and that has no deadline to meet.

    Whoever may not be disturbed yet is listed once its time has come (`wake`). `busy`: by pool, how many jobs it runs;
    `leaving`: those of them that are being stopped.
    """

    __slots__ = ("_entries", "_lists", "_young", "busy", "leaving")

    def __init__(self, facts: Facts) -> None:
        self._entries: dict[str, tuple[Place, Entry]] = {}
        self._lists: dict[Place, list[Entry]] = {}
        self._young: list[tuple[int, Entry]] = []
        self.busy: Counter[str] = Counter()
        self.leaving: dict[str, None] = {}
        for name in facts.running:
            self.started(facts.jobs[name])
            if facts.jobs[name].state is JobState.stopping:
                self.leaves(name)

    def __eq__(self, other: object) -> bool:
        """Whether they say the same of the same jobs, however many of them have been woken yet."""
        if not isinstance(other, Yielding):
            return False
        mine, theirs = +self.busy, +other.busy
        return mine == theirs and self._entries == other._entries and self.leaving == other.leaving

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def is_sound(self) -> bool:
        """Whether all entries, and no others, are listed or wait for that, in order."""
        listed = [entry for entries in self._lists.values() for entry in entries]
        waiting = [entry for _, entry in self._young if self._is_current(entry)]
        whole = sorted(entry for _, entry in self._entries.values())
        return sorted({*listed, *waiting}) == whole and all(one == sorted(one) for one in self._lists.values())

    def started(self, job: Job) -> None:
        self.busy[job.attempts[-1].pool] += 1
        self.add(job)

    def add(self, job: Job) -> None:
        """It has started, or its priority or deadline has changed while it runs."""
        self._drop(job.id)
        if job.spec.checkpoint is None or job.deadline_ms is not None or not may_ever_stop(job.spec):
            return
        entry = -running_rank(job), job.number, job.id
        self._entries[job.id] = (job.attempts[-1].pool, rank_at_start(job)), entry
        calm_ms = job.attempts[-1].ordered_ms + max(undisturbed_ms(job), limits.PREEMPT_MIN_RUN_MS)
        heappush(self._young, (calm_ms, entry))
        if len(self._young) > 2 * len(self._entries) + limits.DISPLACE_LOOKS:  # most of them have gone since
            self._young = [one for one in self._young if self._is_current(one[1])]
            heapify(self._young)

    def leaves(self, name: str) -> None:
        """It is being stopped."""
        self._drop(name)
        self.leaving[name] = None

    def ended(self, job: Job) -> None:
        self._drop(job.id)
        self.leaving.pop(job.id, None)
        self.busy[job.attempts[-1].pool] -= 1

    def wake(self, now_ms: int) -> None:
        """List those that may be disturbed from now on."""
        young = self._young
        while young and young[0][0] <= now_ms:
            _, entry = heappop(young)
            if self._is_current(entry):
                insort(self._lists.setdefault(self._entries[entry[2]][0], []), entry)

    def _is_current(self, entry: Entry) -> bool:
        found = self._entries.get(entry[2])
        return found is not None and found[1] is entry

    def _drop(self, name: str) -> None:
        found = self._entries.pop(name, None)
        if found is not None:
            key, entry = found
            entries = self._lists.get(key, [])
            at = bisect_left(entries, entry)
            if at < len(entries) and entries[at] is entry:
                del entries[at]

    def entries(self, pool: str, tier: int) -> Iterator[tuple[int | None, str]]:
        """All of less urgent tiers, the least urgent first, without ranks; then those of the tier."""
        for other in range(len(TIER_RANK) - 1, tier, -1):
            yield from ((None, name) for _, _, name in self._lists.get((pool, other), ()))
        yield from ((-minus_rank, name) for minus_rank, _, name in self._lists.get((pool, tier), ()))

    def any(self, pool: str, tier: int, least_rank: int) -> bool:
        """Whether there is anybody of a less urgent tier, or of this one whose rank is at least that."""
        same = self._lists.get((pool, tier))
        if same and -same[0][0] >= least_rank:
            return True
        return any(self._lists.get((pool, other)) for other in range(tier + 1, len(TIER_RANK)))
