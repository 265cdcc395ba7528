"""The lease of a node: until when its work may run without news from the runtime that ordered it.

Imports only the standard library: the shim uses it too.

One file in the root of an executor holds the boot of the machine and a deadline on CLOCK_BOOTTIME, which goes on while
the machine sleeps. Whoever speaks for the runtime extends it; each shim reads it for itself and kills its tree when it
is over, so that nothing of a node that can't be reached runs on for ever. No file, a torn one or one of another boot
is a lease that is over.

A lease that is over is never revived: the one written after it is of another term, and what ran under the old one ends
all the same. Else a machine that stood still for a while could go on with what was told lost meanwhile.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Final

from agentorch.executors.attempt_dir import boot_id, write_whole

LEASE: Final = "lease"
#: Timers stand still while the machine sleeps, and the deadline does not; so it is looked at that often.
CHECK_S: Final = 1.0
OVER: Final = "the lease of this node is over"


def now_ns() -> int:
    """The clock of leases: nanoseconds since the machine booted, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def write_lease(root: str | os.PathLike[str], deadline_ns: int) -> None:
    """Work below `root` may run until then. Readers see the old lease or the new one, never half of one.

    One writer at a time. Not synced: a power cut ends the boot, and with it the lease. Raises OSError.
    """
    boot = boot_id()
    earlier_ns, term = stored_lease(f"{os.fspath(root)}/{LEASE}", boot)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        now = now_ns()
        record = {"boot_id": boot, "deadline_ns": deadline_ns, "term": term if earlier_ns > now else now}
        write_whole(fd, LEASE, json.dumps(record).encode(), durable=False)
    finally:
        os.close(fd)


def stored_lease(path: str, boot: str) -> tuple[int, int]:
    """(deadline, term) of the lease in this file; (0, 0) if there is none that counts in this boot of the machine."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is slow to import
            lease: Any = json.loads(file.readall())
        if lease["boot_id"] == boot:
            return int(lease["deadline_ns"]), int(lease["term"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, 0


def read_lease(path: str, boot: str) -> tuple[float, int]:
    """(seconds left, term): at most 0 when the lease is over."""
    deadline_ns, term = stored_lease(path, boot)
    return (deadline_ns - now_ns()) / 1e9, term


def left_s(path: str, boot: str) -> float:
    """Seconds until the lease in this file is over, as `read_lease` says."""
    return read_lease(path, boot)[0]
