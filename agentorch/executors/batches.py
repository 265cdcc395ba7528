"""Work that blocks, gathered: while one batch runs in a thread, the next one collects.

So many attempts share one trip to a thread and one sync, and the loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands items to `work`, all that wait at once, in the order they came.

    `work` returns one result for each item; an exception as a result is raised to whoever handed that item in, an
    exception that `work` raises to everybody of the batch.
    """

    def __init__(self, work: Callable[[list[Item]], list[Result | Exception]], pool: Pool) -> None:
        self._work = work
        self._pool = pool
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """The result for this item, with the batch that it falls into."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await loop.run_in_executor(self._pool, self._work, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._task = None
