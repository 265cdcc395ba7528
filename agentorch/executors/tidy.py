"""Removing a directory tree without importing what only `shutil` needs; the shim runs isolated and is forked often."""

from __future__ import annotations

import contextlib
import os


def remove_tree(name: str, directory_fd: int) -> None:
    """Remove `name` and all in it, following no link. What can't be removed stays: it is scratch, not state."""
    with contextlib.suppress(OSError):
        _remove_directory(name, directory_fd)


def _remove_directory(name: str, directory_fd: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        with os.scandir(fd) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    _remove_directory(entry.name, fd)
                else:
                    os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=directory_fd)
