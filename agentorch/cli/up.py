"""`agentorch up`: the server, and the terminal UI on a terminal."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from agentorch.cli.child_server import child_server
from agentorch.cli.serve import serve
from agentorch.config import load


def up(*, data: Path | None = None, port: int | None = None, config: Path | None = None, theme: str = "night") -> int:
    """Start the server here; on a terminal open the terminal UI on it, and stop both when it is closed.

    Without a terminal this is `agentorch serve`. Work that still runs when the server stops goes on, and is found again
    at the next start.

    Parameters
    ----------
    data
        Directory below which everything is kept.
    port
        Port to bind.
    config
        A configuration file, instead of agentorch.toml.
    theme
        Theme of the terminal UI: night, day, colour-blind or ansi.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return serve(data=data, port=port, config=config)
    settings = load(config_file=config, flags={"server.data_dir": str(data) if data else None, "server.port": port})
    folder = settings.server.data_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The key of this run: the server takes it as its environment's key, in place of the last run's.
    key = settings.client.key or f"up-{secrets.token_urlsafe(24)}"
    with child_server(
        data=folder, port=settings.server.port, key=key, log=folder / "server.log", config=config
    ) as server:
        from agentorch.tui.app import run

        return run(server.url, server.key, theme=theme)
