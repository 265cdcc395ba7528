"""Ledger files to damage: filled, left as after a kill, cut, flipped."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from agentorch.ledger.contract import LedgerInfo
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model.events import Event
from tests.ledger.samples import contents, fill


def make(path: Path, counts: list[int], text: str = "") -> LedgerInfo:
    """A ledger that was closed in order."""

    async def scenario() -> LedgerInfo:
        ledger = SqliteLedger(path)
        await ledger.open()
        await fill(ledger, counts, text)
        info = await ledger.info()
        await ledger.close()
        return info

    return asyncio.run(scenario())


def make_as_killed(path: Path, counts: list[int], text: str = "") -> LedgerInfo:
    """A ledger whose writer was killed between two commits: the file and its log, as they lie while it is open."""
    original = path.with_name("original.db")

    async def scenario() -> LedgerInfo:
        ledger = SqliteLedger(original)
        await ledger.open()
        await fill(ledger, counts, text)
        copy(original, path)
        info = await ledger.info()
        await ledger.close()
        return info

    return asyncio.run(scenario())


def copy(source: Path, target: Path) -> None:
    """The file and its log, in place of whatever was there."""
    for suffix in ("", "-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        part = source.with_name(source.name + suffix)
        if part.exists():
            shutil.copyfile(part, target.with_name(target.name + suffix))


def flip(path: Path, offset: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def open_and_read(path: Path, *, read_only: bool = False) -> tuple[LedgerInfo, list[tuple[int, Event]]]:
    """What a start finds, after one more open and close if it writes. Raises what opening and reading raise."""

    async def scenario() -> tuple[LedgerInfo, list[tuple[int, Event]]]:
        ledger = SqliteLedger(path, read_only=read_only)
        info = await ledger.open()
        try:
            return info, await contents(ledger)
        finally:
            await ledger.close()

    return asyncio.run(scenario())
