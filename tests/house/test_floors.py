"""The floors hold, and what must stay light stays light: proved in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.rules import ROOT

HEAVY = ("langgraph", "textual", "fastapi", "uvicorn", "langchain_core")


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(','.join(sorted(name for name in sys.modules if '.' not in name)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.strip().split(","))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import agentorch.core.decide, agentorch.core.schedule", {"asyncio", "sqlite3", "pydantic", *HEAVY}),
        ("import agentorch.cli", set(HEAVY)),
        ("import agentorch.client", set(HEAVY)),
        ("import agentorch.tui.app", {"langgraph", "langchain_core", "fastapi", "uvicorn"}),
        ("import agentorch.runtime.runtime", set(HEAVY)),
    ],
)
def test_rooms_load_only_what_they_need(code: str, absent: set[str]) -> None:
    assert loaded(code) & absent == set()
