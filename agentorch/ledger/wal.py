"""Looks at the write-ahead log that a crash left (https://www.sqlite.org/fileformat2.html, section 4).

SQLite recovers up to the first frame whose checksum does not hold and takes all behind it for a torn tail. Each commit
is synced before the next begins, so only the very last can be torn: a frame that does not hold with a later commit
behind it is damage to something acknowledged, and must not be lived with.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from agentorch.ledger.layout import PAGE_BYTES, beside

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC_LITTLE: Final = 0x377F0682
_MAGIC_BIG: Final = 0x377F0683
_MASK: Final = 0xFFFFFFFF


class Frame(NamedTuple):
    page: int
    size_after: int  # pages of the database after the commit that this frame ends; 0 when it ends none
    salt: bytes
    checksum: tuple[int, int]
    summed: bytes  # what its checksum covers, beside every frame before it
    body: bytes


def log_bytes(path: Path) -> bytes:
    """The log beside a ledger file; empty when there is none. Raises OSError."""
    log = beside(path, "-wal")
    return log.read_bytes() if log.exists() else b""


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames of the log, of any generation, their checksums unlooked at."""
    step = _FRAME_HEADER_BYTES + PAGE_BYTES
    for begin in range(_HEADER_BYTES, len(data) - step + 1, step):
        head = data[begin : begin + _FRAME_HEADER_BYTES]
        body = data[begin + _FRAME_HEADER_BYTES : begin + step]
        sums = _number(head, 16), _number(head, 20)
        yield Frame(_number(head, 0), _number(head, 4), head[8:16], sums, head[:8] + body, body)


def _is_of(salt: bytes, frame: Frame) -> bool:
    """Whether a frame is of this generation. One byte may be damaged; the salts of two generations differ in more."""
    return sum(one != two for one, two in zip(salt, frame.salt, strict=True)) <= 1


def _checksum(data: bytes, seed: tuple[int, int], little: bool) -> tuple[int, int]:
    words = array("I", data)
    if little != (sys.byteorder == "little"):
        words.byteswap()
    low, high = seed
    pairs = iter(words)
    for one, two in zip(pairs, pairs, strict=True):
        low = (low + one + high) & _MASK
        high = (high + two + low) & _MASK
    return low, high


def flaw(path: Path) -> str | None:
    """Why the log holds less than what was committed to it; None when all that may be missing is a torn last commit.

    Raises OSError.
    """
    data = log_bytes(path)
    if len(data) < _HEADER_BYTES:
        return None  # nothing was committed to it yet
    magic, salt = _number(data, 0), data[16:24]
    little = magic == _MAGIC_LITTLE
    running = _checksum(data[:24], (0, 0), little)
    holds = magic in (_MAGIC_LITTLE, _MAGIC_BIG) and running == (_number(data, 24), _number(data, 28))
    broken_at: int | None = None if holds else 0
    commits_behind = 0
    last: Frame | None = None
    for number, frame in enumerate(frames(data), 1):
        if broken_at is None:
            running = _checksum(frame.summed, running, little)
            if frame.salt != salt or frame.checksum != running:
                broken_at = number
        if broken_at is not None and frame.size_after and _is_of(salt, frame):
            # SQLite may fill a sector with copies of the frame that ends a commit.
            commits_behind += last is None or last.summed != frame.summed
        last = frame
    if broken_at is not None and commits_behind > 1:
        return f"frame {broken_at} of the write-ahead log is damaged, and later commits lie behind it"
    return None


def newest_pages(path: Path) -> dict[int, bytes]:
    """The newest version of each page in the log, of its current generation, their checksums unlooked at."""
    data = log_bytes(path)
    return {frame.page: frame.body for frame in frames(data) if frame.salt == data[16:24]}
