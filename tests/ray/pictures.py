"""A picture of a fleet of several machines for the docs: `python -m tests.ray.pictures docs/pictures`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from agentorch.cli.child_server import child_server, free_port
from agentorch.client import Client
from agentorch.tui.app import AgentorchApp
from agentorch.tui.feed import connect
from tests.ray.cluster import Cluster
from tests.system.pictures import KEY, until
from tests.tui.shots import readable

CONFIG = """
[pools.here]
executor = "local"
cpus = 0.5
memory = "1GB"
[pools.train]
executor = "ray"
node_type = "train"
workers = 2
max_workers = 4
cpus = 2
memory = "4GB"
price_usd_per_hour = 2.1
[pools.burst]
executor = "ray"
node_type = "spot"
workers = 3
max_workers = 8
cpus = 2
memory = "4GB"
price_usd_per_hour = 0.7
spot = true
[tenants.default]
hard_cap_usd = 500
"""


async def work(url: str) -> None:
    async with Client(url, KEY) as client:
        for name in ("tokenise", "eval-7b"):
            await client.submit(
                {"command": ["sleep", "600"], "name": name, "pool": "here", "resources": {"cpus": 0.25}}
            )
        gang = {
            "command": ["sleep", "600"],
            "name": "pretrain",
            "pool": "train",
            "workers": 2,
            "resources": {"cpus": 2},
        }
        await client.submit(gang)
        for number in range(5):
            job = {"command": ["sleep", "600"], "name": f"sweep-{number}", "pool": "burst", "resources": {"cpus": 2}}
            await client.submit(job)


async def take(url: str, folder: Path) -> None:
    app = AgentorchApp(connect(url, KEY, read_only=False))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("3")
        await until(app, pilot, "burst-0")
        await pilot.press(*["down"] * 5)
        await until(app, pilot, "provisioning")
        (folder / "nodes.svg").write_text(readable(app.export_screenshot(title="agentorch")))


def main() -> int:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        cluster = Cluster(place)
        os.environ["AGENTORCH_EXECUTORS_RAY_STATE"] = str(cluster.options().state)
        os.environ["AGENTORCH_EXECUTORS_RAY_AGENT_ROOT"] = str(cluster.options().agent_root)
        config, log = place / "agentorch.toml", place / "server.log"
        config.write_text(CONFIG)
        try:
            cluster.start("train", "train", "spot")
            with child_server(data=place / "data", port=free_port(), key=KEY, log=log, config=config) as server:
                asyncio.run(work(server.url))
                asyncio.run(take(server.url, folder))
        finally:
            cluster.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
