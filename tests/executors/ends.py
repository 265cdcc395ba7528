"""The ends that an executor tells, by attempt, to be awaited."""

from __future__ import annotations

import asyncio
from types import TracebackType

from agentorch.executors.contract import Executor
from agentorch.model.attempts import AttemptStatus

_PATIENCE_S = 60.0


class Ends:
    """`async with Ends(executor) as ends: status = await ends.of("job-1.1")`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._seen: dict[str, AttemptStatus] = {}
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Ends:
        self._task = asyncio.create_task(self._pump())
        return self

    async def __aexit__(self, _type: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _pump(self) -> None:
        async for status in self._executor.events():
            async with self._news:
                self._seen[status.id] = status
                self._news.notify_all()

    async def of(self, attempt: str) -> AttemptStatus:
        async with asyncio.timeout(_PATIENCE_S), self._news:
            await self._news.wait_for(lambda: attempt in self._seen)
        return self._seen[attempt]


async def until_logged(executor: Executor, attempt: str, text: bytes) -> bytes:
    """The standard output of the attempt, once the text is in it."""
    async with asyncio.timeout(_PATIENCE_S):
        while text not in (log := (await executor.logs(attempt, "stdout", 0, 1 << 20))[0]):
            pass  # each look is a trip to a thread, so the loop is free meanwhile
    return log
