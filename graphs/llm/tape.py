"""The record of one cycle's exchanges: bytes in, `Exchange`s out, and back.

A request repeats the talk so far, so only what changed since the one before it is kept, without loss. The key is taken
out of everything before it is kept or read.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from agentorch.model.limits import BRAIN_EXCHANGES_MAX
from agentorch.model.proposals import Exchange

HIDDEN: Final = b"[key]"
KEY_MIN_CHARS: Final = 6  # a shorter key (`none`, `-`) is no secret, and would be found in everything


class Tape:
    """What was exchanged so far. `parameters` and `libraries` are written into the first exchange."""

    def __init__(self, model: str, *, key: str = "", parameters: str = "", libraries: str = "") -> None:
        self._model = model
        self._key = key.encode() if len(key) >= KEY_MIN_CHARS else b""
        self._parameters = parameters
        self._libraries = libraries
        self._before = ""
        self.exchanges: list[Exchange] = []

    def hide(self, content: bytes) -> bytes:
        """`content` without the key."""
        return content.replace(self._key, HIDDEN) if self._key else content

    def hidden(self, text: str) -> str:
        """`text` without the key."""
        return self.hide(text.encode("utf-8", "replace")).decode("utf-8")

    def add(
        self,
        request: bytes,
        response: bytes,
        *,
        took_ms: int,
        status: int = 0,
        content_type: str = "",
        fault: str = "",
        tools_sha256: str = "",
    ) -> None:
        """Keep one exchange, up to BRAIN_EXCHANGES_MAX of them."""
        if len(self.exchanges) >= BRAIN_EXCHANGES_MAX:
            return
        text, coded = _text(self.hide(response))
        whole = self.hide(request).decode("utf-8", "replace")
        start, end = _shared(self._before, whole)
        self.exchanges.append(
            Exchange(
                model=self._model,
                request=whole[start : len(whole) - end],
                response=text,
                took_ms=took_ms,
                same_start=start,
                same_end=end,
                status=status,
                content_type=self.hidden(content_type),
                base64=coded,
                fault=fault,
                tools_sha256=tools_sha256,
                parameters="" if self.exchanges else self._parameters,
                libraries="" if self.exchanges else self._libraries,
            )
        )
        self._before = whole

    def count(self, tokens_in: int, tokens_out: int) -> None:
        """What the last exchange took, as its answer says."""
        if self.exchanges:
            last = self.exchanges[-1]
            self.exchanges[-1] = msgspec.structs.replace(last, tokens_in=tokens_in, tokens_out=tokens_out)


def requests_of(exchanges: Sequence[Exchange]) -> list[str]:
    """Every request whole, as it was sent but for the key. Raises ValueError when one is missing."""
    found: list[str] = []
    before = ""
    for one in exchanges:
        if one.same_start + one.same_end > len(before):
            raise ValueError("an exchange rests on one before it that is not there")
        before = before[: one.same_start] + one.request + before[len(before) - one.same_end :]
        found.append(before)
    return found


def response_of(exchange: Exchange) -> bytes:
    """The response's bytes, but for the key. Raises ValueError."""
    if exchange.base64:
        return base64.b64decode(exchange.response, validate=True)
    return exchange.response.encode("utf-8")


def _text(content: bytes) -> tuple[str, bool]:
    try:
        return content.decode("utf-8"), False
    except UnicodeDecodeError:
        return base64.b64encode(content).decode("ascii"), True


def _shared(before: str, whole: str) -> tuple[int, int]:
    """How many characters both begin with, and, of the rest, how many both end with."""
    start = _same(before, whole)
    return start, _same(before[start:][::-1], whole[start:][::-1])


def _same(one: str, other: str) -> int:
    """Length of the common beginning; by halving, because comparing character by character would hold up the loop."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if other.startswith(one[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low
