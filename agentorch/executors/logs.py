"""Logs of an attempt: how a quota drops the oldest bytes, and how they are read while they are written.

Imports only the standard library: the shim uses it too.

The child writes to the file itself. Over its quota the oldest bytes are punched out of the file: the room is given
back, no byte that is being written can be lost, and an offset means the same byte for ever. Before that, the number of
bytes dropped is published in a small file; a reader looks there *after* it has read, and so never takes a hole for
text.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from agentorch.executors.attempt_dir import write_whole

_libc = ctypes.CDLL(None, use_errno=True)
_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02


def log_name(stream: str) -> str:
    """`stdout` -> `stdout.log`."""
    return f"{stream}.log"


def dropped_bytes(directory_fd: int, stream: str) -> int:
    """How many of the first bytes of the log a quota has dropped."""
    try:
        fd = os.open(f"{stream}.dropped", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory_fd)
    except FileNotFoundError:
        return 0
    try:
        return int(os.read(fd, 32) or b"0")
    finally:
        os.close(fd)


def enforce_quota(directory_fd: int, stream: str, log_fd: int, quota_bytes: int) -> None:
    """If the log keeps more than its quota, drop all but the newest half of it.

    Raises OSError on a filesystem that can't punch holes (ENOTSUP); the log is whole then.
    """
    size = os.fstat(log_fd).st_size
    if size <= quota_bytes:
        return  # nearly always, and then there is nothing to read
    dropped = dropped_bytes(directory_fd, stream)
    if size - dropped <= quota_bytes:
        return
    keep_from = size - quota_bytes // 2
    write_whole(directory_fd, f"{stream}.dropped", str(keep_from).encode(), durable=False)
    try:
        _punch(log_fd, dropped, keep_from - dropped)
    except OSError:
        write_whole(directory_fd, f"{stream}.dropped", str(dropped).encode(), durable=False)
        raise


def _punch(fd: int, offset: int, length: int) -> None:
    mode = _PUNCH_HOLE | _KEEP_SIZE
    if _libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"can't drop old log bytes: {os.strerror(number)}")


def read_log(directory_fd: int, stream: str, offset: int, limit: int) -> tuple[bytes, int]:
    """Up to `limit` bytes from byte `offset`, or from the oldest byte kept; returns (data, next offset)."""
    try:
        fd = os.open(log_name(stream), os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory_fd)
    except FileNotFoundError:
        return b"", offset  # it has not started
    try:
        start = max(offset, dropped_bytes(directory_fd, stream))
        data = os.pread(fd, limit, start)
        kept_from = dropped_bytes(directory_fd, stream)
    finally:
        os.close(fd)
    if kept_from > start:
        data = data[kept_from - start :]
        start = kept_from
    return data, start + len(data)


def log_end(directory_fd: int, stream: str) -> int:
    """The offset after the last byte written so far; 0 when nothing was."""
    try:
        return os.stat(log_name(stream), dir_fd=directory_fd).st_size
    except FileNotFoundError:
        return 0
