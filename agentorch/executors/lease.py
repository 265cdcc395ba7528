"""The lease of a node: until when its work may run without news from the runtime that ordered it.

Imports only the standard library: the shim uses it too.

One file in the root of an executor holds the boot of the machine and a deadline on CLOCK_BOOTTIME, which goes on while
the machine sleeps. Whoever speaks for the runtime extends it; each shim reads it for itself and kills its tree when it
is over, so that nothing of a node that can't be reached runs on for ever. No file, a torn one or one of another boot
is a lease that is over.
"""

from __future__ import annotations

import json
import math
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

    Not synced: a power cut ends the boot, and with it the lease. Raises OSError.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        text = json.dumps({"boot_id": boot_id(), "deadline_ns": deadline_ns})
        write_whole(fd, LEASE, text.encode(), durable=False)
    finally:
        os.close(fd)


def left_s(path: str, boot: str) -> float:
    """Seconds until the lease in this file is over, below 0 since it was; minus infinity if there is none that counts.

    `boot` is the present boot of the machine.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is slow to import
            lease: Any = json.loads(file.readall())
        return (int(lease["deadline_ns"]) - now_ns()) / 1e9 if lease["boot_id"] == boot else -math.inf
    except (OSError, ValueError, KeyError, TypeError):
        return -math.inf
