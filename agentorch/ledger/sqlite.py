"""The ledger in one SQLite file: one connection writes and checkpoints, one row is one commit, a failure ends it.

A write-ahead log, synced at every commit. Whoever else reads opens the file read-only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiosqlite

from agentorch.errors import LedgerCorrupt, LedgerError, LedgerFailed
from agentorch.ledger import chain, codec, layout, pages, salvage, seal, wal
from agentorch.ledger.chain import Position, Row
from agentorch.ledger.contract import LedgerInfo, Segment
from agentorch.ledger.lock import WriterLock
from agentorch.ledger.reader import Reader
from agentorch.ledger.snapshots import DamagedSnapshot, Snapshot, SnapshotFolder, load
from agentorch.model.events import Event

log = logging.getLogger(__name__)


class SqliteLedger:
    """Keeps `ledger.contract.Ledger`. A handle may be opened again after it was closed.

    With `read_only` nothing is written or locked: it works while a writer lives, on a copied file, and in a folder
    that can't be written to. `connect` opens the writing connection.
    """

    def __init__(self, path: Path, *, read_only: bool = False, connect: layout.Connect = layout.connect) -> None:
        self.path = path
        self.read_only = read_only
        self._connect = connect
        self._lock = WriterLock(path)
        self._snapshots = SnapshotFolder(path)
        self._turn = asyncio.Lock()
        self._db: aiosqlite.Connection | None = None
        self._reader: Reader | None = None
        self._at = Position(last_seq=0, head=b"", segments=0)
        self._failure: BaseException | None = None

    # -- life

    async def open(self) -> LedgerInfo:
        """As the contract says; read-only, the chain is verified as it is read.

        Raises LedgerLocked, LedgerCorrupt, LedgerTooNew, and LedgerError where the file can't be opened at all.
        """
        if self._reader is not None:
            raise LedgerError(f"{self.path} is already open here")
        self._failure = None
        try:
            if self.read_only:
                await self._open_to_read()
            else:
                await self._open_to_write()
            return await self.info()
        except (OSError, sqlite3.Error) as error:
            await self._let_go()
            raise LedgerError(f"{self.path} can't be opened: {error}") from error
        except BaseException:
            await self._let_go()
            raise

    async def _open_to_write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        await asyncio.to_thread(self._prepare)
        await self._check_log()
        try:
            await self._open_connections()
        except LedgerCorrupt:
            await self._let_go_of_connections()
            if not pages.is_cut(self.path):
                raise
            # The write-ahead log did not make up for what is missing at the end of the file.
            await asyncio.to_thread(salvage.recover, self.path)
            await self._open_connections()
        await asyncio.to_thread(self._snapshots.drop_after, self._at.last_seq)

    def _prepare(self) -> None:
        salvage.finish(self.path)
        if not self.path.exists():
            layout.make(self.path, secrets.token_hex(16))
        elif pages.is_cut(self.path) and not layout.beside(self.path, "-wal").exists():
            salvage.recover(self.path)
        if (why := seal.flaw(self.path)) is not None:
            log.warning("%s: %s; the chain decides whether an event is affected", self.path, why)
        seal.take_off(self.path)

    async def _check_log(self) -> None:
        """Before any connection that may write: closing one would tidy a damaged log away, and what it lost with it."""
        why = await asyncio.to_thread(wal.flaw, self.path)
        if why is not None:
            reader = Reader(self.path, "mode=ro")
            try:
                await reader.open()
                at = await self._walk(reader)
            finally:
                await reader.close()
            raise LedgerCorrupt(at.last_seq + 1, why)

    async def _open_connections(self) -> None:
        """The writing connection first: it recovers the write-ahead log that a crash left."""
        self._db = await aiosqlite.Connection(lambda: self._connect(layout.uri(self.path, "mode=rw")), 64)
        try:
            for pragma in layout.WRITER_PRAGMAS:
                await self._db.execute_fetchall(pragma)
        except sqlite3.DatabaseError as error:
            raise LedgerCorrupt(1, f"SQLite can't open it: {error}") from error
        self._reader = Reader(self.path, "mode=ro")
        await self._reader.open()
        self._at = await self._walk(self._reader)

    async def _walk(self, reader: Reader) -> Position:
        """The position behind the last segment, everything before it verified. Raises LedgerCorrupt."""
        at = chain.start(reader.ledger_id)
        async for rows in reader.pages():
            at = Position(
                last_seq=rows[-1].first + rows[-1].count - 1, head=rows[-1].hash, segments=at.segments + len(rows)
            )
        # A chain that lost its last segments still holds; the pages of those segments then belong to nobody.
        flaws = await reader.flaws()
        if flaws:
            raise LedgerCorrupt(at.last_seq + 1, f"the file's structure is damaged: {'; '.join(flaws)}")
        return at

    async def _open_to_read(self) -> None:
        if not self.path.exists():
            raise LedgerError(f"there is no ledger at {self.path}")
        live = layout.beside(self.path, "-wal").exists()
        self._reader = Reader(self.path, "mode=ro" if live else "mode=ro&immutable=1")
        try:
            await self._reader.open()
        except LedgerCorrupt as error:
            await self._let_go_of_connections()
            if not pages.is_cut(self.path):
                raise
            _, rows = await asyncio.to_thread(salvage.whole_commits, self.path)
            left = rows[-1].first + rows[-1].count if rows else 1
            raise LedgerCorrupt(left, "the file is cut short; opening it to write recovers what is before") from error

    async def close(self) -> None:
        """Move the write-ahead log into the file, seal it, let go of it. Raises nothing: what was acknowledged is safe
        in the log already, and the next start takes it up from there."""
        sealable = self._db is not None and self._failure is None
        try:
            await self._let_go_of_connections()
            if sealable and not layout.beside(self.path, "-wal").exists():  # it stays while somebody reads
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(seal.put, self.path)
        finally:
            self._lock.release()

    async def _let_go(self) -> None:
        try:
            await self._let_go_of_connections()
        finally:
            self._lock.release()

    async def _let_go_of_connections(self) -> None:
        reader, self._reader = self._reader, None
        db, self._db = self._db, None
        if reader is not None:
            await reader.close()
        if db is not None:
            # Nothing acknowledged depends on this: the log is synced, and the next start takes it up.
            with contextlib.suppress(sqlite3.Error, OSError):
                await db.close()

    # -- writing

    async def commit(self, events: Sequence[Event], at_ms: int) -> int:
        """As the contract says. No events: nothing is written, and the newest sequence number is returned."""
        async with self._turn:
            db = self._writer()
            if not events:
                return self._at.last_seq
            number, body = codec.encode(events)
            row = chain.append(self._open_reader().ledger_id, self._at, len(events), at_ms, number, body)
            await self._insert(db, row)
            self._at = chain.after(self._at, row)
            return self._at.last_seq

    def _writer(self) -> aiosqlite.Connection:
        if self._failure is not None:
            raise LedgerFailed("an earlier commit failed; close this ledger and open it again") from self._failure
        if self._db is None:
            raise LedgerError(f"{self.path} is not open to write")
        return self._db

    async def _insert(self, db: aiosqlite.Connection, row: Row) -> None:
        try:
            await db.execute_fetchall(layout.INSERT_SEGMENT, row.values())
        except BaseException as error:
            # Whether it is on the disk is unknown, also after a cancellation: only a new start can tell.
            self._failure = error
            if not isinstance(error, Exception):
                raise
            raise LedgerFailed(f"sequence {row.first} was not committed: {error}") from error

    # -- reading

    def _open_reader(self) -> Reader:
        if self._reader is None:
            raise LedgerError(f"{self.path} is not open")
        return self._reader

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[tuple[int, Event]]]:
        """As the contract says. Raises LedgerCorrupt, LedgerTooNew."""
        async for segment in self.segments(after, upto):
            events = codec.decode(segment.codec, segment.body, segment.first, segment.count)
            low = max(after + 1 - segment.first, 0)
            high = segment.count if upto is None else min(upto + 1 - segment.first, segment.count)
            yield list(enumerate(events[low:high], segment.first + low))

    async def segments(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Segment]:
        """Verified segments, undecoded, from the one that holds `after + 1` to the one that holds `upto`."""
        async with contextlib.aclosing(self._open_reader().pages(after, upto)) as found:
            async for rows in found:
                for row in rows:
                    yield chain.segment(row)

    async def info(self) -> LedgerInfo:
        reader = self._open_reader()
        at = await reader.head() if self.read_only else self._at
        return LedgerInfo(
            ledger_id=reader.ledger_id, last_seq=at.last_seq, head_hash=at.head.hex(), segments=at.segments
        )

    async def flaws(self) -> list[str]:
        """What is wrong with the store beside the chain: the file's structure, damaged snapshots."""
        found = await self._open_reader().flaws()
        if self.read_only:
            found += await asyncio.to_thread(self._flaws_at_rest)
        for file in self._snapshots.files():
            try:
                await asyncio.to_thread(load, file)
            except (OSError, DamagedSnapshot) as error:
                found.append(f"snapshot {file.name}: {error}")
        return found

    def _flaws_at_rest(self) -> list[str]:
        """Bytes are looked at beside SQLite only here: closing a file takes away the locks of its open connections,
        and a file that is read as immutable has none."""
        at_rest = not layout.beside(self.path, "-wal").exists()
        why = seal.flaw(self.path) if at_rest else wal.flaw(self.path)
        return [] if why is None else [why]

    # -- snapshots

    async def save_snapshot(self, seq: int, schema: str, digest: str, body: bytes) -> None:
        """As the contract says; `seq` must end a committed segment. Raises LedgerFailed when it can't be written; the
        ledger itself goes on."""
        self._writer()
        chain_hash = await self._open_reader().hash_at(seq)
        if chain_hash is None:
            raise ValueError(f"no commit ends with sequence {seq}")
        ledger_id = self._open_reader().ledger_id
        snapshot = Snapshot(
            ledger_id=ledger_id, seq=seq, chain_hash=chain_hash, schema=schema, digest=digest, body=body
        )
        try:
            await asyncio.to_thread(self._snapshots.save, snapshot)
        except OSError as error:
            raise LedgerFailed(f"the snapshot at sequence {seq} was not written: {error}") from error

    async def load_snapshot(self, schema: str) -> tuple[int, str, bytes] | None:
        """As the contract says; a damaged one, or one of another history, is passed over."""
        reader = self._open_reader()
        for file in self._snapshots.newest_first():
            try:
                found = await asyncio.to_thread(load, file)
            except (OSError, DamagedSnapshot):
                continue
            if (found.schema, found.ledger_id) != (schema, reader.ledger_id):
                continue
            if await reader.hash_at(found.seq) == found.chain_hash:
                return found.seq, found.digest, found.body
        return None
