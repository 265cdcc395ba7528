"""Emptying and removing directory trees without importing what only `shutil` needs; the shim is forked often."""

from __future__ import annotations

import contextlib
import os


def empty_tree(name: str, directory_fd: int) -> None:
    """Remove all that is in `name`, following no link. What can't be removed stays: it is scratch, not state.

    The directory itself stays: an inode that was just freed costs some file systems more to use again than a new one
    (ext4 without a journal looks past those of the last minute, one by one).
    """
    with contextlib.suppress(OSError):
        _empty_directory(name, directory_fd)


def remove_tree(name: str, directory_fd: int) -> None:
    """As `empty_tree`, and the directory itself."""
    with contextlib.suppress(OSError):
        _empty_directory(name, directory_fd)
        os.rmdir(name, dir_fd=directory_fd)


def _empty_directory(name: str, directory_fd: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        with os.scandir(fd) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    _empty_directory(entry.name, fd)
                    os.rmdir(entry.name, dir_fd=fd)
                else:
                    os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
