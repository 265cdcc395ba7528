"""Nothing leaves the machine but what goes to the configured server, also when the environment asks for tracing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.graphs.test_tracing import TRACED
from tests.llm.test_wire import INHERITED

ROOT = Path(__file__).parents[2]


def test_an_inherited_setting_opens_no_other_connection() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.llm.offline"],
        cwd=ROOT,
        env={**os.environ, **INHERITED, **TRACED},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
