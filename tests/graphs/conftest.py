"""The stages that every test of the graphs runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.graphs.stage import STAGES, Stage


@pytest.fixture(params=sorted(STAGES))
def stage_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_stage(stage_name: str, tmp_path: Path) -> Callable[[], Stage]:
    """Each call is the same stage after a restart."""
    return lambda: STAGES[stage_name](tmp_path)


@pytest.fixture
def stage(open_stage: Callable[[], Stage]) -> Stage:
    return open_stage()
