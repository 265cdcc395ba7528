"""The suite that every executor passes, on a node of a real Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executors import test_contract as suite
from tests.ray.cluster import Cluster, RayRig, needs_ray

pytestmark = needs_ray


@pytest.fixture
def rig(cluster: Cluster, tmp_path: Path) -> Iterator[RayRig]:
    made = RayRig(cluster, tmp_path)
    yield made
    made.runtime.end()


globals().update({name: test for name, test in vars(suite).items() if name.startswith("test_")})
