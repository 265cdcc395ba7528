"""Supervise with tracing asked for by the environment, and print where the process wanted to connect.

`python -m tests.graphs.offline FOLDER on|off`: `on` leaves the inherited setting as it is, to show that it is heard.
Every attempt to leave the machine is refused before it happens.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from langchain_core.tracers.langchain import wait_for_all_tracers

from agentorch.graphs.driver import Supervisor
from agentorch.model.proposals import AnswerKind
from tests.graphs.brains import Saying
from tests.graphs.stage import STAGES
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually

LOOPBACK = {"localhost", "127.0.0.1", "::1", b"localhost"}
attempts: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "localhost"
    else:
        return
    if host not in LOOPBACK:
        attempts.append(f"{event} {host}")
        raise OSError("the machine is not to be left")


async def supervise(folder: Path) -> None:
    stage = STAGES["memory"](folder)
    brain = Saying((stage.allowed(), stage.asked()), ())
    async with supervising(stage.port, brain, checkpoints=folder / "checkpoints.db") as supervisor:
        first = await supervisor.run_cycle()
        await supervisor.run_cycle()
        await stage.answer(first.proposals[1].id, AnswerKind.approve)
        await eventually(lambda: stage.effects(first.proposals[1].id) == 1)
    wait_for_all_tracers()


async def cycle_without_starting(folder: Path) -> None:
    """Starting is what switches tracing off."""
    stage = STAGES["memory"](folder)
    supervisor = Supervisor(stage.port, Saying(), Saying(), cycle_s=0.0, timeout_s=30.0, checkpoints=None)
    await supervisor.run_cycle()
    await supervisor.close()
    await eventually(lambda: bool(attempts))


if __name__ == "__main__":
    sys.addaudithook(watch)
    run = cycle_without_starting if sys.argv[2] == "on" else supervise
    asyncio.run(run(Path(sys.argv[1])))
    print(*sorted(set(attempts)), sep="\n", flush=True)
    os._exit(0)  # leaving in order would try for many seconds more to deliver what was traced
