"""The attempt directory: everything that is needed to re-find an attempt, and the claim that lets it start once.

Imports only the standard library: the shim uses it too.

The claim is a name that can be created once. A shim links it in *already locked* (POSIX record lock) and holds the
lock for its life; the kernel drops it when the shim dies, whatever kills it. Everybody else only asks who holds it
(F_GETLK), and so can neither take it by accident nor be fooled by a reused pid. A recovering runtime creates it
unlocked: a fence, behind which nothing ever starts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from agentorch.executors.records import CLAIM, SPEC

_SHIM: Final = b"shim\n"
_FENCE: Final = b"fence\n"
_FLOCK: Final = "hhqqi4x"  # struct flock on 64-bit Linux: type, whence, start, length, pid
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_serial = itertools.count()


class Claim(NamedTuple):
    """`pid` > 0: a live shim holds it. `fence`: nothing ever starts here. Neither: its shim is dead."""

    pid: int
    fence: bool


class AttemptDirectory:
    """One attempt's directory, open. Raises OSError as the calls below it do; FileNotFoundError if there is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> AttemptDirectory:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.fd)

    def read(self, name: str) -> Any:
        """The JSON object in the file, or None if there is none or a power cut left it torn."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        try:
            text = os.read(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        try:
            return json.loads(text.decode())
        except ValueError:
            return None

    def write(self, name: str, record: Mapping[str, object], *, durable: bool) -> None:
        """Put the record there whole or not at all; on disk when this returns, if `durable`."""
        write_whole(self.fd, name, json.dumps(record).encode(), durable=durable)

    def leave(self, name: str, data: bytes, *, durable: bool) -> None:
        """As `write`, for a file that is not there yet, and that counts only when it is whole.

        It is written in place: until then it reads as none, and so it does for good if its writer is killed.
        """
        _write_file(self.fd, name, data)
        if durable:
            _sync(self.fd, name)

    def claim(self) -> int | None:
        """Take the attempt for this process, for its life. Returns the descriptor that holds the lock, None = taken.

        No other descriptor of the claim may be opened in this process: closing it would drop the lock.
        """
        return self._link_claim(_SHIM, locked=True)

    def fence(self) -> bool:
        """Make sure that the attempt never starts. False: a shim, or another fence, was first."""
        fd = self._link_claim(_FENCE, locked=False)
        if fd is None:
            return False
        os.close(fd)
        return True

    def _link_claim(self, text: bytes, *, locked: bool) -> int | None:
        temporary = _temporary_name(CLAIM)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(temporary, flags, _FILE_MODE, dir_fd=self.fd)
        try:
            os.write(fd, text)
            if locked:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.link(temporary, CLAIM, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileExistsError:
            os.close(fd)
            return None
        finally:
            os.unlink(temporary, dir_fd=self.fd)
        return fd

    def claimed_by(self) -> Claim | None:
        """Who has the attempt; None = nobody yet. Never call it in the process that holds the claim."""
        try:
            fd = os.open(CLAIM, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        try:
            query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, query))
            pid = 0 if answer[0] == fcntl.F_UNLCK else answer[4]
            return Claim(pid, os.pread(fd, len(_FENCE), 0) == _FENCE)
        finally:
            os.close(fd)


def create(root_fd: int, scratch_fd: int, attempt: str, record: Mapping[str, object] | None) -> bool:
    """Make the directory `attempt` in the root, with its spec inside, or fenced if there is none. False: it exists.

    It is built in the scratch directory and renamed, so a directory that can be seen is whole: one with neither file
    (or with another boot's spec) was made before a power cut. That is why syncing the root afterwards is all that a
    durable launch needs: the name says "it may have run", and after a restart of the machine nobody needs the text.
    """
    temporary = _temporary_name(attempt)
    name, data = (CLAIM, _FENCE) if record is None else (SPEC, json.dumps(record).encode())
    os.mkdir(temporary, _DIRECTORY_MODE, dir_fd=scratch_fd)
    fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scratch_fd)
    try:
        _write_file(fd, name, data)
        os.rename(temporary, attempt, src_dir_fd=scratch_fd, dst_dir_fd=root_fd)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)
        os.rmdir(temporary, dir_fd=scratch_fd)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    finally:
        os.close(fd)
    return True


def write_whole(directory_fd: int, name: str, data: bytes, *, durable: bool) -> None:
    """Replace the file by `data`, whole or not at all.

    The data is synced after the rename: then one journal commit covers both. A power cut in between may leave a torn
    file, which reads as none, and nobody was told of it yet.
    """
    temporary = _temporary_name(name)
    _write_file(directory_fd, temporary, data)
    os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    if durable:
        _sync(directory_fd, name)


def boot_id() -> str:
    """Which boot of the machine this is: an attempt of another one can't be running."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
        return file.read().strip()


def _write_file(directory_fd: int, name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE, dir_fd=directory_fd)
    try:
        while data:  # a nearly full disk writes less than asked, and says why the next time
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _sync(directory_fd: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.fsync(directory_fd)


def _temporary_name(name: str) -> str:
    # The serial keeps threads of one process apart, the pid processes.
    return f".{name}.{os.getpid()}.{next(_serial)}"
