"""Real processes that are killed, starved of room, or in each other's way."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentorch.errors import LedgerLocked
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.ledger.verify import verify_file
from tests.ledger import files
from tests.ledger.samples import event

ROOT = Path(__file__).parents[2]


def _child(mode: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ledger.child", mode, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    rng = random.Random(7)
    acknowledged = 0
    for _ in range(6):
        with _child("write-forever", path) as writer:
            assert writer.stdout is not None
            for _ in range(rng.randrange(1, 150)):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            for line in writer.stdout.read().split("\n")[:-1]:  # said before it died, and not looked at yet
                acknowledged = int(line)
        report = asyncio.run(verify_file(path))
        assert report.ok, report.why
        assert report.last_seq >= acknowledged
        info, read = files.open_and_read(path)
        assert info.last_seq == report.last_seq
        assert read == [(seq, event(seq, "x" * 80)) for seq in range(1, info.last_seq + 1)]


def test_the_first_failed_commit_ends_a_ledger_also_when_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with _child("write-until-full", path) as writer:
        said = writer.communicate()[0].splitlines()
    last = int(said[0])
    assert last > 0
    assert f"sequence {last + 1} was not committed" in said[1]
    assert said[2] == "an earlier commit failed; close this ledger and open it again"
    assert said[3:] == [str(last), "closed"]
    info, read = files.open_and_read(path)
    assert info.last_seq >= last
    assert [seq for seq, _ in read] == list(range(1, info.last_seq + 1))


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with _child("hold", path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(LedgerLocked, match=f"process {holder.pid} "):
            files.open_and_read(path)
        assert files.open_and_read(path, read_only=True)[1] == []
        holder.communicate()
    assert files.open_and_read(path)[0].last_seq == 0, "the lock ended with its holder"


def test_a_reader_follows_a_living_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    files.make(path, [1])

    async def follow(writer: subprocess.Popen[str]) -> None:
        assert writer.stdout is not None
        reader = SqliteLedger(path, read_only=True)
        await reader.open()
        seen = 0
        for _ in range(300):
            acknowledged = int(await asyncio.to_thread(writer.stdout.readline))
            async for batch in reader.read(after=seen):
                for seq, _ in batch:
                    assert seq == seen + 1
                    seen = seq
            assert seen >= acknowledged
            assert (await reader.info()).last_seq >= seen
        await reader.close()

    with _child("write-forever", path) as writer:
        try:
            asyncio.run(follow(writer))
        finally:
            writer.kill()


@pytest.fixture
def their_folder() -> Iterator[Path]:
    """A folder that everybody may read; pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        Path(folder).chmod(0o755)


def _read_as_nobody(path: Path) -> str:
    path.parent.chmod(0o555)
    with _child("read-as-nobody", path) as reader:
        return reader.communicate()[0]


def test_a_closed_ledger_is_read_without_any_right_to_write(their_folder: Path) -> None:
    path = their_folder / "ledger.db"
    files.make(path, [3, 4])
    before = sorted(their_folder.iterdir())
    assert _read_as_nobody(path) == "7\n"
    assert sorted(their_folder.iterdir()) == before, "reading leaves nothing behind"


def test_a_log_that_needs_recovery_and_may_not_is_said_so(their_folder: Path, tmp_path: Path) -> None:
    files.make_as_killed(tmp_path / "killed.db", [3, 4])
    path = their_folder / "ledger.db"
    files.copy(tmp_path / "killed.db", path)
    assert "its folder must be writable, or copy both" in _read_as_nobody(path)
