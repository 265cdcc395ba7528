"""How this runtime uses a Slurm cluster. Plain values, told once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SlurmOptions:
    """Durations in seconds. What is "" is left to the cluster.

    `commands` is the folder of `sbatch` and its kin ("" = on the PATH), `conf` a `slurm.conf` other than the system's.
    `python` must be the same path on every node, and so must this package; both usually lie on the shared file system.
    `extra` goes to every sbatch as it is.

    `fence_s` bounds two things: how long a node may be without its attempt's directory before it kills the attempt,
    and so how long after a node failed its attempts are known to be over.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    extra: tuple[str, ...] = ()
    commands: str = ""
    conf: Path | None = None
    python: str = sys.executable
    poll_s: float = 1.0  # longest pause between two looks for ended attempts: a listing of one directory
    query_s: float = 10.0  # longest pause between two squeue; shorter while something is in doubt
    start_wait_s: float = 2.0  # how long a launch waits for its start; what waits longer in Slurm's queue is `running`
    fence_s: float = 120.0
    command_s: float = 20.0  # longest that one command may take
