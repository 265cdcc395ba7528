"""A runtime on Slurm to be killed: `python -m tests.slurm.runtime_under_fire ROOT EPOCH COUNT SLURM_CONF`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentorch.executors.slurm.executor import SlurmExecutor
from agentorch.executors.slurm.options import SlurmOptions
from tests.executors.runtime_under_fire import Runtime


def main() -> None:
    root, epoch, count, conf = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    options = SlurmOptions(conf=conf, poll_s=0.1, query_s=1.0, start_wait_s=0.2)
    with (root / "ledger").open("a") as ledger:
        asyncio.run(Runtime(root, ledger, count, SlurmExecutor(root / "attempts", options)).run(epoch))


if __name__ == "__main__":
    main()
