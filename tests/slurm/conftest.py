"""One cluster for all tests here; a test that breaks a part of it mends it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import SlurmCluster, missing
from tests.slurm.rig import SlurmRig


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    problem = missing()
    if problem:
        pytest.skip(problem)
    # A short path: the name of munge's socket has to fit into one.
    with tempfile.TemporaryDirectory(prefix="agentorch-slurm-") as directory:
        cluster = SlurmCluster(Path(directory))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def rig(cluster: SlurmCluster, tmp_path: Path) -> SlurmRig:
    return SlurmRig(cluster, tmp_path)
