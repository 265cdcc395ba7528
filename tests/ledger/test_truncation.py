"""A ledger cut short opens with every whole commit before the cut, and says what it did."""

from __future__ import annotations

import logging
import random
import sqlite3
from pathlib import Path

import pytest

from agentorch.errors import LedgerCorrupt
from agentorch.ledger import chain, layout
from tests.ledger import files
from tests.ledger.samples import event

COUNTS = [1, 3, 2, 30, 1, 5, 60, 2, 2, 8] * 3
TEXT = "x" * 50


def _lasts(counts: list[int]) -> list[int]:
    """The sequence after each number of whole commits, 0 first."""
    return [sum(counts[:n]) for n in range(len(counts) + 1)]


def _whole_before(data: bytes, path: Path, size: int) -> int:
    """The last sequence of the commits whose every piece stands before `size`. A piece that a page's end divides
    stands nowhere in the whole file, and says nothing."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT first, count, prev_hash, body_hash, hash, body FROM segments").fetchall()
    connection.close()
    last = 0
    for first, count, *parts in rows:
        stored = b"".join(parts)
        pieces = [stored[begin : begin + 150] for begin in range(0, len(stored), 25)]
        if any(0 <= data.find(piece) > size - len(piece) for piece in pieces):
            return last
        last = int(first) + int(count) - 1
    return last


def test_a_cut_file_opens_with_every_whole_commit_before_the_cut(tmp_path: Path) -> None:
    path, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    files.make(path, COUNTS, TEXT)
    data = path.read_bytes()
    rng = random.Random(5)
    sizes = sorted({len(data) - 28, len(data) - 1, *rng.sample(range(3 * 4096, len(data)), 60)})
    for size in sizes:
        files.copy(path, cut)
        cut.write_bytes(data[:size])
        info, read = files.open_and_read(cut)
        assert read == [(seq, event(seq, TEXT)) for seq in range(1, info.last_seq + 1)], size
        assert info.last_seq in _lasts(COUNTS)
        assert info.last_seq == _whole_before(data, path, size), size
        assert files.open_and_read(cut)[0] == info, "and stays so"


def test_the_damaged_file_is_kept_and_a_person_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, COUNTS, TEXT)
    data = path.read_bytes()[: path.stat().st_size * 2 // 3]
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        info, _ = files.open_and_read(path)
    assert f"recovered up to sequence {info.last_seq}" in caplog.text
    assert path.with_name("ledger.db.damaged-1").read_bytes() == data


def test_a_recovered_ledger_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, COUNTS, TEXT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recovered, _ = files.open_and_read(path)
    assert 0 < recovered.last_seq < sum(COUNTS)
    info = files.make(path, [4], TEXT)
    assert info.ledger_id == recovered.ledger_id
    assert info.last_seq == recovered.last_seq + 4
    assert [seq for seq, _ in files.open_and_read(path)[1]] == list(range(1, info.last_seq + 1))


def test_read_only_a_cut_file_is_named_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, COUNTS, TEXT)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(LedgerCorrupt, match="cut short") as caught:
        files.open_and_read(path, read_only=True)
    assert path.read_bytes() == data[: len(data) // 2]
    assert files.open_and_read(path)[0].last_seq == caught.value.seq - 1


@pytest.mark.parametrize("size", [0, 1, 99, 100, 4096, 5000])
def test_a_file_cut_before_its_first_commit_refuses(tmp_path: Path, size: int) -> None:
    """Beginning anew in its place would pass the loss of everything for a first start."""
    path = tmp_path / "ledger.db"
    files.make(path, COUNTS, TEXT)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(LedgerCorrupt) as caught:
        files.open_and_read(path)
    assert caught.value.seq == 1
    assert path.stat().st_size == size


def test_a_cut_log_opens_with_every_commit_before_the_cut(tmp_path: Path) -> None:
    path, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    counts = [2] * 60
    info = files.make_as_killed(path, counts, TEXT)
    size = path.with_name("whole.db-wal").stat().st_size
    rng = random.Random(6)
    seen = set()
    for length in sorted({0, 31, 32, size, *rng.sample(range(size), 40)}):
        files.copy(path, cut)
        log = cut.with_name("cut.db-wal")
        log.write_bytes(log.read_bytes()[:length])
        found, read = files.open_and_read(cut)
        assert found.last_seq in _lasts(counts)
        assert read == [(seq, event(seq, TEXT)) for seq in range(1, found.last_seq + 1)]
        seen.add(found.last_seq)
    assert {0, info.last_seq} < seen


def test_a_cut_file_with_its_log_gets_the_pages_that_the_log_holds(tmp_path: Path) -> None:
    path, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    counts = [2] * 60
    files.make(path, COUNTS, TEXT)
    path.rename(tmp_path / "original.db")
    info = files.make_as_killed(path, counts, TEXT)
    size = path.stat().st_size
    for length in range(3 * 4096, size, size // 9):
        files.copy(path, cut)
        cut.write_bytes(cut.read_bytes()[:length])
        found, read = files.open_and_read(cut)
        assert read == [(seq, event(seq, TEXT)) for seq in range(1, found.last_seq + 1)]
        assert found.last_seq in [*_lasts(COUNTS), *range(sum(COUNTS), info.last_seq + 1, 2)]


def test_a_recovery_interrupted_anywhere_is_finished_by_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, COUNTS, TEXT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    row = chain.append("recovered", chain.start("recovered"), 1, 0, 1, b"[]")
    layout.make(tmp_path / "ledger.db.recovered", "recovered", [row])
    path.with_name("ledger.db-wal").write_bytes(b"a log of the damaged file")
    with pytest.raises(LedgerCorrupt, match="0 events and says 1"):
        files.open_and_read(path)  # the stand-in's body is no event, so this is the stand-in
    assert not (tmp_path / "ledger.db.recovered").exists()
    assert (tmp_path / "ledger.db.damaged-1-wal").read_bytes() == b"a log of the damaged file"
