"""The store contract. The SQLite ledger and the in-memory ledger pass the same suite.

One process writes (a lock says so); readers open their own read-only connection. One commit is one *segment*:
`(first, count, at_ms, codec, prev_hash, body_hash, hash, body)`, where
`hash = sha256(domain, ledger id, prev_hash, first, count, at_ms, codec, body_hash)` and `body_hash = sha256(body)`.
Sequence numbers start at 1 and have no gaps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from agentorch.model.events import Event


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One commit, verified against the chain."""

    first: int  # sequence of its first event
    count: int
    at_ms: int
    codec: int
    prev_hash: bytes  # 32 bytes; of the first segment: sha256(domain, ledger id)
    hash: bytes
    body: bytes  # a JSON array of events

    @property
    def last(self) -> int:
        return self.first + self.count - 1


class LedgerInfo(msgspec.Struct, frozen=True, kw_only=True):
    ledger_id: str
    last_seq: int
    head_hash: str  # hex
    segments: int


class Ledger(Protocol):
    async def open(self) -> LedgerInfo:
        """Take the writer's lock, create or verify the file, recover a truncated tail.

        Raises LedgerLocked, LedgerCorrupt, LedgerTooNew.
        """

    async def commit(self, events: Sequence[Event], at_ms: int) -> int:
        """Append the events as one segment, durable on return. Returns the last sequence number.

        Raises LedgerFailed; every later call raises it too (an fsync that failed once is never tried again).
        """

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[tuple[int, Event]]]:
        """Committed events with sequence > `after` (and <= `upto`), in order, a list per segment, chain verified.

        Raises LedgerCorrupt with the first sequence that can't be trusted.
        """

    async def info(self) -> LedgerInfo: ...

    async def save_snapshot(self, seq: int, schema: str, digest: str, body: bytes) -> None:
        """Keep `body` (an encoded state) as a starting point for the next fold; old ones are dropped."""

    async def load_snapshot(self, schema: str) -> tuple[int, str, bytes] | None:
        """The newest snapshot of this schema: (seq, digest, body); those of other schemas are void."""

    async def close(self) -> None: ...
