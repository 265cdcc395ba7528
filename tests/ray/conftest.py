"""One cluster for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray.cluster import Cluster, Runtime


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("ray"))
    try:
        made.start("a", "a", "b")
        yield made
    finally:
        made.close()


@pytest.fixture
def runtime(cluster: Cluster, tmp_path: Path) -> Iterator[Runtime]:
    cluster.refill()
    made = Runtime(cluster, tmp_path)
    yield made
    made.end()
