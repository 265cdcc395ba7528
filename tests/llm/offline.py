"""Ask a model on loopback with tracing asked for by the environment; print where else the process wanted to connect.

`python -m tests.llm.offline`. Every attempt to leave the machine is refused before it happens.
"""

from __future__ import annotations

import asyncio
import os
import sys

from langchain_core.tracers.langchain import wait_for_all_tracers

from tests.graphs.offline import attempts, watch
from tests.llm.asking import cycles
from tests.llm.server import DONE, proposals, says


async def supervise() -> None:
    async with cycles(says(*proposals(3)), DONE) as (supervisor, port, server):
        result = await supervisor.run_cycle()
        assert [proposal.state for proposal in result.proposals] == ["done"], port.record.reports
        assert len(server.heard) == 2
    wait_for_all_tracers()


if __name__ == "__main__":
    sys.addaudithook(watch)
    asyncio.run(supervise())
    print(*sorted(set(attempts)), sep="\n", flush=True)
    os._exit(0)  # leaving in order would try for many seconds more to deliver what was traced
