"""Process trees through /proc: who descends from whom, what they use, and how all of them are ended.

Linux only. Imports only the standard library: the shim uses it too. Nothing here kills by name.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator
from typing import Final

from agentorch.executors.records import DIRECTORY_VARIABLE

_prctl_call = ctypes.CDLL(None, use_errno=True).prctl
_prctl_call.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIGKILL: Final = int(signal.SIGKILL)
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PASS_PAUSE_S: Final = 0.01
_CLEAN_PASSES: Final = 2


def become_subreaper() -> None:
    """Orphaned descendants of this process become its children, so that none gets away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(by: int = _SIGKILL) -> None:
    """A signal for this process when the thread that forked it ends, whatever ends it. Cleared by fork."""
    _prctl(_PR_SET_PDEATHSIG, by)


def _prctl(option: int, value: int) -> None:
    if _prctl_call(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def descendants(root: int) -> list[int]:
    """Every live descendant of the process, in no promised order; those that come and go meanwhile may be missed."""
    found: list[int] = []
    unseen = [root]
    while unseen:
        children = list(_children(unseen.pop()))
        found += children
        unseen += children
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are all that is needed
    except OSError:
        return
    for thread in threads:
        yield from map(int, _read(f"/proc/{pid}/task/{thread}/children").split())


def kill_descendants(root: int) -> list[int]:
    """SIGKILL for every descendant seen now; returns their pids. Call it again until none is left to reap."""
    pids = descendants(root)
    for pid in pids:
        _kill(pid)
    return pids


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Gone already; or it became another user's, and then it is the caller's loop that must not say it is done.
        return


def resident_bytes(pids: Collection[int], enough: int) -> int:
    """Memory of these processes together.

    Resident sizes count shared pages once per process, which would hold forked data loaders guilty of their parent's
    memory; so only when that cheap sum passes `enough` the pages are counted in proportion (PSS), which costs more.
    """
    total = sum(_resident(pid) for pid in pids)
    if total <= enough:
        return total
    return sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def _proportional(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)  # the kernel won't say: the resident size is the most it can be


def marked(directories: Collection[str]) -> list[int]:
    """Every live process whose environment names one of these attempt directories."""
    wanted = {f"{DIRECTORY_VARIABLE}={directory}".encode() for directory in directories}
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    return [pid for pid in pids if not wanted.isdisjoint(_read(f"/proc/{pid}/environ").split(b"\0"))]


def sweep(directories: Collection[str]) -> int:
    """Kill what is left of attempts whose shim is dead; returns how many processes that took.

    Returns only when nothing is left, which takes as long as the kernel needs. A process in the middle of an exec has
    no environment for a moment, so one look that finds nothing is not enough.
    """
    killed: set[int] = set()
    clean = 0
    while clean < _CLEAN_PASSES:
        pids = marked(directories)
        for pid in pids:
            _kill(pid)
        killed.update(pids)
        clean = 0 if pids else clean + 1
        time.sleep(_PASS_PAUSE_S)
    return len(killed)


def _read(path: str) -> bytes:
    """The file's bytes; none when the process is gone or not ours to look at."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall()
    except OSError:
        return b""
