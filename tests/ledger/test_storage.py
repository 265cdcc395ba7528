"""What only one kind of ledger can show: snapshots as files, a reader that a writer comes upon, failures on demand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentorch.errors import LedgerCorrupt, LedgerError, LedgerFailed, LedgerTooNew
from agentorch.ledger import chain, layout
from agentorch.ledger.memory import MemoryLedger
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.ledger.verify import verify_chain, verify_file
from tests.ledger import files
from tests.ledger.samples import contents, events, fill


def _snapshot_at(path: Path, body: bytes) -> Path:
    """Save a snapshot at the end of a ledger; returns its file."""

    async def scenario() -> Path:
        ledger = SqliteLedger(path)
        last = (await ledger.open()).last_seq
        await ledger.save_snapshot(last, "schema", "digest", body)
        await ledger.close()
        return max((path.parent / "ledger.db.snapshots").iterdir())

    return asyncio.run(scenario())


def _load(path: Path) -> tuple[int, str, bytes] | None:
    async def scenario() -> tuple[int, str, bytes] | None:
        ledger = SqliteLedger(path)
        await ledger.open()
        found = await ledger.load_snapshot("schema")
        await ledger.close()
        return found

    return asyncio.run(scenario())


def test_a_damaged_snapshot_is_passed_over_and_verify_names_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, [2])
    _snapshot_at(path, b"older" * 100)
    files.make(path, [2])
    newer = _snapshot_at(path, b"newer" * 100)
    assert _load(path) == (4, "digest", b"newer" * 100)
    whole = newer.read_bytes()
    for offset in range(len(whole)):
        newer.write_bytes(whole)
        files.flip(newer, offset, offset % 8)
        assert _load(path) == (2, "digest", b"older" * 100), offset
    report = asyncio.run(verify_file(path))
    assert (report.ok, report.last_seq, report.first_bad_seq) == (False, 4, 5)
    assert newer.name in report.why


def test_a_snapshot_of_another_history_is_never_used(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.db", tmp_path / "other.db"
    files.make(path, [2])
    _snapshot_at(path, b"state")
    files.make(other, [2])
    files.copy(other, path)
    assert _load(path) is None


def test_a_snapshot_from_beyond_the_end_is_dropped(tmp_path: Path) -> None:
    path, early = tmp_path / "ledger.db", tmp_path / "early.db"
    files.make(path, [2])
    files.copy(path, early)
    files.make(path, [2])
    snapshot = _snapshot_at(path, b"state")
    files.copy(early, path)
    assert _load(path) is None
    assert not snapshot.exists()


def test_a_reader_of_a_file_at_rest_notices_the_writer_that_comes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, [1] * 100)

    async def scenario() -> None:
        reader, writer = SqliteLedger(path, read_only=True), SqliteLedger(path)
        assert (await reader.open()).last_seq == 100
        await writer.open()
        seen = 0
        async for batch in reader.read():
            seen = batch[-1][0]
            if seen in (1, 50):
                await fill(writer, [20] * 60)  # enough for a checkpoint into the file that is being read
        assert seen >= 100
        assert [seq for seq, _ in await contents(reader, after=seen)] == list(range(seen + 1, 2501))
        assert (await verify_chain(reader)).ok
        await writer.close()
        assert (await reader.info()).segments == 220
        await reader.close()

    asyncio.run(scenario())
    assert asyncio.run(verify_file(path)).last_seq == 2500


def test_after_an_orderly_close_one_file_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, [3] * 20)
    assert {file.name for file in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock"}
    assert (path.stat().st_size - 28) % layout.PAGE_BYTES == 0, "whole pages, and the seal"


def test_reading_only_never_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, [3])

    async def scenario() -> None:
        ledger = SqliteLedger(path, read_only=True)
        await ledger.open()
        with pytest.raises(LedgerError, match="not open to write"):
            await ledger.commit(events(4, 1), 1)
        with pytest.raises(LedgerError, match="not open to write"):
            await ledger.save_snapshot(3, "schema", "digest", b"")
        await ledger.close()

    asyncio.run(scenario())
    with pytest.raises(LedgerError, match="no ledger"):
        files.open_and_read(tmp_path / "absent.db", read_only=True)
    assert {file.name for file in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock"}


@pytest.mark.parametrize("content", [b"hello", b"hello" * 2000])
def test_some_other_file_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(LedgerCorrupt):
            files.open_and_read(path, read_only=read_only)
    assert path.read_bytes() == content
    assert not asyncio.run(verify_file(path)).ok


def test_an_event_of_a_newer_version_refuses(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    body = b'[{"event":"quantum-leapt","at_ms":1}]'
    layout.make(path, "id", [chain.append("id", chain.start("id"), 1, 1, 1, body)])
    with pytest.raises(LedgerTooNew, match="sequence 1: unknown event 'quantum-leapt'"):
        files.open_and_read(path)
    report = asyncio.run(verify_file(path))
    assert (report.ok, report.first_bad_seq) == (False, 1)


@pytest.mark.parametrize("landed", [False, True])
def test_a_memory_ledger_fails_on_demand(landed: bool) -> None:
    async def scenario() -> None:
        ledger = MemoryLedger()
        await ledger.open()
        await fill(ledger, [2])
        ledger.fail_next_commit(landed=landed)
        for _ in range(2):
            with pytest.raises(LedgerFailed):
                await ledger.commit(events(3, 1), 1)
        assert (await ledger.info()).last_seq == 2
        assert len(await contents(ledger)) == 2
        await ledger.close()
        assert (await ledger.open()).last_seq == (3 if landed else 2)
        assert await ledger.commit(events(9, 1), 2) == (4 if landed else 3)

    asyncio.run(scenario())
