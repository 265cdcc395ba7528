"""A server as a child process of a command: started, waited for, and stopped with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentorch.client import Client
from agentorch.errors import ConfigError, ServerUnreachable

START_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class ChildServer:
    url: str
    key: str


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def child_server(*, data: Path, port: int, key: str, log: Path, config: Path | None) -> Iterator[ChildServer]:
    """`agentorch serve` in a process of its own, up on entry, stopped in order on exit.

    Raises ConfigError with what the server said when it does not come up.
    """
    command = [sys.executable, "-m", "agentorch.cli", "serve", "--data", str(data), "--port", str(port)]
    if config is not None:
        command += ["--config", str(config)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env={**os.environ, "AGENTORCH_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # Ctrl-C in the terminal is for the command, which then stops the server in order
        )
    server = ChildServer(f"http://127.0.0.1:{port}", key)
    try:
        if not asyncio.run(_answers(server, process)):
            raise ConfigError(f"the server did not start; it said:\n{log.read_text()[-3000:]}")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STOP_WITHIN_S)


async def _answers(server: ChildServer, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers in time, and lives."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + START_WITHIN_S
    async with Client(server.url, server.key) as client:
        while loop.time() < give_up and process.poll() is None:
            try:
                await client.mode()
                return True
            except ServerUnreachable:
                await asyncio.sleep(0.05)
    return False
