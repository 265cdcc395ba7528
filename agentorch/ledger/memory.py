"""The ledger in memory, for simulation and tests: the same contract and the same bytes, and failures on demand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

from agentorch.errors import LedgerError, LedgerFailed, LedgerLocked
from agentorch.ledger import chain, codec
from agentorch.ledger.chain import Row
from agentorch.ledger.contract import LedgerInfo, Segment
from agentorch.ledger.snapshots import KEPT, Snapshot, pack, unpack
from agentorch.model.events import Event


class MemoryLedger:
    """Keeps `ledger.contract.Ledger`. What was committed outlives `close`, as on a disk: open it again to restart."""

    def __init__(self, ledger_id: str = "memory") -> None:
        self.ledger_id = ledger_id
        self.rows: list[Row] = []
        self._at = chain.start(ledger_id)
        self._snapshots: dict[int, bytes] = {}
        self._is_open = False
        self._failure: BaseException | None = None
        self._fault: bool | None = None

    def fail_next_commit(self, *, landed: bool = False) -> None:
        """The next commit raises LedgerFailed. `landed`: its events are there after a restart all the same, as when
        the disk wrote them and could not say so."""
        self._fault = landed

    # -- life

    async def open(self) -> LedgerInfo:
        """As the contract says. Raises LedgerLocked when it is open already."""
        if self._is_open:
            raise LedgerLocked(f"the ledger {self.ledger_id!r} is open already")
        at = chain.start(self.ledger_id)
        for row in self.rows:
            at = chain.follow(self.ledger_id, at, row, hashlib.sha256(row.body).digest())
        self._at = at
        self._failure = None
        self._is_open = True
        return await self.info()

    async def close(self) -> None:
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise LedgerError(f"the ledger {self.ledger_id!r} is not open")

    # -- writing

    async def commit(self, events: Sequence[Event], at_ms: int) -> int:
        """As the contract says. No events: nothing is written, and the newest sequence number is returned."""
        if self._failure is not None:
            raise LedgerFailed("an earlier commit failed; close this ledger and open it again") from self._failure
        self._check_open()
        if not events:
            return self._at.last_seq
        number, body = codec.encode(events)
        row = chain.append(self.ledger_id, self._at, len(events), at_ms, number, body)
        fault, self._fault = self._fault, None
        if fault is not None:
            self._failure = OSError("injected")
            if fault:
                self.rows.append(row)
            raise LedgerFailed(f"sequence {row.first} was not committed: injected") from self._failure
        self.rows.append(row)
        self._at = chain.after(self._at, row)
        await asyncio.sleep(0)  # a commit always lets others run, as the real one does
        return row.first + row.count - 1

    # -- reading

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[tuple[int, Event]]]:
        """As the contract says. Raises LedgerCorrupt, LedgerTooNew."""
        async for segment in self.segments(after, upto):
            events = codec.decode(segment.codec, segment.body, segment.first, segment.count)
            low = max(after + 1 - segment.first, 0)
            high = segment.count if upto is None else min(upto + 1 - segment.first, segment.count)
            yield list(enumerate(events[low:high], segment.first + low))

    async def segments(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Segment]:
        """Verified segments, undecoded, from the one that holds `after + 1` to the one that holds `upto`."""
        self._check_open()
        at = chain.start(self.ledger_id)
        for row in list(self.rows):
            if row.first > self._at.last_seq or (upto is not None and row.first > upto):
                return
            at = chain.follow(self.ledger_id, at, row, hashlib.sha256(row.body).digest())
            if at.last_seq > after:
                await asyncio.sleep(0)
                yield chain.segment(row)

    async def info(self) -> LedgerInfo:
        self._check_open()
        at = self._at
        return LedgerInfo(ledger_id=self.ledger_id, last_seq=at.last_seq, head_hash=at.head.hex(), segments=at.segments)

    async def flaws(self) -> list[str]:
        """Nothing beside the chain can go wrong here."""
        return []

    # -- snapshots

    async def save_snapshot(self, seq: int, schema: str, digest: str, body: bytes) -> None:
        """As the contract says; `seq` must end a committed segment."""
        self._check_open()
        chain_hash = self._hash_at(seq)
        if chain_hash is None:
            raise ValueError(f"no commit ends with sequence {seq}")
        self._snapshots[seq] = pack(
            Snapshot(ledger_id=self.ledger_id, seq=seq, chain_hash=chain_hash, schema=schema, digest=digest, body=body)
        )
        for old in sorted(self._snapshots)[:-KEPT]:
            del self._snapshots[old]

    async def load_snapshot(self, schema: str) -> tuple[int, str, bytes] | None:
        self._check_open()
        for seq in sorted(self._snapshots, reverse=True):
            found = unpack(self._snapshots[seq])
            if found.schema == schema:
                return found.seq, found.digest, found.body
        return None

    def _hash_at(self, seq: int) -> bytes | None:
        return next((row.hash for row in reversed(self.rows) if row.first + row.count - 1 == seq), None)
