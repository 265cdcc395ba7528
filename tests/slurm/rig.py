"""How the Slurm executor is opened for a test: everything that waits is quick."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from agentorch.executors.contract import Executor
from agentorch.executors.slurm.executor import SlurmExecutor
from agentorch.executors.slurm.options import SlurmOptions
from tests.slurm.cluster import SlurmCluster

FENCE_S = 4.0


class SlurmRig:
    def __init__(self, cluster: SlurmCluster, root: Path, partition: str = "main") -> None:
        self.cluster = cluster
        self.root = root / "attempts"
        self.options = SlurmOptions(
            partition=partition,
            conf=cluster.conf,
            poll_s=0.2,
            query_s=1.0,
            start_wait_s=30.0,
            fence_s=FENCE_S,
            command_s=10.0,
        )

    def quick(self, **changes: float) -> SlurmOptions:
        """The options, with these durations changed."""
        return dataclasses.replace(self.options, **changes)

    def executor(self) -> SlurmExecutor:
        return SlurmExecutor(self.root, self.options)

    def advance(self, executor: Executor) -> None:
        """Real time passes by itself."""
