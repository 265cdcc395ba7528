"""Random operations on both ledgers: equal answers, always."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentorch.ledger.memory import MemoryLedger
from agentorch.ledger.sqlite import SqliteLedger
from tests.ledger.samples import contents, events

_seqs = st.integers(min_value=0, max_value=60)
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 12), st.text(max_size=400)),
        st.tuples(st.just("read"), _seqs, st.none() | _seqs),
        st.tuples(st.just("reopen"), st.none(), st.none()),
        st.tuples(st.just("save"), st.sampled_from(["x", "y"]), st.binary(max_size=50)),
        st.tuples(st.just("load"), st.sampled_from(["x", "y"]), st.none()),
    ),
    max_size=25,
)


async def _apply(ledger: MemoryLedger | SqliteLedger, kind: str, one: object, two: object) -> object:
    match kind, one, two:
        case "commit", int(count), str(text):
            return await ledger.commit(events(1, count, text), count)
        case "read", int(after), upto:
            assert upto is None or isinstance(upto, int)
            return await contents(ledger, after, upto), [len(batch) async for batch in ledger.read(after, upto)]
        case "reopen", _, _:
            await ledger.close()
            info = await ledger.open()
            return info.last_seq, info.segments
        case "save", str(schema), bytes(body):
            last = (await ledger.info()).last_seq
            if last:
                await ledger.save_snapshot(last, schema, "digest", body)
            return last
        case "load", str(schema), _:
            return await ledger.load_snapshot(schema)
    raise AssertionError(kind)


async def _compare(operations: list[tuple[str, object, object]], path: Path) -> None:
    sqlite, memory = SqliteLedger(path), MemoryLedger()
    await sqlite.open()
    await memory.open()
    try:
        for operation in operations:
            assert await _apply(sqlite, *operation) == await _apply(memory, *operation), operation
        assert await contents(sqlite) == await contents(memory)
    finally:
        await sqlite.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_operations)
def test_both_ledgers_answer_alike(operations: list[tuple[str, object, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(operations, Path(folder) / "ledger.db"))
