"""What the runtime and its workers write: lines of the journal, which are also the messages, and orders of calls.

The worker writes the same lines with the standard library's JSON (`agentorch.executors.warm.journal`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Cause, Usage


class Hello(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="w"):
    """The worker's first line, and its first message."""

    epoch: int
    name: str
    boot: str


class Taken(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="t"):
    """These calls came in. After a power cut they may have run, even if nothing more is written."""

    calls: tuple[str, ...]


class Begun(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="s"):
    """The call runs, unless a `Void` before this line forbids it. `stdout` and `stderr` are where its logs begin."""

    call: str
    started_ms: int
    stdout: int
    stderr: int
    timeout_ms: int | None
    cpu_ms: int  # that the worker had used before


class Ended(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="e"):
    """How a call ended, and which bytes of the worker's logs are its own. `started_ms` None = it never ran."""

    call: str
    started_ms: int | None
    ended_ms: int
    cause: str
    exit_code: int | None
    message: str
    result: str
    cpu_ms: int
    memory_peak_bytes: int
    leftovers: int
    stdout: int
    stderr: int
    stdout_end: int
    stderr_end: int
    signal: int | None = None
    lost: bool = False


class Void(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="v"):
    """By the runtime. "" as the call = every call; "" as the reason = it is to run elsewhere."""

    call: str
    reason: str
    epoch: int


Line = Hello | Taken | Begun | Ended | Void


class Order(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A call to be made. `environment` holds what differs from the worker's own."""

    call: str
    name: str  # `module:function`
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    environment: dict[str, str]
    timeout_ms: int | None
    grace_ms: int


_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)
_decode_end: Final = msgspec.json.Decoder(Ended).decode


def encode(line: Line) -> bytes:
    """Without its newline."""
    return _encoder.encode(line)


def decode(line: bytes) -> Line | None:
    """None for a line that a crash left torn."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_end(line: bytes) -> Ended:
    return _decode_end(line)


def orders(durable: bool, encoded: list[bytes]) -> bytes:
    """One message: `[durable, [order, ...]]` and a newline; the orders are encoded already."""
    return b"[%s,[%s]]\n" % (b"true" if durable else b"false", b",".join(encoded))


def encode_order(order: Order) -> bytes:
    return _encoder.encode(order)


def status_of(end: Ended) -> AttemptStatus:
    return AttemptStatus(
        id=end.call,
        phase=AttemptPhase.lost if end.lost else AttemptPhase.ended,
        started_ms=end.started_ms,
        ended_ms=end.ended_ms,
        cause=Cause(end.cause),
        exit_code=end.exit_code,
        signal=end.signal,
        message=end.message,
        usage=Usage(cpu_ms=end.cpu_ms, memory_peak_bytes=end.memory_peak_bytes),
        leftovers=end.leftovers,
        result=end.result,
    )
