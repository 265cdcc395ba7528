"""What a ledger file looks like: its tables, how it is made, and how connections to it are set up.

The file is only ever appended to (one row of `meta`, then segments), so pages are never freed or reused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from agentorch.ledger.chain import Row, genesis

FORMAT = 1
PAGE_BYTES = 4096

#: Opens a database by URI. Tests hand in one whose every write and sync is recorded.
Connect = Callable[[str], sqlite3.Connection]

TABLES = {
    "meta": "CREATE TABLE meta(id INTEGER PRIMARY KEY, format INTEGER NOT NULL, ledger_id TEXT NOT NULL, "
    "genesis BLOB NOT NULL) STRICT",
    "segments": "CREATE TABLE segments(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, at_ms INTEGER NOT NULL, "
    "codec INTEGER NOT NULL, prev_hash BLOB NOT NULL, body_hash BLOB NOT NULL, hash BLOB NOT NULL, "
    "body BLOB NOT NULL) STRICT",
}
INSERT_META = "INSERT INTO meta VALUES (1, ?, ?, ?)"
INSERT_SEGMENT = "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

#: FULL: each commit is synced before it returns. NORMAL loses acknowledged commits when the power goes.
WRITER_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA secure_delete=ON",
)


def connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def uri(path: Path, parameters: str) -> str:
    return f"{path.absolute().as_uri()}?{parameters}"


def sync(path: Path) -> None:
    """fsync a file or a folder. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def beside(path: Path, suffix: str) -> Path:
    """`ledger.db`, `-wal` -> `ledger.db-wal`."""
    return path.with_name(path.name + suffix)


def remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        beside(path, suffix).unlink(missing_ok=True)


def make(path: Path, ledger_id: str, rows: Iterable[Row] = ()) -> None:
    """Make a whole ledger at `path`, durable on return: it appears under its name complete or not at all.

    Raises OSError and sqlite3.Error.
    """
    fresh = beside(path, ".new")
    remove_database(fresh)
    connection = connect(uri(fresh, "mode=rwc"))
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=NONE")
        for pragma in WRITER_PRAGMAS:
            connection.execute(pragma).fetchall()
        connection.execute("BEGIN")
        for statement in TABLES.values():
            connection.execute(statement)
        connection.execute(INSERT_META, (FORMAT, ledger_id, genesis(ledger_id)))
        connection.executemany(INSERT_SEGMENT, (row.values() for row in rows))
        connection.execute("COMMIT")
    finally:
        connection.close()
    sync(fresh)
    fresh.replace(path)
    sync(path.parent)
