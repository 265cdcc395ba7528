"""How tests are spread over processes: a file at a time, but the Slurm tests, which share a cluster, stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Two processes would start two clusters. (Two of Ray are worth it: its tests wait more than they work.)
TOGETHER = ("slurm",)
#: Groups of many tests are begun first: a single long test in one of them does not end up alone at the end.
BESIDE = {"ray/test_scaling.py": "ray/test_contract.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        group = path.parts[0] if path.parts[0] in TOGETHER else BESIDE.get(str(path), str(path))
        item.add_marker(pytest.mark.xdist_group(group))
