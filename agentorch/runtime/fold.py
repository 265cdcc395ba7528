"""Ledger -> state: from the newest snapshot if there is one, and from the events after it."""

from __future__ import annotations

import functools
import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from agentorch import __version__
from agentorch.core.evolve import evolve
from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.errors import LedgerCorrupt
from agentorch.ledger.contract import Ledger

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Facts).decode


@functools.cache
def snapshot_schema() -> str:
    """What a snapshot's meaning depends on: the shape of the facts, and the version whose rules folded them."""
    shape = repr(msgspec.inspect.type_info(Facts))
    return hashlib.sha256(f"{__version__}\n{shape}".encode()).hexdigest()[:32]


def encode(facts: Facts) -> bytes:
    """Facts as bytes; equal ledgers give equal bytes."""
    return _encode(facts)


def decode(body: bytes) -> Facts:
    return _decode(body)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def fold(ledger: Ledger, *, upto: int | None = None, snapshots: bool = True) -> State:
    """The state as of `upto` (default: all of it). Raises LedgerCorrupt where the chain or an event does not hold."""
    state = State()
    if snapshots and upto is None:
        found = await ledger.load_snapshot(snapshot_schema())
        if found is not None:
            state = State(decode(found[2]))
    with no_collections():
        async for events in ledger.read(after=state.facts.seq, upto=upto):
            for seq, event in events:
                try:
                    evolve(state, event)
                except (KeyError, AttributeError, IndexError, ValueError) as error:
                    why = f"{type(event).__name__} can't follow what is before it: {error!r}"
                    raise LedgerCorrupt(seq, why) from error
    return state


@contextmanager
def no_collections() -> Iterator[None]:
    """A fold makes a million objects and no cycle: the collector would only look through them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
