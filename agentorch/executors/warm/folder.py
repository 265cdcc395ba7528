"""The folder of workers' directories: whose it is, and what is removed from it. Blocking, called from threads."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentorch.executors.attempt_dir import write_whole
from agentorch.executors.lease import LEASE
from agentorch.executors.records import EPOCH
from agentorch.executors.tidy import remove_tree


def take(folder: Path, epoch: int) -> None:
    """Make it this epoch's, durably. Also where nothing was ever called: an older runtime must find the newer epoch."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder) as fd:
        write_whole(fd, EPOCH, str(epoch).encode(), durable=True)
    if not (folder / LEASE).is_symlink():
        (folder / LEASE).symlink_to(f"../{LEASE}")  # there is one lease, for all of the root


def remove(folder: Path, epoch: int, names: Iterable[str]) -> None:
    """Remove these, unless it is a newer epoch's by now, which may be reading them."""
    with _locked(folder) as fd:
        if stored_epoch(folder) == epoch:
            for name in names:
                remove_tree(name, fd)


def stored_epoch(folder: Path) -> int:
    """Of the newest runtime that has opened this folder, or the root of an executor."""
    return int((folder / EPOCH).read_text(encoding="ascii"))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """So that nobody removes what a newer epoch has just found there."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
