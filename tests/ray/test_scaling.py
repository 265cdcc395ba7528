"""The supervisor scales real nodes: it wants, a person at the terminal approves, nodes come and go, no job is lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray.cluster import Cluster, needs_ray
from tests.system.server import Server, eventually, running
from tests.system.test_terminal import Terminal, terminal

pytestmark = [
    needs_ray,
    pytest.mark.terminal,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: it is the terminal of this test"),
]

FASTER = ("tests.ray.faster_server",)
GROWING = """
[supervisor]
cycle_s = "10s"
[guardrails]
always_ask = ["scale"]
[executors.ray]
provider = "local"
node_cpus = 2
lease = "2s"
[pools.growing]
executor = "ray"
node_type = "growing"
workers = 1
max_workers = 3
cpus = 2
memory = "64MB"
price_usd_per_hour = 0
target_wait = "1s"
provision_timeout = "1h"
"""
JOBS = 6


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("AGENTORCH_EXECUTORS_RAY_STATE", str(cluster.root / "ray"))
    monkeypatch.setenv("AGENTORCH_EXECUTORS_RAY_AGENT_ROOT", str(cluster.root / "agents"))
    try:
        with running(tmp_path, GROWING, FASTER) as server:
            yield server
    finally:
        for machine in cluster.machines.running():
            if machine.type == "growing":
                cluster.machines.stop(machine)


def ours(server: Server) -> list[str]:
    return [node["id"] for node in server.get("/v1/nodes") if node["type"] == "growing" and node["state"] == "up"]


def nodes_become(server: Server, count: int) -> list[str]:
    return eventually(lambda: found if len(found := ours(server)) == count else None, f"there are {count} nodes")


def approve_until(server: Server, screen: Terminal, title: str, count: int) -> float:
    """Say yes at the terminal to what is asked, and again when it is asked again, until there are so many nodes.

    Asked again: judged anew when it is carried out, a step may be denied, as on telemetry that grew too old meanwhile.
    Returns the seconds from the last yes on.
    """
    begun = time.monotonic()

    def there() -> bool:
        nonlocal begun
        waiting = server.get("/v1/approvals")["items"]
        if waiting and len(ours(server)) != count:
            assert title in waiting[0]["title"], waiting[0]
            screen.shows(title)
            screen.type("a")
            begun = time.monotonic()
            eventually(lambda: server.get("/v1/approvals")["items"] != waiting, f"{waiting[0]['id']} is answered")
        return len(ours(server)) == count

    eventually(there, f"there are {count} nodes")
    return time.monotonic() - begun


def test_one_three_one_by_decisions_that_a_person_approves(server: Server, tmp_path: Path) -> None:
    times: dict[str, float] = {}
    begun = time.monotonic()
    nodes_become(server, 1)
    times["the first node is there"] = time.monotonic() - begun
    with terminal(tmp_path, server, "tui") as screen:
        screen.shows("live")
        screen.type("6")
        go = tmp_path / "go"
        work = f"until [ -e {go} ]; do sleep 0.1; done; echo done"
        jobs = [server.submit(work, resources={"cpus": 2}) for _ in range(JOBS)]
        times["two nodes more, after the approval"] = approve_until(
            server, screen, "Grow growing from 1 to 3 workers", 3
        )
        eventually(lambda: server.get("/v1/snapshot")["running"] == 3, "every node works")
        go.touch()
        ended = [server.ended(job) for job in jobs]
        assert {job["state"] for job in ended} == {"succeeded"}
        assert {len(job["attempts"]) for job in ended} == {1}
        assert len({job["attempts"][0]["node"] for job in ended}) == 3
        for count in (2, 1):
            title = f"Shrink growing from {count + 1} to {count} worker"
            times[f"down to {count}, after the approval"] = approve_until(server, screen, title, count)
        screen.type("q")
    logs = [server.http.get(f"/v1/jobs/{job}/logs").text for job in jobs]
    assert logs == ["done\n"] * JOBS, "what they wrote outlives the nodes that they ran on"
    assert server.command("verify", str(server.data)).returncode == 0
    for what, seconds in times.items():
        print(f"{what}: {seconds:.1f} s")
