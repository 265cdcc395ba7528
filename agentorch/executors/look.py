"""What an attempt directory says, now. Everything that decides between running, ended, lost and absent is here."""

from __future__ import annotations

import os
import time
from enum import Enum, auto
from typing import Any, NamedTuple

from agentorch.executors.attempt_dir import AttemptDirectory, Claim
from agentorch.executors.records import SPEC, STARTED, VERDICT, VerdictRecord
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause, Usage


class Sight(Enum):
    """What can be seen; the last three are for the store to settle."""

    running = auto()
    ended = auto()  # or lost, and said so
    fenced = auto()
    missing = auto()  # there is no directory
    unclaimed = auto()  # nobody has started it yet, but somebody still may
    dead = auto()  # claimed, not held, no verdict: its shim was killed, or the machine restarted


class Found(NamedTuple):
    """`pidfd` of the shim is set when it runs, verified to be the claim's holder; the receiver closes it."""

    sight: Sight
    status: AttemptStatus
    pidfd: int = -1


def look(path: str, attempt: str, boot: str) -> Found:
    """The truth about one attempt. Raises OSError if the directory can't be read."""
    try:
        directory = AttemptDirectory(path)
    except FileNotFoundError:
        return Found(Sight.missing, _absent(attempt))
    with directory:
        while True:
            claim = directory.claimed_by()
            if claim is None or claim.pid == 0:
                return _look_unheld(directory, attempt, claim, boot)
            pidfd = _open_holder(directory, claim.pid)
            if pidfd is not None:
                return Found(Sight.running, _running(directory, attempt), pidfd)


def _open_holder(directory: AttemptDirectory, pid: int) -> int | None:
    """A pidfd that is certainly the shim's: the same pid holds the claim before and after it was opened."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    claim = directory.claimed_by()
    if claim is not None and claim.pid == pid:
        return pidfd
    os.close(pidfd)
    return None


def _look_unheld(directory: AttemptDirectory, attempt: str, claim: Claim | None, boot: str) -> Found:
    # The verdict is written before the claim is dropped; so, looked for in this order, it can't be missed.
    verdict: VerdictRecord | None = directory.read(VERDICT)
    if verdict is not None:
        return Found(Sight.ended, status_of(attempt, verdict))
    if claim is not None and claim.fence:
        return Found(Sight.fenced, _absent(attempt))
    if claim is not None:
        return Found(Sight.dead, _running(directory, attempt))
    spec = directory.read(SPEC)
    # A claim that a power cut took away may have been there; so an attempt of another boot is never called unstarted.
    if spec is None or spec["boot_id"] != boot:
        return Found(Sight.dead, _running(directory, attempt))
    return Found(Sight.unclaimed, _absent(attempt))


def lost_verdict(directory: AttemptDirectory, boot: str, killed: int) -> VerdictRecord:
    """The verdict on an attempt whose shim is dead, written once nothing of it can live."""
    spec: Any = directory.read(SPEC)
    rebooted = spec is None or spec["boot_id"] != boot
    return unseen_verdict(
        cause=Cause.lost,
        message="the machine restarted" if rebooted else "its shim was killed",
        lost=True,
        started_ms=_started_ms(directory),
        leftovers=killed,
    )


def unseen_verdict(
    *, cause: str, message: str, lost: bool = False, started_ms: int | None = None, leftovers: int = 0
) -> VerdictRecord:
    """A verdict that no shim wrote; it ended now, as far as anybody knows."""
    return VerdictRecord(
        lost=lost,
        cause=str(cause),
        exit_code=None,
        signal=None,
        message=message,
        started_ms=started_ms,
        ended_ms=time.time_ns() // 1_000_000,
        cpu_ms=0,
        memory_peak_bytes=0,
        leftovers=leftovers,
    )


def status_of(attempt: str, verdict: VerdictRecord) -> AttemptStatus:
    return AttemptStatus(
        id=attempt,
        phase=AttemptPhase.lost if verdict["lost"] else AttemptPhase.ended,
        started_ms=verdict["started_ms"],
        ended_ms=verdict["ended_ms"],
        cause=Cause(verdict["cause"]),
        exit_code=verdict["exit_code"],
        signal=verdict["signal"],
        message=verdict["message"],
        usage=Usage(cpu_ms=verdict["cpu_ms"], memory_peak_bytes=verdict["memory_peak_bytes"]),
        leftovers=verdict["leftovers"],
    )


def _running(directory: AttemptDirectory, attempt: str) -> AttemptStatus:
    return AttemptStatus(id=attempt, phase=AttemptPhase.running, started_ms=_started_ms(directory))


def _started_ms(directory: AttemptDirectory) -> int | None:
    started: Any = directory.read(STARTED)
    return started["started_ms"] if started else None


def _absent(attempt: str) -> AttemptStatus:
    return AttemptStatus(id=attempt, phase=AttemptPhase.absent)
