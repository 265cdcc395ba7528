"""How much room workers have: an index of those that take work, in the order in which the best fit wants them.

Rebuildable from the facts; it carries no information of its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from agentorch.core import fit
from agentorch.model.fleet import Worker
from agentorch.model.jobs import Resources

#: Free GPUs, free cpu in thousandths of a core, the worker's number in its pool, its id.
Entry = tuple[int, int, int, str]


class Rooms:
    """By pool, the workers that take work and have a core or part of one left: those with the least room first."""

    __slots__ = ("_entries", "_pools")

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._entries: dict[str, Entry] = {}
        self._pools: dict[str, list[Entry]] = {}
        for worker in workers:
            if (entry := _entry(worker)) is not None:
                self._entries[worker.id] = entry
                self._pools.setdefault(worker.pool, []).append(entry)
        for entries in self._pools.values():
            entries.sort()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rooms) and self._entries == other._entries and self._listed() == other._listed()

    __hash__ = None  # type: ignore[assignment]

    def _listed(self) -> dict[str, list[Entry]]:
        return {pool: entries for pool, entries in self._pools.items() if entries}

    def __bool__(self) -> bool:
        """Whether any worker has room."""
        return bool(self._entries)

    def update(self, worker: Worker) -> None:
        """Its room has changed, or whether it takes work."""
        before, after = self._entries.get(worker.id), _entry(worker)
        if before == after:
            return
        entries = self._pools.setdefault(worker.pool, [])
        if before is not None:
            del entries[bisect_left(entries, before)]
        if after is None:
            del self._entries[worker.id]
        else:
            self._entries[worker.id] = after
            insort(entries, after)

    def drop(self, worker: Worker) -> None:
        """It is gone."""
        entry = self._entries.pop(worker.id, None)
        if entry is not None:
            entries = self._pools[worker.pool]
            del entries[bisect_left(entries, entry)]

    def tightest(self, pool: str, need: Resources) -> Iterator[str]:
        """Workers of the pool with GPUs and cores for `need`, the least room first. Nothing may change meanwhile."""
        entries = self._pools.get(pool, ())
        at = bisect_left(entries, (need.gpus, need.cpu_milli))
        while at < len(entries):
            gpus, cpu_milli, _, name = entries[at]
            if cpu_milli >= need.cpu_milli:
                yield name
                at += 1
            else:
                at = bisect_left(entries, (gpus, need.cpu_milli), at)

    def widest(self, pool: str, need: Resources) -> Iterator[str]:
        """As `tightest`, the most room first."""
        for gpus, cpu_milli, _, name in reversed(self._pools.get(pool, ())):
            if gpus < need.gpus:
                return
            if cpu_milli >= need.cpu_milli:
                yield name


def _entry(worker: Worker) -> Entry | None:
    if worker.free_cpu_milli <= 0 or not fit.takes_work(worker):
        return None
    return len(worker.free_devices), worker.free_cpu_milli, worker.number, worker.id
