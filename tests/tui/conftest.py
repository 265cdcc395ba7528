"""`--accept-goldens` rewrites the pictures of the screens, after a person has looked at the difference."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept-goldens", action="store_true", help="rewrite the terminal UI's goldens")


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are rewritten; AGENTORCH_ACCEPT=1 does the same where pytest starts above this folder."""
    return (
        bool(request.config.getoption("--accept-goldens", default=False)) or os.environ.get("AGENTORCH_ACCEPT") == "1"
    )
