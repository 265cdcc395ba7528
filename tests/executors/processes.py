"""Looking at real processes from outside: who carries an attempt's mark, who is the shim, and killing one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from agentorch.executors.attempt_dir import AttemptDirectory
from tests.executors.waiting import eventually


def marked(root: Path, attempt: str) -> list[int]:
    """Live processes with this attempt's directory in their environment, found without the code under test."""
    mark = f"AGENTORCH_ATTEMPT_DIR={root.resolve()}/{attempt}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                environment = (directory / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(directory.name))
    return found


def shim_of(root: Path, attempt: str) -> int:
    """The pid that holds the attempt's claim; 0 = nobody."""
    with AttemptDirectory(f"{root}/{attempt}") as directory:
        claim = directory.claimed_by()
        return claim.pid if claim else 0


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is dead."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        eventually(lambda: _dead(pid), f"the death of {pid}")
    finally:
        os.close(pidfd)


def _dead(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"
