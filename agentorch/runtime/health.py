"""Tells the core how devices are, now and then. Nothing here judges: what changed becomes events there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from agentorch.errors import Refused, RuntimeStopped
from agentorch.model import commands as cmd
from agentorch.model.observation import DeviceSample

if TYPE_CHECKING:
    from agentorch.runtime.loop import Loop

log = logging.getLogger(__name__)

#: Time between two looks, as long as between two samples.
LOOK_EVERY_S: Final = 2.0


class HealthWatch:
    """`samples` gives the newest sample of every device there is."""

    def __init__(self, samples: Callable[[], tuple[DeviceSample, ...]]) -> None:
        self._samples = samples
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: Loop

    def attach(self, loop: Loop) -> None:
        self._loop = loop

    def start(self) -> None:
        self._tasks.append(self._loop.watched(asyncio.create_task(self._watch(), name="health")))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self._loop.ask(cmd.ReportHealth(samples=self._samples()))
            except Refused as error:
                log.info("health was not heard: %s", error)  # full for a moment; the next look tells it
            except RuntimeStopped:
                return
            await self._loop.clock.wait(LOOK_EVERY_S)
