"""Reads what is left of a ledger file without SQLite: every segment that lies whole in its pages, wherever it lies.

SQLite refuses a file that was cut short altogether, although every commit before the cut is there. This reads table
leaves one by one (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1) and needs no page that leads to
them. It may return nonsense that looks like a segment: the caller verifies each against the chain.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agentorch.ledger.layout import PAGE_BYTES

_TABLE_LEAF: Final = 0x0D
_FILE_HEADER_BYTES: Final = 100
_PAYLOAD_MAX: Final = 1 << 30
_LOCAL_MAX: Final = PAGE_BYTES - 35
_LOCAL_MIN: Final = (PAGE_BYTES - 12) * 32 // 255 - 23
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Pages = Mapping[int, bytes]


def pages_announced(path: Path) -> int | None:
    """How many pages the file's header says there are; None when there is no such header."""
    with path.open("rb") as file:
        header = file.read(_FILE_HEADER_BYTES)
    if len(header) < _FILE_HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        return None
    return int.from_bytes(header[28:32], "big")


def is_cut(path: Path) -> bool:
    """Whether the file is shorter than it says. With a -wal beside it that can be as it should be."""
    size = path.stat().st_size
    announced = pages_announced(path)
    return size < _FILE_HEADER_BYTES or (announced is not None and size < announced * PAGE_BYTES)


def file_pages(path: Path) -> dict[int, bytes]:
    """The pages of the file, by number from 1. The last may be cut: what is missing of it reads as zeros."""
    data = path.read_bytes()
    begins = range(0, len(data), PAGE_BYTES)
    return {begin // PAGE_BYTES + 1: data[begin : begin + PAGE_BYTES].ljust(PAGE_BYTES, b"\0") for begin in begins}


def records(pages: Pages) -> Iterator[list[Any]]:
    """Every row on every table leaf: its rowid, then its columns (the first is None where it is the rowid)."""
    for number, page in pages.items():
        begin = _FILE_HEADER_BYTES if number == 1 else 0
        if page[begin] != _TABLE_LEAF:
            continue
        cells = int.from_bytes(page[begin + 3 : begin + 5], "big")
        for index in range(min(cells, PAGE_BYTES // 4)):
            try:
                (cell,) = struct.unpack_from(">H", page, begin + 8 + 2 * index)
                yield _record(pages, page, cell)
            except (IndexError, KeyError, ValueError, struct.error):
                continue  # cut, damaged, or no row at all: what is not whole is not returned


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, place behind it)"""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _record(pages: Pages, page: bytes, cell: int) -> list[Any]:
    size, at = _varint(page, cell)
    rowid, at = _varint(page, at)
    payload = _payload(pages, page, at, size)
    header_end, at = _varint(payload, 0)
    kinds = []
    while at < header_end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = [rowid]
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return values


def _payload(pages: Pages, page: bytes, at: int, size: int) -> bytes:
    """The bytes of a row: those in its cell, then those along its chain of overflow pages."""
    if size > _PAYLOAD_MAX:
        raise ValueError(size)
    local = size
    if size > _LOCAL_MAX:
        spread = _LOCAL_MIN + (size - _LOCAL_MIN) % (PAGE_BYTES - 4)
        local = spread if spread <= _LOCAL_MAX else _LOCAL_MIN
    parts = [page[at : at + local]]
    left = size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0:
        overflow = pages[following]
        parts.append(overflow[4 : 4 + min(left, PAGE_BYTES - 4)])
        left -= PAGE_BYTES - 4
        following = int.from_bytes(overflow[:4], "big")
    payload = b"".join(parts)
    if len(payload) != size:
        raise ValueError(size)
    return payload


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError(kind)
    end = at + (kind - 12) // 2
    part = payload[at:end]
    if len(part) != (kind - 12) // 2:
        raise ValueError(kind)
    return (part.decode() if kind % 2 else part), end
