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
from agentorch.executors.warm.journal import OPENING


def take(folder: Path, epoch: int) -> int:
    """Make it this epoch's, durably; returns the number of this opening, which no other one has.

    Also where nothing was ever called: whoever has it open since before must find that it is over.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder) as fd:
        opening = newest_opening(folder) + 1
        write_whole(fd, OPENING, str(opening).encode(), durable=True)
        write_whole(fd, EPOCH, str(epoch).encode(), durable=True)
    if not (folder / LEASE).is_symlink():
        (folder / LEASE).symlink_to(f"../{LEASE}")  # there is one lease, for all of the root
    return opening


def remove(folder: Path, opening: int, names: Iterable[str]) -> None:
    """Remove these, unless somebody has opened it since, who may be reading them."""
    with _locked(folder) as fd:
        if newest_opening(folder) == opening:
            for name in names:
                remove_tree(name, fd)


def stored_epoch(root: Path) -> int:
    """Of the newest runtime that has opened this root of an executor."""
    return int((root / EPOCH).read_text(encoding="ascii"))


def newest_opening(folder: Path) -> int:
    """0 = there was none."""
    try:
        return int((folder / OPENING).read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """So that nobody removes what a newer opening has just found there."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
