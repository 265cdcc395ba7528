"""An LLM brain on a scripted server: asked alone, or in a supervisor's cycles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentorch.config.brains import LlmSettings
from agentorch.graphs.driver import Supervisor
from agentorch.graphs.llm.brain import LLMBrain, llm_brain
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport
from tests.graphs.brains import Saying
from tests.graphs.port import MemoryPort
from tests.graphs.supervising import supervising
from tests.llm.server import Script, Server, answering

TIMEOUT_S = 20.0


def settings(server: Server, **fields: Any) -> LlmSettings:
    return LlmSettings(**{"model": "scripted", "base_url": server.url, "timeout_s": TIMEOUT_S, **fields})


def context(port: MemoryPort, timeout_s: float = TIMEOUT_S) -> BrainContext:
    return BrainContext(preview=port.preview, foresee=port.foresee, timeout_s=timeout_s)


async def decided(
    *answers: Script, observation: Observation | None = None, timeout_s: float = TIMEOUT_S, **fields: Any
) -> tuple[BrainReport, Server]:
    """The report of one cycle, and the server that it came from, which is gone by then."""
    port = MemoryPort()
    seen = observation or await port.observe()
    async with answering(*answers) as server:
        brain = llm_brain(settings(server, **fields))
        return await brain.decide(seen, context(port, timeout_s)), server


@asynccontextmanager
async def cycles(
    *answers: Script, timeout_s: float = TIMEOUT_S, **fields: Any
) -> AsyncIterator[tuple[Supervisor, MemoryPort, Server]]:
    """A supervisor whose brain asks the scripted server."""
    port = MemoryPort()
    async with answering(*answers) as server:
        brain: LLMBrain = llm_brain(settings(server, **fields))
        async with supervising(port, brain, Saying(id="fallback"), timeout_s=timeout_s) as supervisor:
            yield supervisor, port, server
