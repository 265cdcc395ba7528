"""The power goes at a random moment: nothing acknowledged is lost. With a weaker setting some is, and it shows."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path
from typing import cast

from agentorch.errors import LedgerCorrupt
from agentorch.ledger.sqlite import SqliteLedger
from tests.ledger import files
from tests.ledger.power import Operation, RecordedConnection, Recorder, image
from tests.ledger.samples import event, events

COMMITS = 60
IMAGES = 150


def _record(path: Path, synchronous: str) -> tuple[dict[str, bytes], list[Operation]]:
    """(the files before, everything that happened to them while events were committed)"""
    files.make(path, [1])
    start = {path.name: path.read_bytes()[: path.stat().st_size // 4096 * 4096]}  # the seal comes off before all else
    recorder = Recorder(f"recorder-{synchronous}")
    rng = random.Random(8)
    connections: list[RecordedConnection] = []

    def connect(uri: str) -> sqlite3.Connection:
        connections.append(RecordedConnection(recorder, uri, synchronous))
        return cast(sqlite3.Connection, connections[-1])

    async def scenario() -> None:
        ledger = SqliteLedger(path, connect=connect)
        last = (await ledger.open()).last_seq
        recorder.acknowledge(last)
        for at_ms in range(COMMITS):
            last = await ledger.commit(events(last + 1, rng.randrange(1, 40), "x" * rng.randrange(200)), at_ms)
            recorder.acknowledge(last)
        await ledger.close()

    asyncio.run(scenario())
    recorder.unregister()
    assert "PRAGMA synchronous=FULL" in connections[0].asked, "the ledger asks for what this test takes away"
    return start, list(recorder.operations)


def _open(path: Path) -> int:
    """The last sequence of a crashed ledger, which holds a whole run of commits. Raises LedgerCorrupt."""
    info, read = files.open_and_read(path)
    assert [seq for seq, _ in read] == list(range(1, info.last_seq + 1))
    assert all(found.at_ms == event(seq).at_ms for seq, found in read)
    return info.last_seq


def _lost(path: Path, start: dict[str, bytes], operations: list[Operation], images: int) -> tuple[list[int], int]:
    """(how many acknowledged events each image has lost, how many images refused to open)"""
    rng = random.Random(9)
    crashed = path.with_name("crashed")
    lost = []
    refused = 0
    first = next(n for n, operation in enumerate(operations) if operation.kind == "acknowledge")
    for _ in range(images):
        disk, acknowledged = image(start, operations, rng.randrange(first + 1, len(operations) + 1), rng)
        crashed.mkdir(exist_ok=True)
        for name, content in disk.items():
            if not name.endswith("-shm"):
                (crashed / name).write_bytes(content)
        try:
            last = _open(crashed / path.name)
        except LedgerCorrupt as error:
            refused += 1
            last = error.seq - 1
        lost.append(max(0, acknowledged - last))
        shutil.rmtree(crashed)
    return lost, refused


def test_no_power_cut_loses_an_acknowledged_event(tmp_path: Path) -> None:
    start, operations = _record(tmp_path / "ledger.db", "FULL")
    kinds = {(operation.kind, operation.file) for operation in operations}
    assert {
        ("write", "ledger.db"),
        ("write", "ledger.db-wal"),
        ("sync", "ledger.db"),
        ("sync", "ledger.db-wal"),
    } <= kinds
    lost, refused = _lost(tmp_path / "ledger.db", start, operations, IMAGES)
    assert (sum(lost), refused) == (0, 0)


def test_a_weaker_setting_loses_some(tmp_path: Path) -> None:
    start, operations = _record(tmp_path / "ledger.db", "NORMAL")
    lost, _ = _lost(tmp_path / "ledger.db", start, operations, IMAGES // 3)
    assert sum(count > 0 for count in lost) > IMAGES // 12
