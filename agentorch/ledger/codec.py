"""Events as bytes and back. A segment's codec number says how its body is written; number 1 is a JSON array of events,
keyed, so that a reviewer can read it with no code at all.

An unknown event is never skipped: it refuses. Events of an older
version whose shape is gone are lifted by an up-caster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentorch.errors import LedgerCorrupt, LedgerTooNew
from agentorch.model.events import EVENT_NAMES, Event

JSON = 1

#: Old tag -> what turns such an event, as a plain object, into one of today (its "event" key included).
UPCASTERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}

_TAG = "event"
_KNOWN = frozenset(EVENT_NAMES.values())
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Event]).decode
_decode_raw = msgspec.json.Decoder(list[dict[str, Any]]).decode


def encode(events: Sequence[Event]) -> tuple[int, bytes]:
    """(codec, body) of one segment."""
    return JSON, _encode(events)


def decode(
    codec: int,
    body: bytes,
    first: int,
    count: int,
    upcasters: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None,
) -> list[Event]:
    """The `count` events of a segment whose first sequence number is `first`.

    Raises LedgerTooNew for a codec or a tag that this version does not know, and LedgerCorrupt for a body that is no
    array of events; both name the sequence.
    """
    casts = UPCASTERS if upcasters is None else upcasters
    if codec != JSON:
        raise LedgerTooNew(f"sequence {first}: unknown encoding {codec}; a newer agentorch wrote this ledger: upgrade")
    try:
        events = _lifted(body, first, casts) if any(tag.encode() in body for tag in casts) else _decode(body)
    except msgspec.ValidationError:
        events = _lifted(body, first, casts)
    except msgspec.DecodeError as error:
        raise LedgerCorrupt(first, f"the body is not JSON: {error}") from error
    if len(events) != count:
        raise LedgerCorrupt(first, f"the segment holds {len(events)} events and says {count}")
    return events


def _lifted(body: bytes, first: int, casts: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> list[Event]:
    """One by one, so that whatever can't be read is named by its own sequence number."""
    try:
        written = _decode_raw(body)
    except msgspec.DecodeError as error:
        raise LedgerCorrupt(first, f"the body is not an array of events: {error}") from error
    return [_lift(values, seq, casts) for seq, values in enumerate(written, first)]


def _lift(values: dict[str, Any], seq: int, casts: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> Event:
    seen: set[str] = set()
    while (tag := str(values.get(_TAG))) in casts and tag not in seen:
        seen.add(tag)  # a cast may keep its tag; it is applied once
        values = casts[tag](values)
    if tag not in _KNOWN:
        raise LedgerTooNew(f"sequence {seq}: unknown event {tag!r}; a newer agentorch wrote this ledger: upgrade")
    try:
        event: Event = msgspec.convert(values, Event)
    except msgspec.ValidationError as error:
        raise LedgerCorrupt(seq, f"event {tag!r} can't be read: {error}") from error
    return event
