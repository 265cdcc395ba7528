"""The whole server on a Ray cluster: what jobs can do on one machine they can do there, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray.cluster import Cluster, needs_ray
from tests.system.server import KEY, Server, eventually, running

# The very tests of the one-machine server; the fixtures below give them a server on the cluster.
from tests.system.test_jobs import (  # noqa: F401
    test_a_job_runs_and_its_output_and_exit_code_are_there,
    test_a_string_is_run_by_a_shell,
    test_budgets_bind_and_tenants_are_strangers,
    test_cancel_leaves_no_process_of_a_tree_with_daemons,
    test_progress_is_reported_by_the_job_itself,
    test_why_and_verify_on_the_command_line,
)

pytestmark = needs_ray

MIXED = """
[pools.here]
executor = "local"
workers = 1
cpus = 0.5
memory = "64MB"
[pools.typed]
executor = "ray"
node_type = "b"
workers = 1
cpus = 1
memory = "64MB"
price_usd_per_hour = 0
[pools.there]
executor = "ray"
workers = 2
cpus = 1
memory = "64MB"
price_usd_per_hour = 0
labels = { rack = "one" }
"""


@pytest.fixture(scope="module")
def on_ray(cluster: Cluster) -> Iterator[pytest.MonkeyPatch]:
    """Servers that are started while this holds run on the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTORCH_SERVER_EXECUTOR", "ray")
        patch.setenv("AGENTORCH_EXECUTORS_RAY_STATE", str(cluster.root / "ray"))
        patch.setenv("AGENTORCH_EXECUTORS_RAY_AGENT_ROOT", str(cluster.root / "agents"))
        yield patch


@pytest.fixture(autouse=True)
def _everything_on_ray(on_ray: pytest.MonkeyPatch) -> None:
    """Also for tests that start a server of their own."""


@pytest.fixture(scope="module")
def server(on_ray: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("serve")) as server:
        yield server


def test_pools_are_found_from_the_nodes_of_the_cluster(server: Server) -> None:
    pools = {pool["name"]: pool for pool in server.get("/v1/pools")}
    assert {name: (pool["executor"], pool["node_type"]) for name, pool in pools.items()} == {
        "a": ("ray", "a"),
        "b": ("ray", "b"),
    }
    nodes = server.get("/v1/nodes")
    assert sorted(node["type"] for node in nodes) == ["a", "a", "b"]
    assert {node["state"] for node in nodes} == {"up"}
    assert all(node["address"] == "127.0.0.1" for node in nodes)


def test_telemetry_of_every_node_arrives_with_its_age(server: Server) -> None:
    nodes = {node["id"] for node in server.get("/v1/nodes")}

    def known() -> bool:
        devices = server.get("/v1/devices")
        fresh = {one["node"] for one in devices if one["age_s"] is not None and one["utilization_percent"] is not None}
        return nodes <= fresh

    eventually(known, "each node's processors were sampled")


def test_nothing_here_imports_ray(server: Server) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "/ray/" not in maps


def test_one_queue_for_this_machine_and_the_cluster(tmp_path: Path) -> None:
    with running(tmp_path, MIXED) as server:
        pinned = {
            "here": server.submit("echo $AGENTORCH_ATTEMPT_DIR", pool="here", resources={"cpus": 0.5}),
            "there": server.submit("echo $AGENTORCH_ATTEMPT_DIR", pool="there"),
            "typed": server.submit("echo $AGENTORCH_ATTEMPT_DIR", pool="typed"),
        }
        labelled = server.submit("true", pool_labels={"rack": "one"})
        ended = {pool: server.ended(job) for pool, job in pinned.items()}
        assert {pool: job["state"] for pool, job in ended.items()} == dict.fromkeys(pinned, "succeeded")
        assert {pool: job["attempts"][-1]["pool"] for pool, job in ended.items()} == {name: name for name in pinned}
        assert server.ended(labelled)["attempts"][-1]["pool"] == "there"
        kinds = {node["id"]: node["type"] for node in server.get("/v1/nodes")}
        assert kinds[ended["typed"]["attempts"][-1]["node"]] == "b"
        assert not ended["here"]["attempts"][-1]["node"] or ended["here"]["attempts"][-1]["node"] == "local"
        told = server.http.get(f"/v1/jobs/{pinned['typed']}/logs", headers={"Authorization": f"Bearer {KEY}"})
        assert ended["typed"]["attempts"][-1]["node"] in told.text, "its directory is below that of its node"
