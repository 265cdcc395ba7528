"""Pictures for the README, of a real demo while it runs: `python -m tests.system.pictures docs/pictures`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from pathlib import Path

from textual.pilot import Pilot

from agentorch.cli.child_server import child_server, free_port
from agentorch.cli.demo import CONFIG, Show, feed
from agentorch.tui.app import AgentorchApp
from agentorch.tui.feed import connect
from tests.tui.driving import screen_text
from tests.tui.shots import readable

KEY = "pictures"
#: name, keys pressed before it is taken
SHOTS = (("dashboard", "1"), ("inbox", "6"), ("jobs", "2"), ("job", "2 enter"), ("pools", "3"), ("log", "7"))


async def take(show: Show, folder: Path) -> None:
    app = AgentorchApp(connect(show.url, show.key, read_only=False))
    async with app.run_test(size=(120, 36)) as pilot:
        await until(app, pilot, "1 to approve")
        for _ in range(200):  # a little history for the plots
            await pilot.pause(0.04)
        for name, keys in SHOTS:
            await pilot.press(*keys.split())
            for _ in range(40):
                await pilot.pause(0.04)
            (folder / f"{name}.svg").write_text(readable(app.export_screenshot(title="agentorch demo")))
            await pilot.press("escape")


async def until(app: AgentorchApp, pilot: Pilot[int], text: str) -> None:
    while not any(text in row for row in screen_text(app)):
        await pilot.pause(0.1)


def main() -> int:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "agentorch.toml").write_text(CONFIG)
        with child_server(
            data=place / "data",
            port=free_port(),
            key=KEY,
            log=place / "server.log",
            config=place / "agentorch.toml",
        ) as server:
            show = Show(server.url, server.key)
            threading.Thread(target=lambda: asyncio.run(feed(show)), daemon=True).start()
            asyncio.run(take(show, folder))
            show.stop.set()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
