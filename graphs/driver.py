"""The loop around the graphs: a cycle every few seconds, answers pushed as they come, threads compared with the ledger.

Nothing here must survive: a new supervisor on the same port goes on where the ledger is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentorch.errors import RuntimeStopped
from agentorch.graphs.alarms import Alarms
from agentorch.graphs.checkpoints import Checkpoints
from agentorch.graphs.cycle import CycleGraph, CycleResult
from agentorch.graphs.deciding import Decider
from agentorch.graphs.threads import ApprovalThreads
from agentorch.graphs.tracing import switch_tracing_off
from agentorch.model.brain import Brain
from agentorch.model.limits import RECONCILE_EVERY_CYCLES
from agentorch.tools.port import ControlPort
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe

logger = logging.getLogger(__name__)


class Supervisor:
    """Drives one brain over one port.

    `cycle_s` is the pause between cycles, `timeout_s` what a brain may take, `checkpoints` the file of the approval
    threads (None: memory). `wait` (seconds) and `clock` (seconds, only for how long a brain took) are the runtime's
    or the simulator's; brains are timed by the event loop.
    """

    def __init__(
        self,
        port: ControlPort,
        brain: Brain,
        fallback: Brain,
        *,
        cycle_s: float,
        timeout_s: float,
        checkpoints: Path | None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = Steps(port)
        self._alarms = Alarms(self._steps)
        self._decider = Decider(self._steps, self._alarms, brain, fallback, timeout_s=timeout_s, clock=clock)
        self._checkpoints = Checkpoints(checkpoints)
        self.threads = ApprovalThreads(self._steps, self._checkpoints, self._alarms)
        self._cycle = CycleGraph(self._steps, self._decider, self.threads, self._alarms)
        self._cycle_s = cycle_s
        self._wait = wait
        self._ticking = asyncio.Lock()
        self._cycles = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, ticking: bool = True) -> None:
        """Open the checkpoints, rebuild every pending thread from the ledger, follow answers, and begin to tick.

        `ticking` False leaves the cycles to the caller (`run_cycle`). Raises RuntimeStopped when the port has stopped;
        it is closed again then, because an open checkpoint connection would keep the process from ending.
        """
        switch_tracing_off()
        try:
            await self.threads.open()
            self._tasks.append(asyncio.create_task(self._follow(), name="supervisor answers"))
            await asyncio.sleep(0)  # the stream must be open before the ledger is read: no answer falls between them
            await self._reconcile(starting=True)
        except BaseException:
            await self.close()
            raise
        if ticking:
            self._tasks.append(asyncio.create_task(self._tick(), name="supervisor cycles"))

    async def close(self) -> None:
        """Stop, also in the middle of a cycle; what was begun is in the ledger. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._decider.close()
        await self.threads.close()

    async def run_cycle(self) -> CycleResult:
        """One tick: a cycle, and now and then a reconciliation. A failure is an alert and a result with `error`.

        Raises RuntimeStopped, and nothing else of the port's.
        """
        async with self._ticking:
            result = await self._run_cycle()
            self._cycles += 1
            if self._cycles % RECONCILE_EVERY_CYCLES == 0:
                await self.reconcile()
            return result

    async def reconcile(self) -> None:
        """Compare every thread with the ledger. Raises RuntimeStopped; any other failure is an alert."""
        await self._reconcile(starting=False)

    async def _reconcile(self, *, starting: bool) -> None:
        try:
            await self.threads.reconcile(starting=starting)
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - it is tried again some cycles later
            await self._alarms.raise_alert("reconcile-failed", describe(error))
        else:
            self._alarms.calm("reconcile-failed")

    async def _run_cycle(self) -> CycleResult:
        try:
            result = await self._cycle.run()
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - a broken cycle never ends the loop
            await self._alarms.raise_alert("cycle-failed", describe(error))
            return CycleResult(error=describe(error))
        self._alarms.calm("cycle-failed")
        return result

    async def _tick(self) -> None:
        try:
            while True:
                await self.run_cycle()
                await self._wait(self._cycle_s)
        except RuntimeStopped:
            logger.info("the runtime has stopped, and so do the cycles")

    async def _follow(self) -> None:
        try:
            while not await self._follow_to_the_end():
                await self._wait(self._cycle_s)
                await self.reconcile()
        except RuntimeStopped:
            logger.info("the runtime has stopped; nobody answers any more")

    async def _follow_to_the_end(self) -> bool:
        """Push answers until the stream ends, which is when the port closes: True.

        False when it broke off: that is an alert, and the ledger knows what was missed.
        """
        try:
            async for proposal in self._steps.settled():
                self._alarms.calm("answers-unheard")
                await self.threads.push(proposal.id)
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - following goes on with a new stream
            await self._alarms.raise_alert("answers-unheard", describe(error))
            return False
        return True
