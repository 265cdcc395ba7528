"""One writer. The lock is the kernel's, so it ends with its process however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agentorch.errors import LedgerLocked


class WriterLock:
    """An exclusive lock on `<ledger>.lock`, which names its holder's process and is never deleted."""

    def __init__(self, ledger_path: Path) -> None:
        self.path = ledger_path.with_name(ledger_path.name + ".lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Raises LedgerLocked."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise LedgerLocked(
                f"process {holder} writes this ledger (lock {self.path}); stop it, or open the ledger read-only"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
