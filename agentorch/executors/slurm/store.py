"""Attempt directories on a file system that the nodes share: the same as on one machine, without its pids.

Blocking, and called from threads only. Who holds a claim is known only to the node it runs on, and a lock may be held
by a node that is gone; so here a claimed attempt without a verdict is `running` until whoever asks Slurm knows better.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from agentorch.executors.attempt_dir import AttemptDirectory
from agentorch.executors.look import Found, Sight, status_of, unseen_verdict
from agentorch.executors.records import STARTED, STOP, VERDICT, LaunchRecord, StopRecord, VerdictRecord
from agentorch.executors.slurm.guard import ENDED
from agentorch.executors.slurm.names import own_name
from agentorch.executors.store import AttemptStore, StopRequest
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.jobs import Cause

#: In the attempt directory, durable before the batch job is asked for: from then on Slurm may know of it.
SUBMITTED: Final = "submitted"


class Grave(NamedTuple):
    """What to write of an attempt that Slurm does not run any more, and that left no verdict."""

    attempt: str
    cause: Cause
    message: str


class SharedStore(AttemptStore):
    """Use it as `AttemptStore`, without `bury` and `abandon`."""

    name = ""  # of this root, unlike that of any other on the cluster; set by `open`

    def open(self, epoch: int) -> None:
        super().open(epoch)
        (self.root / ENDED).mkdir(mode=0o700, exist_ok=True)
        self.name = own_name(self.root)

    def check_epoch(self) -> None:
        """Raises ExecutorError if a newer epoch has opened the root."""
        self._check_epoch()

    def submitting(self, attempt: str) -> None:
        """Note that Slurm is about to be asked, durably."""
        self._check_epoch()
        with AttemptDirectory(self.path(attempt)) as directory:
            directory.write(SUBMITTED, {}, durable=True)

    def was_submitted(self, attempt: str) -> bool:
        return Path(self.path(attempt), SUBMITTED).exists()

    def is_held(self, attempt: str) -> bool:
        """Whether a live shim has the claim, as far as locks are told between nodes."""
        with AttemptDirectory(self.path(attempt)) as directory:
            claim = directory.claimed_by()
            return claim is not None and claim.pid != 0

    def told(self) -> list[str]:
        """Attempts whose end was told by their guards since the last call."""
        names = os.listdir(self.root / ENDED)  # noqa: PTH208 - names are all that is needed
        for name in names:
            (self.root / ENDED / name).unlink(missing_ok=True)
        return names

    def give_up(self, grave: Grave) -> Found:
        """Leave the verdict that nobody else can write; what never began is fenced first, so that it never will."""
        self._check_epoch()
        found = self._fenced(grave.attempt)
        if found.sight is Sight.ended:
            return found
        with AttemptDirectory(self.path(grave.attempt)) as directory:
            started = directory.read(STARTED)
            verdict = unseen_verdict(
                cause=grave.cause,
                message=grave.message,
                lost=found.sight is Sight.running,
                started_ms=started["started_ms"] if started else None,
            )
            directory.write(VERDICT, verdict, durable=True)
        return Found(Sight.ended, status_of(grave.attempt, verdict))

    def refuse(self, grave: Grave) -> Found:
        """It can't be run: ended without having begun, unless it has."""
        self._check_epoch()
        return self._end_unstarted(grave.attempt, grave.cause, grave.message)

    # -- what differs from one machine

    def _look(self, attempt: str) -> Found:
        absent = AttemptStatus(id=attempt, phase=AttemptPhase.absent)
        try:
            directory = AttemptDirectory(self.path(attempt))
        except FileNotFoundError:
            return Found(Sight.missing, absent)
        with directory:
            # The claim first: a verdict is written before it is dropped, and a fence is never followed by one.
            claim = directory.claimed_by()
            verdict: VerdictRecord | None = directory.read(VERDICT)
            if verdict is not None:
                return Found(Sight.ended, status_of(attempt, verdict))
            if claim is None:
                return Found(Sight.unclaimed, absent)
            if claim.fence:
                return Found(Sight.fenced, absent)
            started = directory.read(STARTED)
        since = started["started_ms"] if started else None
        return Found(Sight.running, AttemptStatus(id=attempt, phase=AttemptPhase.running, started_ms=since))

    def _stop(self, request: StopRequest) -> Found:
        found = self._end_unstarted(request.attempt, Cause(request.reason), "stopped before it started")
        if found.sight is Sight.running:
            with AttemptDirectory(self.path(request.attempt)) as directory:
                earlier: StopRecord | None = directory.read(STOP)
                reason = earlier["reason"] if earlier else request.reason
                directory.write(STOP, StopRecord(reason=reason, grace_ms=request.grace_ms), durable=True)
        return found

    def stop_reason(self, attempt: str) -> str:
        """Why a stop was asked for; "" = it was not."""
        with AttemptDirectory(self.path(attempt)) as directory:
            stop: StopRecord | None = directory.read(STOP)
            return stop["reason"] if stop else ""

    def _record(self, spec: AttemptSpec, path: str) -> LaunchRecord:
        # Slurm chooses the devices, and says on the node which ones; it binds to cores as it is configured to.
        return super()._record(msgspec.structs.replace(spec, devices=(), cores=()), path)
