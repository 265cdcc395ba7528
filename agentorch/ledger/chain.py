"""The hash chain, as pure functions. Every integer has a fixed width and every string a length before it, so that no
two different segments are the same bytes to the hash."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import msgspec

from agentorch.errors import LedgerCorrupt
from agentorch.ledger.contract import Segment

DOMAIN = b"agentorch ledger 1"
HASH_BYTES = 32

_LENGTH = struct.Struct(">I")
_NUMBERS = struct.Struct(">QQqI")  # first, count, at_ms, codec
_COUNT_MAX = 2**32


class Row(msgspec.Struct, frozen=True):
    """One segment as it is stored. The order is that of the columns."""

    first: int
    count: int
    at_ms: int
    codec: int
    prev_hash: bytes
    body_hash: bytes
    hash: bytes
    body: bytes

    def values(self) -> tuple[Any, ...]:
        return msgspec.structs.astuple(self)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A place between two segments: what the next one must follow."""

    last_seq: int
    head: bytes  # hash of the segment before, or the genesis
    segments: int


def _sized(part: bytes) -> bytes:
    return _LENGTH.pack(len(part)) + part


def genesis(ledger_id: str) -> bytes:
    """What the first segment points back to: sha256(domain, ledger id)."""
    return hashlib.sha256(_sized(DOMAIN) + _sized(ledger_id.encode())).digest()


def start(ledger_id: str) -> Position:
    """The position before the first segment."""
    return Position(last_seq=0, head=genesis(ledger_id), segments=0)


def link(ledger_id: str, prev_hash: bytes, first: int, count: int, at_ms: int, codec: int, body_hash: bytes) -> bytes:
    """The hash of a segment: sha256(domain, ledger id, prev_hash, first, count, at_ms, codec, body_hash)."""
    numbers = _NUMBERS.pack(first, count, at_ms, codec)
    said = _sized(DOMAIN) + _sized(ledger_id.encode()) + prev_hash + numbers + body_hash
    return hashlib.sha256(said).digest()


def append(ledger_id: str, at: Position, count: int, at_ms: int, codec: int, body: bytes) -> Row:
    """The segment that follows a position."""
    body_hash = hashlib.sha256(body).digest()
    first = at.last_seq + 1
    hashed = link(ledger_id, at.head, first, count, at_ms, codec, body_hash)
    return Row(first, count, at_ms, codec, at.head, body_hash, hashed, body)


def after(at: Position, row: Row) -> Position:
    """The position behind a row that is known to follow `at`."""
    return Position(last_seq=row.first + row.count - 1, head=row.hash, segments=at.segments + 1)


def segment(row: Row) -> Segment:
    return Segment(
        first=row.first,
        count=row.count,
        at_ms=row.at_ms,
        codec=row.codec,
        prev_hash=row.prev_hash,
        hash=row.hash,
        body=row.body,
    )


def flaw(ledger_id: str, at: Position, row: Row, body_hash: bytes) -> str | None:
    """Why a row can't be the segment that follows `at`; None when it is. `body_hash` is the hash of the body read now.

    Damage may have changed the type of a stored value, so nothing is assumed about them.
    """
    numbers, parts = row.values()[:4], row.values()[4:]
    if not all(isinstance(number, int) for number in numbers) or not all(isinstance(part, bytes) for part in parts):
        return "a stored value has the wrong type"
    if row.first != at.last_seq + 1:
        return f"a segment of sequence {row.first} stands where {at.last_seq + 1} must follow"
    if row.prev_hash != at.head:
        return "the segment does not point back to the one before it"
    if row.body_hash != body_hash:
        return "the body is not the one that was written"
    if not 1 <= row.count < _COUNT_MAX or not 0 <= row.codec < _COUNT_MAX:
        return "the segment's numbers are out of range"
    if row.hash != link(ledger_id, row.prev_hash, row.first, row.count, row.at_ms, row.codec, body_hash):
        return "the segment's hash does not follow from its parts"
    return None


def follow(ledger_id: str, at: Position, row: Row, body_hash: bytes) -> Position:
    """The position behind a stored row. Raises LedgerCorrupt with the first sequence that can't be trusted."""
    why = flaw(ledger_id, at, row, body_hash)
    if why is not None:
        raise LedgerCorrupt(at.last_seq + 1, why)
    return after(at, row)
