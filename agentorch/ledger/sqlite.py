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
        self._is_open = False
        self._readers: list[Reader] = []
        self._reader_stamp: tuple[int, ...] = ()
        self._at = Position(last_seq=0, head=b"", segments=0)
        self._failure: BaseException | None = None

    # -- life

    async def open(self) -> LedgerInfo:
        """As the contract says; read-only, the chain is verified as it is read.

        Raises LedgerLocked, LedgerCorrupt, LedgerTooNew, and LedgerError where the file can't be opened at all.
        """
        if self._is_open:
            raise LedgerError(f"{self.path} is already open here")
        self._is_open = True
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
            self._at = await self._verified()
        except LedgerCorrupt:
            if not pages.is_cut(self.path):
                raise
            # The write-ahead log does not make up for what is missing at the end of the file.
            await asyncio.to_thread(salvage.recover, self.path)
            self._at = await self._verified()
        # Until here nothing was written: a ledger that does not verify is left as it was found.
        seal.take_off(self.path)
        await self._open_connections()
        await asyncio.to_thread(self._snapshots.drop_after, self._at.last_seq)

    def _prepare(self) -> None:
        salvage.finish(self.path)
        if not self.path.exists():
            layout.make(self.path, secrets.token_hex(16))
        if self._is_at_rest():
            if pages.is_cut(self.path):
                salvage.recover(self.path)
            if (why := seal.flaw(self.path)) is not None:
                log.warning("%s: %s; the chain decides whether an event is affected", self.path, why)

    def _is_at_rest(self) -> bool:
        """Whether no write-ahead log lies beside it: then nobody has it open to write, and nobody crashed."""
        return not layout.beside(self.path, "-wal").exists()

    async def _check_log(self) -> None:
        why = await asyncio.to_thread(wal.flaw, self.path)
        if why is not None:
            at = await self._verified()
            raise LedgerCorrupt(at.last_seq + 1, why)

    async def _verified(self) -> Position:
        """The position behind the last segment, with everything before it verified. Raises LedgerCorrupt."""
        reader = Reader(self.path, self._mode())
        try:
            await reader.open()
            return await self._walk(reader)
        finally:
            await reader.close()

    def _mode(self) -> str:
        """A file at rest is read as immutable: that needs no writable folder and leaves nothing behind."""
        return "mode=ro&immutable=1" if self._is_at_rest() else "mode=ro"

    async def _open_connections(self) -> None:
        self._db = await aiosqlite.Connection(lambda: self._connect(layout.uri(self.path, "mode=rw")), 64)
        for pragma in layout.WRITER_PRAGMAS:
            await self._db.execute_fetchall(pragma)
        [(mode,)] = await self._db.execute_fetchall("PRAGMA journal_mode")
        if mode != "wal":
            raise LedgerError(
                f"{self.path} lies on a file system without shared memory ({mode}): move it to a local disk"
            )
        self._readers.append(Reader(self.path, "mode=ro"))
        await self._readers[-1].open()

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
        try:
            await self._current_reader()
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
            if sealable and self._is_at_rest():  # it stays while somebody reads
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(seal.put, self.path)
        finally:
            self._is_open = False
            self._lock.release()

    async def _let_go(self) -> None:
        try:
            await self._let_go_of_connections()
        finally:
            self._is_open = False
            self._lock.release()

    async def _let_go_of_connections(self) -> None:
        readers, self._readers, self._reader_stamp = self._readers, [], ()
        db, self._db = self._db, None
        for reader in readers:
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
            row = chain.append(self._readers[-1].ledger_id, self._at, len(events), at_ms, number, body)
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

    def _stamp(self) -> tuple[int, ...]:
        """What must change when the file can't be read as before: whether a log lies beside it; at rest, its bytes."""
        now = self.path.stat()
        return (now.st_ino, now.st_size, now.st_mtime_ns) if self._is_at_rest() else (now.st_ino,)

    async def _current_reader(self) -> Reader:
        """The writer's own reader, or one that fits the file as it is now: at rest until a writer comes."""
        if not self._is_open:
            raise LedgerError(f"{self.path} is not open")
        if self.read_only and (stamp := self._stamp()) != self._reader_stamp:
            reader = Reader(self.path, self._mode())
            self._readers.append(reader)  # older ones may be in use still: they are closed with the ledger
            await reader.open()
            self._reader_stamp = stamp
        return self._readers[-1]

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[tuple[int, Event]]]:
        """As the contract says. Raises LedgerCorrupt, LedgerTooNew."""
        async for segment in self.segments(after, upto):
            events = codec.decode(segment.codec, segment.body, segment.first, segment.count)
            low = max(after + 1 - segment.first, 0)
            high = segment.count if upto is None else min(upto + 1 - segment.first, segment.count)
            yield list(enumerate(events[low:high], segment.first + low))

    async def segments(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Segment]:
        """Verified segments, undecoded, from the one that holds `after + 1` to the one that holds `upto`."""
        while True:
            reader = await self._current_reader()
            try:
                async with contextlib.aclosing(reader.pages(after, upto)) as found:
                    async for rows in found:
                        for row in rows:
                            yield chain.segment(row)
                            after = row.first + row.count - 1
                return
            except LedgerCorrupt:
                if await self._current_reader() is reader:
                    raise  # and not: a writer came and changed the file under a reader that took it to be at rest

    async def info(self) -> LedgerInfo:
        reader = await self._current_reader()
        at = await reader.head() if self.read_only else self._at
        return LedgerInfo(
            ledger_id=reader.ledger_id, last_seq=at.last_seq, head_hash=at.head.hex(), segments=at.segments
        )

    async def flaws(self) -> list[str]:
        """What is wrong with the store beside the chain: the file's structure, damaged snapshots."""
        found = await (await self._current_reader()).flaws()
        if self.read_only:
            found += await asyncio.to_thread(self._flaws_of_bytes)
        for file in self._snapshots.files():
            try:
                await asyncio.to_thread(load, file)
            except (OSError, DamagedSnapshot) as error:
                found.append(f"snapshot {file.name}: {error}")
        return found

    def _flaws_of_bytes(self) -> list[str]:
        """The bytes of the file itself are read only while it is at rest: closing a file takes away the locks that
        other connections of this process hold on it, and a file read as immutable has none."""
        if self._is_at_rest():
            why = seal.flaw(self.path)
        else:
            # Read while a writer starts the log over, it looks damaged; what a crash left looks the same twice.
            why = wal.flaw(self.path)
            if why is not None and wal.flaw(self.path) != why:
                why = None
        return [] if why is None else [why]

    # -- snapshots

    async def save_snapshot(self, seq: int, schema: str, digest: str, body: bytes) -> None:
        """As the contract says; `seq` must end a committed segment. Raises LedgerFailed when it can't be written; the
        ledger itself goes on."""
        self._writer()
        reader = await self._current_reader()
        chain_hash = await reader.hash_at(seq)
        if chain_hash is None:
            raise ValueError(f"no commit ends with sequence {seq}")
        snapshot = Snapshot(
            ledger_id=reader.ledger_id, seq=seq, chain_hash=chain_hash, schema=schema, digest=digest, body=body
        )
        try:
            await asyncio.to_thread(self._snapshots.save, snapshot)
        except OSError as error:
            raise LedgerFailed(f"the snapshot at sequence {seq} was not written: {error}") from error

    async def load_snapshot(self, schema: str) -> tuple[int, str, bytes] | None:
        """As the contract says; a damaged one, or one of another history, is passed over."""
        reader = await self._current_reader()
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
