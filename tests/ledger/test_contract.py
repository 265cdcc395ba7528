"""What every ledger keeps, whatever it stores in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from agentorch.errors import LedgerError
from agentorch.ledger.contract import Ledger
from agentorch.ledger.memory import MemoryLedger
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.ledger.verify import verify_chain
from agentorch.simulation.faults.disk import Disk, DiskLedger
from tests.ledger.samples import contents, event, events, fill

Scenario = Callable[[Ledger], Coroutine[None, None, None]]


@pytest.fixture(params=["sqlite", "memory", "disk"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Plays a scenario on an open, empty ledger and closes it."""
    ledgers: dict[str, Callable[[], Ledger]] = {
        "sqlite": lambda: SqliteLedger(tmp_path / "ledger.db"),
        "memory": MemoryLedger,
        "disk": lambda: DiskLedger(Disk()),
    }
    ledger = ledgers[request.param]()

    async def whole(scenario: Scenario) -> None:
        await ledger.open()
        try:
            await scenario(ledger)
        finally:
            await ledger.close()

    return lambda scenario: asyncio.run(whole(scenario))


def test_a_new_ledger_is_empty(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        info = await ledger.info()
        assert (info.last_seq, info.segments) == (0, 0)
        assert len(bytes.fromhex(info.head_hash)) == 32
        assert await contents(ledger) == []
        assert await ledger.load_snapshot("schema") is None

    play(scenario)


def test_what_is_committed_is_read_back_in_order(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        assert await ledger.commit(events(1, 3), 10) == 3
        assert await ledger.commit(events(4, 1), 11) == 4
        assert await contents(ledger) == [(seq, event(seq)) for seq in (1, 2, 3, 4)]
        assert [len(batch) async for batch in ledger.read()] == [3, 1]
        info = await ledger.info()
        assert (info.last_seq, info.segments) == (4, 2)

    play(scenario)


def test_every_window_of_sequences(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        last = await fill(ledger, [1, 4, 2, 1, 3])
        for after in range(last + 2):
            for upto in [None, *range(last + 3)]:
                high = last if upto is None else min(upto, last)
                expected = [(seq, event(seq)) for seq in range(after + 1, high + 1)]
                assert await contents(ledger, after, upto) == expected, (after, upto)

    play(scenario)


def test_a_commit_of_nothing_writes_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await ledger.commit(events(1, 2), 1)
        before = await ledger.info()
        assert await ledger.commit([], 2) == 2
        assert await ledger.info() == before

    play(scenario)


def test_it_goes_on_where_it_was_closed(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await fill(ledger, [2, 5])
        before = await ledger.info()
        await ledger.close()
        assert await ledger.open() == before
        await ledger.commit(events(8, 1), 3)
        assert [seq for seq, _ in await contents(ledger)] == list(range(1, 9))

    play(scenario)


def test_commits_at_once_take_turns(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        lasts = await asyncio.gather(*[ledger.commit(events(10 * n, 3), n) for n in range(20)])
        assert sorted(lasts) == list(range(3, 63, 3))
        assert (await verify_chain(ledger)).ok

    play(scenario)


def test_a_reader_sees_nothing_of_commits_that_came_after_its_end(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await fill(ledger, [1] * 50)
        seen = []
        async for batch in ledger.read(upto=50):
            seen += batch
            await ledger.commit([event(99)], 99)
        assert [seq for seq, _ in seen] == list(range(1, 51))

    play(scenario)


def test_two_openings_of_one_ledger_are_refused(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        with pytest.raises(LedgerError):
            await ledger.open()
        await ledger.commit([event(1)], 1)
        assert await contents(ledger) == [(1, event(1))]

    play(scenario)


def test_closed_means_closed(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await ledger.close()
        with pytest.raises(LedgerError):
            await ledger.commit([event(1)], 1)
        with pytest.raises(LedgerError):
            await ledger.info()
        with pytest.raises(LedgerError):
            await contents(ledger)

    play(scenario)


def test_snapshots_the_newest_of_its_schema_is_found(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        for number in range(1, 5):
            last = await fill(ledger, [2])
            await ledger.save_snapshot(last, "new" if number > 3 else "old", f"digest-{number}", b"body" * number)
        assert await ledger.load_snapshot("new") == (8, "digest-4", b"body" * 4)
        assert await ledger.load_snapshot("old") == (6, "digest-3", b"body" * 3)
        assert await ledger.load_snapshot("unheard of") is None
        await ledger.close()
        await ledger.open()
        assert await ledger.load_snapshot("new") == (8, "digest-4", b"body" * 4)

    play(scenario)


def test_only_two_snapshots_are_kept(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        for schema in ("a", "b", "c"):
            await ledger.save_snapshot(await fill(ledger, [1]), schema, "digest", b"body")
        assert await ledger.load_snapshot("a") is None
        assert await ledger.load_snapshot("b") is not None

    play(scenario)


def test_a_snapshot_of_no_commit_is_refused(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await fill(ledger, [3])
        for seq in (1, 2, 4):
            with pytest.raises(ValueError, match=f"sequence {seq}"):
                await ledger.save_snapshot(seq, "schema", "digest", b"")

    play(scenario)


def test_a_whole_ledger_verifies(play: Callable[[Scenario], None]) -> None:
    async def scenario(ledger: Ledger) -> None:
        await fill(ledger, [3, 1, 7])
        info = await ledger.info()
        report = await verify_chain(ledger)
        assert report.ok
        assert (report.last_seq, report.segments, report.head_hash) == (11, 3, info.head_hash)

    play(scenario)
