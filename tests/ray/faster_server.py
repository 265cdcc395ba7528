"""`agentorch serve` on a clock that runs forty times as fast: guard windows of ten minutes pass in fifteen seconds."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from agentorch.cli.compose import serving
from agentorch.cli.serve import announce
from agentorch.config.settings import Settings, load
from agentorch.runtime.clock import FasterClock

FACTOR = 40


async def run(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(settings, clock=FasterClock(FACTOR)) as server:
        announce(server, settings)
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(server.stopped.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if server.failure is not None:
            raise server.failure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    words = parser.parse_args()
    flags = {"server.data_dir": words.data, "server.port": words.port}
    asyncio.run(run(load(config_file=words.config, flags=flags)))


if __name__ == "__main__":
    main()
