"""Events as bytes: nothing is skipped, nothing is guessed, and old shapes are lifted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentorch.errors import LedgerCorrupt, LedgerTooNew
from agentorch.ledger import codec
from agentorch.model.events import EVENT_NAMES, PoolPaused
from tests.ledger.samples import events


def _body(*values: dict[str, Any]) -> bytes:
    return msgspec.json.encode(list(values))


NEW = {"event": "pool-paused", "at_ms": 5, "pool": "gpu", "paused": True, "by": "alice"}
OLD = {"event": "pool-stopped", "at_ms": 5, "name": "gpu", "who": "alice"}
CASTS = {
    "pool-stopped": lambda old: {"event": "pool-halted", "at_ms": old["at_ms"], "pool": old["name"], "by": old["who"]},
    "pool-halted": lambda old: old | {"event": "pool-paused", "paused": True},
}


def test_events_come_back_as_they_were() -> None:
    number, body = codec.encode(events(1, 9, "grüße \x00 \U0001f600"))
    assert number == codec.JSON
    assert codec.decode(number, body, 1, 9) == events(1, 9, "grüße \x00 \U0001f600")


def test_a_body_is_keyed_json_that_says_what_each_event_is() -> None:
    _, body = codec.encode(events(1, 2))
    assert [value["event"] for value in msgspec.json.decode(body)] == ["pool-paused", "job-submitted"]


def test_an_unknown_event_refuses_and_is_named() -> None:
    with pytest.raises(LedgerTooNew, match=r"sequence 42: unknown event 'quantum-leapt'"):
        codec.decode(codec.JSON, _body(NEW, {"event": "quantum-leapt", "at_ms": 1}), 41, 2)


def test_an_unknown_encoding_refuses_and_is_named() -> None:
    with pytest.raises(LedgerTooNew, match=r"sequence 7: unknown encoding 9"):
        codec.decode(9, b"", 7, 1)


def test_an_old_event_is_lifted_step_by_step() -> None:
    lifted = PoolPaused(at_ms=5, pool="gpu", paused=True, by="alice")
    assert codec.decode(codec.JSON, _body(NEW, OLD), 1, 2, CASTS) == [lifted, lifted]
    with pytest.raises(LedgerTooNew, match="sequence 2: unknown event 'pool-stopped'"):
        codec.decode(codec.JSON, _body(NEW, OLD), 1, 2)


def test_a_listed_tag_is_lifted_once_even_where_it_decodes() -> None:
    casts = {"pool-paused": lambda old: old | {"by": old["by"] + "!"}}
    [event] = codec.decode(codec.JSON, _body(NEW), 1, 1, casts)
    assert event == PoolPaused(at_ms=5, pool="gpu", paused=True, by="alice!")


def test_no_old_tag_is_a_tag_of_today() -> None:
    assert not set(codec.UPCASTERS) & set(EVENT_NAMES.values())


@pytest.mark.parametrize(
    ("body", "count", "seq"),
    [
        (b"[", 1, 10),
        (b"\xff", 1, 10),
        (b"{}", 1, 10),
        (b"[1]", 1, 10),
        (_body(NEW), 2, 10),
        (_body(NEW, {"event": "pool-paused"}), 2, 11),
        (_body(NEW, NEW | {"at_ms": "soon"}), 2, 11),
    ],
)
def test_a_body_that_is_no_array_of_events_is_corrupt_where_it_begins_to_be(body: bytes, count: int, seq: int) -> None:
    with pytest.raises(LedgerCorrupt) as caught:
        codec.decode(codec.JSON, body, 10, count)
    assert caught.value.seq == seq
