"""These tests need the extra `llm`; without it they are skipped, and say how to get it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

MISSING = [name for name in ("langchain_openai", "httpx2") if find_spec(name) is None]


@pytest.fixture(autouse=True)
def _extra() -> None:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed: pip install 'agentorch[llm]'")
