"""A node's own process: its agent with its telemetry, whatever carries the questions there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from agentorch.executors import lease
from agentorch.executors.remote.agent import NodeAgent
from agentorch.model.attempts import NodeInfo
from agentorch.telemetry.probe import HostProbe, NvmlProbe
from agentorch.telemetry.sampler import Sampler

SAMPLE_EVERY_S: Final = 2.0


@contextlib.asynccontextmanager
async def serving(
    root: Path, node: str, *, offered: Callable[[NodeInfo], NodeInfo] = lambda info: info
) -> AsyncIterator[NodeAgent]:
    """The agent of this machine, which samples its processors and GPUs for as long as this lasts.

    `root` is a directory of this node's own: it holds its attempts, and outlives the process. `offered` may make the
    machine less than it is.
    """

    def clock_ms() -> int:
        return lease.now_ns() // 1_000_000

    sampler = Sampler([HostProbe(node), NvmlProbe(node)], clock_ms)
    await asyncio.to_thread(sampler.sample_once)  # the node offers the GPUs that are seen now
    await sampler.start(SAMPLE_EVERY_S)
    agent = NodeAgent(root, node, telemetry=sampler, offered=offered, clock_ms=clock_ms)
    try:
        yield agent
    finally:
        await agent.close()
        await sampler.close()
