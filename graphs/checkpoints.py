"""Where approval threads are kept: a SQLite file, or memory. A cache that may be lost at any time.

A file that can't be used is moved aside (`NAME.unusable`, only the last one is kept) and a new one is begun; where
that fails too, memory serves. The caller learns what was wrong and rebuilds the threads from the ledger.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentorch.tools.text import describe

logger = logging.getLogger(__name__)


class Checkpoints:
    """Owns the saver and its connection. `path` None means memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: aiosqlite.Connection | None = None
        self.saver: BaseCheckpointSaver[str] = _memory()

    async def open(self) -> str:
        """Begin to serve. Returns what was wrong with the file that was there, "" when nothing was."""
        if self._path is None:
            return ""
        try:
            await self._connect(self._path)
            return ""
        except (sqlite3.Error, OSError, ValueError) as error:
            return await self._begin_anew(self._path, describe(error))

    async def renew(self, why: str) -> str:
        """Give up what is stored and begin anew. Returns `why` with what came of it, for people."""
        await self.close()
        if self._path is None:
            return why
        return await self._begin_anew(self._path, why)

    async def threads(self) -> set[str]:
        """Ids of all stored threads."""
        if self._connection is not None:
            rows = await self._connection.execute_fetchall("SELECT DISTINCT thread_id FROM checkpoints")
            return {str(row[0]) for row in rows}
        return {found.config["configurable"]["thread_id"] async for found in self.saver.alist(None)}

    async def delete(self, thread: str) -> None:
        await self.saver.adelete_thread(thread)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self.saver = _memory()
        if connection is not None:
            await _close(connection)

    async def _connect(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = aiosqlite.connect(path)
        try:
            await connection
            # A lost or torn file costs a rebuild and nothing else, so a commit need not wait for the disk.
            await connection.execute("PRAGMA synchronous=OFF")
            saver = AsyncSqliteSaver(connection, serde=_serializer())
            await saver.setup()
            await _check(connection)
        except BaseException:
            await _close(connection)
            raise
        self._connection, self.saver = connection, saver

    async def _begin_anew(self, path: Path, why: str) -> str:
        try:
            aside = _move_aside(path)
            await self._connect(path)
            return f"{path}: {why}; moved to {aside.name}, and a new file was begun"
        except (sqlite3.Error, OSError, ValueError) as error:
            self.saver = _memory()
            return f"{path}: {why}; a new file failed too ({describe(error)}): threads are kept in memory"


def thread_config(thread: str, steps_max: int) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": steps_max}


def _serializer() -> JsonPlusSerializer:
    # Strict whatever LANGGRAPH_STRICT_MSGPACK says: a stored checkpoint can't name types to be built from it.
    return JsonPlusSerializer(allowed_msgpack_modules=None)


def _memory() -> InMemorySaver:
    return InMemorySaver(serde=_serializer())


async def _check(connection: aiosqlite.Connection) -> None:
    """Raises sqlite3.DatabaseError when the file is damaged, or its tables are not those that the saver reads."""
    rows = await connection.execute_fetchall("PRAGMA quick_check(1)")
    found = [str(row[0]) for row in rows]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(f"damaged: {'; '.join(found)}")
    await connection.execute_fetchall(
        "SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
        " FROM checkpoints LIMIT 1"
    )
    await connection.execute_fetchall(
        "SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value"
        " FROM writes LIMIT 1"
    )


async def _close(connection: aiosqlite.Connection) -> None:
    try:
        await connection.close()
    except (sqlite3.Error, ValueError) as error:
        logger.warning("a checkpoint connection did not close in order: %s", describe(error))


def _move_aside(path: Path) -> Path:
    """The file with its write-ahead log; an older one that was moved aside is replaced."""
    aside = path.with_name(f"{path.name}.unusable")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
    return aside
