"""The hash is as the contract writes it, and no part of a segment can change without it."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest

from agentorch.errors import LedgerCorrupt
from agentorch.ledger import chain


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def test_the_hash_is_written_out_here_a_second_time() -> None:
    name = struct.pack(">I", 18) + b"agentorch ledger 1" + struct.pack(">I", 2) + b"id"
    genesis = _sha(name)
    row = chain.append("id", chain.start("id"), 3, -5, 1, b"body")
    assert (row.first, row.prev_hash, row.body_hash) == (1, genesis, _sha(b"body"))
    assert row.hash == _sha(name, genesis, struct.pack(">QQqI", 1, 3, -5, 1), _sha(b"body"))
    second = chain.append("id", chain.after(chain.start("id"), row), 1, 0, 1, b"more")
    assert (second.first, second.prev_hash) == (4, row.hash)


def test_two_ledgers_never_share_a_chain() -> None:
    assert chain.genesis("a") != chain.genesis("b")
    one, other = (chain.append(name, chain.start("a"), 1, 0, 1, b"") for name in ("a", "b"))
    assert one.hash != other.hash


@pytest.mark.parametrize(
    "change",
    [
        {"first": 2},
        {"count": 4},
        {"count": 0},
        {"count": 2**70},
        {"count": None},
        {"at_ms": 6},
        {"codec": 2},
        {"codec": -1},
        {"prev_hash": bytes(32)},
        {"body_hash": bytes(32)},
        {"hash": bytes(32)},
        {"body": b"bodY"},
        {"body": "body"},
    ],
)
def test_every_change_of_a_segment_is_found_at_its_first_sequence(change: dict[str, object]) -> None:
    begin = chain.start("id")
    row = chain.append("id", begin, 3, 5, 1, b"body")
    assert chain.follow("id", begin, row, _sha(row.body)) == chain.after(begin, row)
    bad = msgspec.structs.replace(row, **change)
    body = bad.body if isinstance(bad.body, bytes) else b""
    with pytest.raises(LedgerCorrupt) as caught:
        chain.follow("id", begin, bad, _sha(body))
    assert caught.value.seq == 1
