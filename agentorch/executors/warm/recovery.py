"""What earlier incarnations of the runtime left: their workers' journals, fenced first and then read.

Blocking, and called from a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agentorch.executors.logs import log_name
from agentorch.executors.records import STREAMS
from agentorch.executors.warm import wire
from agentorch.executors.warm.reading import Reading, unstarted
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause

_NAME: Final = re.compile(r"w(\d+)-(\d+)")


def left_behind(folder: Path) -> list[str]:
    """Names of the workers that have a directory, oldest first."""
    found = [match for entry in folder.iterdir() if (match := _NAME.fullmatch(entry.name))]
    return [match[0] for match in sorted(found, key=lambda match: (int(match[1]), int(match[2])))]


class Remains:
    """One worker's journal, and the ends that it tells."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.ended: list[wire.Ended] = []

    def fence(self, epoch: int) -> None:
        """No call begins there from now on."""
        self.ended += self.reading.forbid([wire.Void("", "", epoch)], durable=False)

    def settle(self, worker: AttemptStatus) -> None:
        """Once the executor of processes has told what became of the worker."""
        self.ended += self.reading.read()
        if worker.phase is not AttemptPhase.running:
            self.ended += last_words(self.reading, worker)
        now_ms = time.time_ns() // 1_000_000
        for call, reason in list(self.reading.voided.items()):
            if reason and call not in self.reading.begun:
                del self.reading.voided[call]
                self.ended.append(unstarted(call, reason, "stopped before it started", now_ms))
        lost = "the machine restarted"
        self.ended += [unstarted(call, Cause.lost, lost, now_ms, lost=True) for call in self.reading.vanished()]


def last_words(reading: Reading, worker: AttemptStatus) -> list[wire.Ended]:
    """Of a dead worker whose journal is read: the ends of calls that it could not write itself."""
    stdout, stderr = (_size(reading.directory / log_name(stream)) for stream in STREAMS)
    return [reading.killed(call, worker, (stdout, stderr)) for call in list(reading.begun)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def fence_all(folder: Path, names: Sequence[str], epoch: int) -> dict[str, Remains]:
    """Forbid every earlier worker to begin anything. Raises OSError."""
    found = {}
    for name in names:
        try:
            remains = found[name] = Remains(Reading(folder / name))
        except FileNotFoundError:
            continue  # whoever had it open before has just removed it: nothing in it was worth keeping
        remains.fence(epoch)
    return found


def settle_all(remains: Mapping[str, Remains], workers: Sequence[AttemptStatus]) -> None:
    for worker in workers:
        remains[worker.id].settle(worker)
