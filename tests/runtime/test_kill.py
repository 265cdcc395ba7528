"""The server dies at random instants under load and forgets nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.soak import Soak


@pytest.mark.slow
def test_kill_9_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    outcome = asyncio.run(Soak(tmp_path, jobs=40, kills=6, seed=7).run())
    assert outcome.problems == []
    assert (outcome.kills, outcome.acknowledged) == (6, 40)
