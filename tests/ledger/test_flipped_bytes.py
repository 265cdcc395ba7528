"""A flipped bit anywhere in a ledger is found, and the first sequence that can't be trusted is named."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentorch.errors import LedgerCorrupt
from agentorch.ledger.verify import ChainReport, verify_file
from tests.ledger import files
from tests.ledger.samples import event

COUNTS = [1, 3, 2, 30, 1, 5]  # the fourth is too large for one page


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.db"
    files.make(path, COUNTS, "x" * 200)
    return path


def _verify(path: Path) -> ChainReport:
    return asyncio.run(verify_file(path))


def _segment_bytes(path: Path) -> Iterator[tuple[int, int]]:
    """(offset in the file, first sequence of its segment) of every 5th byte of every segment's hashes and body."""
    data = path.read_bytes()
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT first, prev_hash, body_hash, hash, substr(body, 1, 150) FROM segments")
    for first, *parts in rows.fetchall():
        stored = b"".join(parts)
        begin = data.index(stored)
        yield from ((begin + index, first) for index in range(0, len(stored), 5))
    connection.close()


def test_the_whole_file_verifies(whole: Path) -> None:
    report = _verify(whole)
    assert report.ok, report.why
    assert (report.last_seq, report.segments) == (sum(COUNTS), len(COUNTS))


def test_a_flip_in_a_segment_is_named_by_its_first_sequence(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    damaged = tmp_path / "damaged.db"
    tried = 0
    for offset, first in _segment_bytes(whole):
        files.copy(whole, damaged)
        files.flip(damaged, offset, rng.randrange(8))
        report = _verify(damaged)
        assert not report.ok
        assert report.first_bad_seq == first, (offset, report)
        assert report.last_seq == first - 1
        tried += 1
    assert tried > 200


def test_a_flip_anywhere_in_a_closed_file_is_found(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(2)
    damaged = tmp_path / "damaged.db"
    size = whole.stat().st_size
    for offset in sorted({*range(100), *rng.sample(range(size), 500), *range(size - 28, size)}):
        files.copy(whole, damaged)
        files.flip(damaged, offset, rng.randrange(8))
        report = _verify(damaged)
        assert not report.ok, offset
        assert report.first_bad_seq is not None
        assert report.why


def test_a_flip_in_a_file_that_was_not_closed_is_found_or_touches_no_event(tmp_path: Path) -> None:
    """Unsealed, bytes that mean nothing may change unseen; whatever is read is still exactly what was written."""
    path, damaged = tmp_path / "whole.db", tmp_path / "damaged.db"
    files.make_as_killed(path, COUNTS * 3, "x" * 200)
    files.open_and_read(path)  # moves the log into the file, and seals it
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 4096 * 4096])
    expected = [(seq, event(seq, "x" * 200)) for seq in range(1, 3 * sum(COUNTS) + 1)]
    rng = random.Random(3)
    found = 0
    for offset in rng.sample(range(path.stat().st_size), 300):
        files.copy(path, damaged)
        files.flip(damaged, offset, rng.randrange(8))
        try:
            assert files.open_and_read(damaged)[1] == expected, offset
        except LedgerCorrupt:
            found += 1
    assert found > 100


def test_a_flip_in_the_log_of_a_killed_writer_loses_no_earlier_commit(tmp_path: Path) -> None:
    """Damage to the very last commit can't be told from a torn one; damage to any other must refuse."""
    path, damaged = tmp_path / "whole.db", tmp_path / "damaged.db"
    counts = [2] * 40
    info = files.make_as_killed(path, counts, "x" * 50)
    size = path.with_name("whole.db-wal").stat().st_size
    rng = random.Random(4)
    refused = 0
    for offset in sorted({*range(40), *rng.sample(range(size), 260)}):
        files.copy(path, damaged)
        files.flip(damaged.with_name("damaged.db-wal"), offset, rng.randrange(8))
        try:
            assert files.open_and_read(damaged)[0].last_seq >= info.last_seq - counts[-1], offset
        except LedgerCorrupt as error:
            assert error.seq <= info.last_seq
            refused += 1
    assert refused > 200


def test_a_ledger_that_does_not_verify_is_left_as_it_was_found(whole: Path) -> None:
    offset = whole.read_bytes().rindex(b"x" * 200)
    files.flip(whole, offset, 0)
    before = whole.read_bytes()
    with pytest.raises(LedgerCorrupt):
        files.open_and_read(whole)
    assert whole.read_bytes() == before
    assert not whole.with_name("whole.db-wal").exists()
