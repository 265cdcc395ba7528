"""A disk in memory and a ledger on it: what was synced is there after a crash, what was not may be there in part.

One commit is one record: its length, and then its columns. A commit writes the record, in two halves, and syncs. Faults
are asked for by whoever holds the disk: how long each step takes, what fails, and where the machine stops dead.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from agentorch.errors import LedgerFailed, LedgerLocked
from agentorch.ledger import chain, codec
from agentorch.ledger.chain import Row
from agentorch.ledger.contract import LedgerInfo
from agentorch.ledger.memory import MemoryLedger
from agentorch.model.events import Event

BLOCK_BYTES: Final = 64  # far less than a real one, so that even short commits have several
_LENGTH: Final = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode


class Step(StrEnum):
    """Where a commit is. Between any two of them a machine may stop dead."""

    begun = "begun"
    torn = "torn"  # half of the record is written
    written = "written"  # all of it, and nothing is synced
    synced = "synced"  # durable, and nobody has been told


class DiskError(OSError):
    """The disk said no."""


async def at_once(step: Step, body: bytes) -> None:
    """Every step takes no time, and works."""


class Disk:
    """Bytes that outlive whoever wrote them.

    `step` is awaited at each step of a commit, with what is committed: it may take its time, raise DiskError, or never
    return, when whoever writes is to die there. `synced` hears what has become durable, and `recovered` all that was
    found when it was opened.
    """

    def __init__(self, ledger_id: str = "simulated") -> None:
        self.ledger_id = ledger_id
        self.content = bytearray()
        self.synced_bytes = 0
        self.snapshots: dict[int, bytes] = {}
        self.step: Callable[[Step, bytes], Awaitable[None]] = at_once
        self.synced: Callable[[Row], None] = lambda row: None
        self.recovered: Callable[[list[Row]], None] = lambda rows: None
        self.holder: object | None = None  # who has it open to write

    def write(self, data: bytes) -> None:
        self.content += data

    def sync(self) -> None:
        self.synced_bytes = len(self.content)

    def lose_power(self, chance: random.Random) -> int:
        """Of what was not synced any block may be there, be empty, or be missing with all that follows; returns how
        many bytes were in doubt."""
        start = self.synced_bytes
        tail = len(self.content) - start
        del self.content[start + chance.randint(0, tail) if chance.random() < 0.5 else len(self.content) :]
        for at in range(start, len(self.content), BLOCK_BYTES):
            if chance.random() < 0.2:
                block = self.content[at : at + BLOCK_BYTES]
                self.content[at : at + BLOCK_BYTES] = bytes(len(block))
        self.sync()
        return tail

    def die(self) -> None:
        """The writing process is gone; the system still has what it wrote, and writes it out."""
        self.holder = None


class DiskLedger(MemoryLedger):
    """Keeps `ledger.contract.Ledger`, on a disk that any number of them may be opened on, one after the other."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.ledger_id)
        self.disk = disk
        self._snapshots = disk.snapshots
        self._killed = False
        self._turn = asyncio.Lock()

    def kill(self) -> None:
        """The process that holds it dies at this moment: not a byte of it is written from now on."""
        self._killed = True
        self.disk.die()

    async def open(self) -> LedgerInfo:
        """Reads the disk, and drops a record at its very end that was not written whole.

        Raises LedgerLocked, LedgerCorrupt, LedgerTooNew.
        """
        if self.disk.holder is not None:
            raise LedgerLocked(f"the ledger {self.ledger_id!r} is open already")
        self.rows = self._recover()
        info = await super().open()
        self.disk.holder = self
        for seq in [seq for seq in self._snapshots if seq > info.last_seq]:
            del self._snapshots[seq]
        self.disk.recovered(self.rows)
        return info

    def _recover(self) -> list[Row]:
        """Records up to the first that is not whole, as SQLite reads its write-ahead log; the rest goes."""
        content, rows, at = bytes(self.disk.content), list[Row](), 0
        position = chain.start(self.ledger_id)
        while (row := self._record_at(content, at)) is not None:
            if chain.flaw(self.ledger_id, position, row, hashlib.sha256(row.body).digest()) is not None:
                break
            rows.append(row)
            position = chain.after(position, row)
            at += _LENGTH.size + _LENGTH.unpack_from(content, at)[0]
        del self.disk.content[at:]
        self.disk.sync()  # what is read as committed may not vanish any more
        return rows

    def _record_at(self, content: bytes, at: int) -> Row | None:
        start = at + _LENGTH.size
        if start > len(content):
            return None
        (size,) = _LENGTH.unpack_from(content, at)
        return self._whole(content[start : start + size]) if size <= len(content) - start else None

    @staticmethod
    def _whole(data: bytes) -> Row | None:
        try:
            return _decode(data)
        except msgspec.DecodeError:
            return None

    async def close(self) -> None:
        await super().close()
        if self.disk.holder is self:
            self.disk.holder = None

    async def commit(self, events: Sequence[Event], at_ms: int) -> int:
        """As the contract says."""
        async with self._turn:
            if self._killed:
                raise LedgerFailed("its process is gone")
            if self._failure is not None:
                raise LedgerFailed("an earlier commit failed; close this ledger and open it again") from self._failure
            self._check_open()
            if not events:
                return self._at.last_seq
            number, body = codec.encode(events)
            row = chain.append(self.ledger_id, self._at, len(events), at_ms, number, body)
            try:
                await self._store(row)
            except BaseException as error:
                # Whether it is on the disk is unknown, also after a cancellation: only a new start can tell.
                self._failure = error
                if not isinstance(error, DiskError):
                    raise
                raise LedgerFailed(f"sequence {row.first} was not committed: {error}") from error
            self.rows.append(row)
            self._at = chain.after(self._at, row)
            return self._at.last_seq

    async def _store(self, row: Row) -> None:
        """Raises DiskError; LedgerFailed when its process died meanwhile."""
        body = _encode(row)
        record = _LENGTH.pack(len(body)) + body
        await self._reach(Step.begun, row.body)
        self.disk.write(record[: len(record) // 2])
        await self._reach(Step.torn, row.body)
        self.disk.write(record[len(record) // 2 :])
        await self._reach(Step.written, row.body)
        self.disk.sync()
        self.disk.synced(row)
        await self._reach(Step.synced, row.body)

    async def _reach(self, step: Step, body: bytes) -> None:
        await self.disk.step(step, body)
        if self._killed:
            raise LedgerFailed("its process is gone")
