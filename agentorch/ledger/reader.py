"""A read-only connection to a ledger file: segments in order, each verified against the chain.

Transactions are as short as one page of segments, so a reader holds up no checkpoint and sees committed data only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import aiosqlite

from agentorch.errors import LedgerCorrupt, LedgerError, LedgerTooNew
from agentorch.ledger import chain, layout
from agentorch.ledger.chain import Position, Row

PAGE_TARGET_BYTES: Final = (
    1024 * 1024
)  # of bodies read at a time: the event loop is never held for longer than this takes
PAGE_ROWS_MAX: Final = 4_096
_ROW_BYTES = 200  # what a row costs beside its body, roughly

#: SQLite could not look now. Everything else it complains about while reading is damage.
_BUSY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_MISUSE,
    }
)

# The body's hash is computed by SQLite's thread, beside the event loop, which decodes the page before.
_COLUMNS = "first, count, at_ms, codec, prev_hash, body_hash, hash, body, sha256(body)"
_SCHEMA = "SELECT name, type, tbl_name, sql FROM sqlite_schema"
_PAGE = f"SELECT {_COLUMNS} FROM segments WHERE first >= ? ORDER BY first LIMIT ?"
_LAST = "SELECT first, count, hash FROM segments ORDER BY first DESC LIMIT 1"
_COUNT = "SELECT count(*) FROM segments WHERE first > ? AND first <= ?"
_BEFORE = "SELECT first, count, hash FROM segments WHERE first <= ? ORDER BY first DESC LIMIT 2"


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def unreadable(error: Exception, seq: int) -> LedgerError:
    """What a failed read means: damage that begins at `seq`, or a file that could not be looked at now."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
        hint = "where a -wal file lies beside it, its folder must be writable, or copy both"
        return LedgerError(f"the ledger can't be read now: {error} ({hint})")
    return LedgerCorrupt(seq, f"SQLite can't read on: {error}")


class Reader:
    """One connection, opened by `open` and shared by every reading of its owner."""

    def __init__(self, path: Path, parameters: str) -> None:
        self.path = path
        self.ledger_id = ""
        self._uri = layout.uri(path, parameters)
        self._db: aiosqlite.Connection | None = None
        self._counted_to = self._counted = 0  # segments are never removed, so each is counted once

    async def open(self) -> None:
        """Raises LedgerCorrupt where tables or meta are not what a ledger has, LedgerTooNew, LedgerError."""
        try:
            self._db = await aiosqlite.Connection(lambda: layout.connect(self._uri), 64)
            await self._db.create_function("sha256", 1, _sha256, deterministic=True)
            tables = {name: tuple(rest) for name, *rest in await self._all(_SCHEMA)}
            if tables != {name: ("table", name, sql) for name, sql in layout.TABLES.items()}:
                raise LedgerCorrupt(1, "its tables are not those of a ledger")
            meta = await self._all("SELECT id, format, ledger_id, genesis FROM meta")
        except sqlite3.Error as error:
            raise unreadable(error, 1) from error
        if len(meta) != 1:
            raise LedgerCorrupt(1, f"it has {len(meta)} rows of meta instead of one")
        self._take_meta(*meta[0])

    def _take_meta(self, row_id: object, file_format: object, ledger_id: object, genesis: object) -> None:
        if not isinstance(ledger_id, str) or row_id != 1 or genesis != chain.genesis(ledger_id):
            raise LedgerCorrupt(1, "the ledger's identity is damaged")
        if file_format != layout.FORMAT:
            raise LedgerTooNew(f"{self.path} has format {file_format}, this version reads {layout.FORMAT}: upgrade")
        self.ledger_id = ledger_id

    async def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            await db.close()

    async def _all(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        assert self._db is not None, "the reader is closed"
        try:
            return list(await self._db.execute_fetchall(sql, parameters))
        except (UnicodeError, OverflowError, MemoryError) as error:  # damage can look like text, or like a size
            raise sqlite3.DatabaseError(str(error)) from error

    async def head(self) -> Position:
        """The position behind the newest committed segment, as it is stored. Raises LedgerCorrupt, LedgerError."""
        try:
            rows = await self._all(_LAST)
            if not rows:
                return chain.start(self.ledger_id)
            first, count, head = rows[0]
            [(more,)] = await self._all(_COUNT, (self._counted_to, first))
        except sqlite3.Error as error:
            raise unreadable(error, 1) from error
        if not (isinstance(first, int) and isinstance(count, int) and isinstance(head, bytes)):
            raise LedgerCorrupt(1, "the newest segment's values have the wrong type")
        self._counted_to, self._counted = first, self._counted + more
        return Position(last_seq=first + count - 1, head=head, segments=self._counted)

    async def hash_at(self, seq: int) -> bytes | None:
        """The hash of the segment that ends with `seq`; None where none does. Raises LedgerCorrupt, LedgerError."""
        try:
            rows = await self._all(_BEFORE, (seq,))
        except sqlite3.Error as error:
            raise unreadable(error, 1) from error
        found = [bytes(hashed) for first, count, hashed in rows[:1] if first + count - 1 == seq]
        return found[0] if found else None

    async def flaws(self) -> list[str]:
        """What SQLite finds wrong with the file's structure."""
        try:
            said = await self._all("PRAGMA integrity_check(10)")
        except sqlite3.Error as error:
            return [str(error)]
        return [str(line) for (line,) in said if line != "ok"]

    async def _before(self, after: int) -> Position:
        """The position before the segment that holds sequence `after + 1`, or behind the last segment."""
        rows = await self._all(_BEFORE, (after + 1,))
        if rows and rows[0][0] + rows[0][1] - 1 <= after:
            first, count, head = rows[0]  # it ends at `after` or before: there is nothing behind it yet
        elif len(rows) == 2:
            first, count, head = rows[1]
        else:
            return chain.start(self.ledger_id)
        return Position(last_seq=first + count - 1, head=head, segments=0)

    async def pages(self, after: int = 0, upto: int | None = None) -> AsyncGenerator[list[Row]]:
        """Verified segments from the one that holds sequence `after + 1` to the one that holds `upto`.

        Raises LedgerCorrupt with the first sequence that can't be trusted, after everything before it was yielded.
        """
        try:
            at = await self._before(after)
        except (sqlite3.Error, TypeError) as error:
            raise unreadable(error, after + 1) from error
        limit = 16
        fetch = asyncio.create_task(self._fetch(at.last_seq + 1, limit))
        try:
            while values := await fetch:
                rows = [Row(*value[:-1]) for value in values]
                size = sum(len(row.body) + _ROW_BYTES for row in rows if isinstance(row.body, bytes))
                limit = max(1, min(PAGE_ROWS_MAX, PAGE_TARGET_BYTES * len(rows) // max(size, 1)))
                ends = not isinstance(rows[-1].first, int) or (upto is not None and rows[-1].first > upto)
                if not ends:
                    fetch = asyncio.create_task(self._fetch(rows[-1].first + 1, limit))
                    await asyncio.sleep(0)  # let SQLite's thread begin while this page is decoded
                good: list[Row] = []
                for row, value in zip(rows, values, strict=True):
                    if upto is not None and at.last_seq >= upto:
                        break
                    why = chain.flaw(self.ledger_id, at, row, value[-1])
                    if why is not None:
                        if good:
                            yield good
                        raise LedgerCorrupt(at.last_seq + 1, why)
                    at = chain.after(at, row)
                    good.append(row)
                if good:
                    yield good
                if ends:
                    return
        except sqlite3.Error as error:
            raise unreadable(error, at.last_seq + 1) from error
        finally:
            fetch.cancel()
            with contextlib.suppress(asyncio.CancelledError, sqlite3.Error):
                await fetch

    async def _fetch(self, first: int, limit: int) -> list[Any]:
        """The next rows. Where damage lies among them, only those before it, so that it is named exactly."""
        try:
            return await self._all(_PAGE, (first, limit))
        except sqlite3.Error:
            if limit == 1:
                raise
            return await self._fetch(first, max(1, limit // 4))
