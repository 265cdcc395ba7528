"""The journal of a worker, as its worker writes it: one JSON array a line, the kind of line first.

Imports only the standard library, because the worker may run under another interpreter's packages.

`agentorch.executors.warm.wire` has each line's fields.

| line | meaning |
|---|---|
| `["w", epoch, name, boot]` | the worker, and the incarnation of the runtime that it serves |
| `["t", [ids]]` | these calls came in; synced before the first of them begins, if one of them is durable |
| `["s", id, started_ms, ...]` | the call begins here, unless a `v` line before says no |
| `["e", id, started_ms, ...]` | it has ended |
| `["v", id, reason, epoch]` | by the runtime: the call (`""` = any) must not begin from here on; a reason ends it too |
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any, Final

JOURNAL: Final = "calls.journal"
#: Beside the workers' directories: the number of the newest opening, which is also in the name of each worker.
OPENING: Final = "opening"
#: Of the socket that workers of an opening connect to; its number follows.
SOCKET_PREFIX: Final = ".calls."


def worker_name(opening: int, serial: int) -> str:
    return f"w{opening}-{serial}"


def opening_of(worker: str) -> int:
    """The inverse of `worker_name`, as far as a worker needs it."""
    return int(worker[1:].partition("-")[0])


class Journal:
    """Append-only. Raises OSError when a line could not be written whole: what it says has not happened then."""

    def __init__(self, directory: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(f"{directory}/{JOURNAL}", flags, 0o600)
        self._seen = 0

    def append(self, text: str) -> list[list[Any]]:
        """Write these lines at once; returns the lines that others wrote since the last time, all before these."""
        data = text.encode()
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, f"the journal of a worker could not be written: {os.strerror(errno.ENOSPC)}")
        end = os.lseek(self._fd, 0, os.SEEK_CUR)  # where this write ended: an append moves there first
        before = end - len(data)
        seen, self._seen = self._seen, end
        if before == seen:
            return []
        return [json.loads(line) for line in os.pread(self._fd, before - seen, seen).split(b"\n") if line]

    def sync(self) -> None:
        os.fdatasync(self._fd)
