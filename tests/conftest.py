"""How tests are spread over processes: a file at a time, but folders that share one cluster stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Each of these starts a cluster for the whole session: two processes would start two.
CLUSTERS = ("ray", "slurm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        group = path.parts[0] if path.parts[0] in CLUSTERS else str(path)
        item.add_marker(pytest.mark.xdist_group(group))
