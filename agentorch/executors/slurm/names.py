"""What our jobs are called, so that they are found again, and nobody else's are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_NAME: Final = ".name"
_NAME_BYTES: Final = 5


def own_name(folder: Path) -> str:
    """The name of this folder, unlike that of any other on the cluster; made when it has none yet."""
    path = folder / _NAME
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(os.urandom(_NAME_BYTES).hex())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii")


def job_name(owner: str, what: str) -> str:
    """Of the Slurm job for an attempt, or a pilot, of this owner."""
    return f"agentorch-{owner}-{what}"
