"""A supervisor for the length of a test, always closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentorch.graphs.driver import Supervisor
from agentorch.model.brain import Brain
from agentorch.tools.port import ControlPort
from tests.graphs.brains import Saying


@asynccontextmanager
async def supervising(
    port: ControlPort, brain: Brain, fallback: Brain | None = None, *, ticking: bool = False, **options: Any
) -> AsyncIterator[Supervisor]:
    """A started supervisor whose cycles the test runs itself, unless `ticking`."""
    settings: dict[str, Any] = {"cycle_s": 0.0, "timeout_s": 30.0, "checkpoints": None, **options}
    supervisor = Supervisor(port, brain, fallback or Saying(id="fallback"), **settings)
    try:
        await supervisor.start(ticking=ticking)
        yield supervisor
    finally:
        await supervisor.close()
