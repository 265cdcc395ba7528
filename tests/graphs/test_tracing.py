"""Nothing leaves the machine, also when the environment asks for tracing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRACED = {
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_TRACING_V2": "true",
    "LANGCHAIN_TRACING_V2": "true",
    "LANGSMITH_API_KEY": "lsv2_not_a_key",
    "LANGSMITH_ENDPOINT": "https://tracing.invalid",
    "LANGGRAPH_STRICT_MSGPACK": "true",
}


def attempts(folder: Path, tracing: str) -> list[str]:
    """Where a supervisor's process wanted to connect, each once."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.graphs.offline", str(folder), tracing],
        cwd=ROOT,
        env={**os.environ, **TRACED},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


def test_an_inherited_tracing_setting_opens_no_connection(tmp_path: Path) -> None:
    assert attempts(tmp_path, "off") == []


def test_the_watch_would_see_a_connection(tmp_path: Path) -> None:
    assert any("tracing.invalid" in attempt for attempt in attempts(tmp_path, "on"))
