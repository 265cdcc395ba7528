"""A supervisor in a process of its own, to be killed: `python -m tests.graphs.child STAGE FOLDER WHEN`.

WHEN is where it kills itself: `pending` (after printing what waits it hangs, and the parent kills), `before` or
`after` carrying out an approved proposal. It prints the proposal's id first.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from agentorch.model.proposals import AnswerKind, Proposal
from agentorch.tools.port import ControlPort
from tests.graphs.brains import Saying
from tests.graphs.faults import FaultyPort
from tests.graphs.stage import STAGES
from tests.graphs.supervising import supervising


class DyingPort(FaultyPort):
    """Kills the process just before or just after an action of the given port."""

    def __init__(self, port: ControlPort, when: str) -> None:
        super().__init__(port)
        self._when = when

    async def carry_out(self, proposal: str) -> Proposal:
        if self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        carried = await super().carry_out(proposal)
        if self._when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return carried


async def main(stage_name: str, folder: Path, when: str) -> None:
    stage = STAGES[stage_name](folder)
    port = DyingPort(stage.port, when)
    async with supervising(port, Saying((stage.asked(),)), checkpoints=folder / "checkpoints.db") as supervisor:
        waiting = (await supervisor.run_cycle()).proposals[0].id
        print(waiting, flush=True)
        if when != "pending":
            await stage.answer(waiting, AnswerKind.approve)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
