"""The terminal UI on a ledger file: a read-only server on loopback, started for it and ended with it."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from agentorch.api.app import create_app
from agentorch.cli.compose import http_server, listening_socket
from agentorch.config.settings import load
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.runtime.recording import Recording


async def show(file: Path) -> int:
    """Serve the file on a free loopback port and run the terminal UI on it, in a thread of its own."""
    from agentorch.tui.app import run

    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    listener = listening_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = load(flags={"server.host": "127.0.0.1"}).server
    app = create_app(recording, secret=secrets.token_bytes(32), settings=settings)
    try:
        async with http_server(app, listener):
            return await asyncio.to_thread(run, url, None, read_only=True)
    finally:
        await recording.close()
        listener.close()
