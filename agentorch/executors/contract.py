"""The contract every executor keeps: nine methods.

1. `launch` twice = one run.
2. After a kill -9 of the caller anywhere, `open(epoch + 1)` then `inspect` tells the truth about each attempt.
3. After `stop` is done no descendant of the attempt lives.
4. `lost` is said only when the attempt cannot be running any more.
5. Exit code, reason and log survive a crash of either side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from agentorch.model.attempts import AttemptSpec, AttemptStatus, NodeInfo


class Executor(Protocol):
    name: str

    async def open(self, epoch: int) -> None:
        """Start serving this incarnation of the runtime; calls of older epochs are refused from then on.

        Raises ExecutorError if a newer epoch has opened it already.
        """

    async def nodes(self) -> list[NodeInfo]:
        """The machines there are, with their devices, their state and their newest telemetry.

        A node that left in order is not listed any more; one that vanished is `down` until all its attempts are told.
        """

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        """Start each attempt at most once, ever; a second launch of the same id answers its present status.

        Returns when each is running (or has ended: `exec_failed` for a program that can't be executed).
        """

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        """Ask for the whole process tree to end: stop signal, `grace_ms`, KILL. Idempotent; the end is an event.

        On a node that can't be reached the request is kept, and delivered when it can be.
        """

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        """The truth about each attempt, for recovery. `absent` is final: such an attempt is fenced and never starts.

        What can't be known yet (its node does not answer) is `running`; what becomes of it is an event.

        Attempts found running are watched from then on, as if this incarnation had launched them.
        """

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        """Attempts that ended or were lost, at least once each since `open`; ends when the executor closes."""

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        """Up to `limit` bytes of `stdout` or `stderr` from byte `offset`.

        Returns (data, next offset, whole): `whole` is true when the attempt has ended and nothing follows. A quota may
        have dropped the oldest bytes: the data then starts at the oldest byte kept, and next offset says so.
        """

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        """Desired number of nodes of this pool, and which of its nodes are to go: those are empty by then.

        A no-op where workers are shares of a fixed machine. Idempotent. Returns when the order is given; nodes appear
        in `nodes` when they are there. Raises ProvisioningError.
        """

    async def close(self) -> None:
        """Stop serving; running work goes on."""
