"""`agentorch serve`: the server, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
from pathlib import Path

import uvloop

from agentorch.cli.brains import parse_brain
from agentorch.cli.compose import Serving, serving
from agentorch.config.settings import Settings, load
from agentorch.errors import AgentorchError


def serve(
    *,
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    config: Path | None = None,
    mode: str | None = None,
    executor: str | None = None,
    brain: str | None = None,
) -> int:
    """Run the server in the foreground.

    Parameters
    ----------
    data
        Directory below which everything is kept.
    host
        Address to bind; loopback by default.
    port
        Port to bind; 0 takes a free one and says which.
    config
        A configuration file, instead of agentorch.toml.
    mode
        How far the supervisor may go: paused, observe, approve, guarded. Can only lower what the ledger says.
    executor
        What starts the work of pools that name no executor: local, ray, slurm.
    brain
        Who decides: rules, openai (as configured), openai:MODEL, openai:MODEL@BASE_URL or a Python file.
    """
    flags = {
        "server.data_dir": str(data) if data is not None else None,
        "server.host": host,
        "server.port": port,
        "supervisor.mode": mode,
        "server.executor": executor,
    }
    settings = load(config_file=config, flags=flags)
    allow_many_files()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings, brain))


def allow_many_files() -> None:
    """Each running attempt is watched through a descriptor: take as many as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(settings: Settings, brain: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT (0), or until the runtime fails (1)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    decider = None if brain is None else parse_brain(brain, settings)
    async with serving(settings, brain=decider) as server:
        announce(server, settings)
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(server.stopped.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if server.failure is not None:
            print(f"agentorch: stopped: {server.failure}", file=sys.stderr)
            return 1 if isinstance(server.failure, AgentorchError) else 70
        print("agentorch: stopping; running work goes on and is found again at the next start", file=sys.stderr)
    return 0


def announce(server: Serving, settings: Settings) -> None:
    """Say where it listens, and an admin key that was made just now, once."""
    print(f"agentorch: listening on {server.url}, data in {settings.server.data_dir}", file=sys.stderr, flush=True)
    if server.new_key is not None:
        print("agentorch: admin key, shown only this once; keep it in AGENTORCH_KEY:", file=sys.stderr)
        print(server.new_key, flush=True)
