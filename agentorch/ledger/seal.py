"""The seal: a few bytes behind the last page of a ledger that was closed in order: a checksum of every byte before.

The chain proves every byte that carries an event. SQLite's pages also hold bytes that mean nothing (unused room,
counters in headers), and no structural check looks at those; the seal covers them too while the file is at rest. SQLite
counts pages by its own header and never looks behind the last.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from agentorch.ledger.layout import PAGE_BYTES

MAGIC = b"agentorch sealed"
_SEAL = struct.Struct(">16sQI")  # magic, bytes covered, their CRC-32
_CHUNK_BYTES = 1024 * 1024


def _checksum(path: Path, size: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
            checksum = zlib.crc32(chunk, checksum)
            size -= len(chunk)
    return checksum


def put(path: Path) -> None:
    """Seal a file that nobody has open to write, durably. Raises OSError."""
    size = path.stat().st_size
    checksum = _checksum(path, size)
    with path.open("ab") as file:
        file.write(_SEAL.pack(MAGIC, size, checksum))
        file.flush()
        os.fsync(file.fileno())


def take_off(path: Path) -> None:
    """Remove whatever follows the last page, durably: the file is about to change. Raises OSError."""
    extra = path.stat().st_size % PAGE_BYTES
    if extra:
        os.truncate(path, path.stat().st_size - extra)
        with path.open("rb") as file:
            os.fsync(file.fileno())


def flaw(path: Path) -> str | None:
    """Why the bytes of a file at rest are not those that were sealed; None when they are, or when it has no seal
    (its last writer did not close it in order, and SQLite's own checks are all there is). Raises OSError."""
    size = path.stat().st_size
    extra = size % PAGE_BYTES
    if not extra:
        return None
    with path.open("rb") as file:
        file.seek(size - extra)
        tail = file.read()
    if len(tail) != _SEAL.size or not tail.startswith(MAGIC):
        return "what follows the last page is no seal: the file was cut, or written to"
    _, covered, checksum = _SEAL.unpack(tail)
    if covered != size - extra:
        return f"the file has {size - extra} bytes and was sealed with {covered}"
    if checksum != _checksum(path, covered):
        return "a byte changed since the file was sealed"
    return None
