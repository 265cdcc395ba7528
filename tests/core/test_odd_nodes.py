"""Nodes that share a name, or a machine, and nodes that vanish under a start."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from agentorch.model import commands as cmd
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.core.cluster import Cluster
from tests.core.world import World


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    world = World()
    world.tenant()
    yield Cluster(world)
    world.assert_sound()


@pytest.mark.parametrize("name", ["n1", "local"])
def test_a_name_that_another_has_is_refused_and_what_else_is_told_counts(cluster: Cluster, name: str) -> None:
    cluster.node("n1")
    cluster.report()
    others = (cluster.there["n1"], NodeInfo(id="n2", cpu_milli=1, memory_bytes=1))
    told = (msgspec.structs.replace(others[0], id=name), others[1])
    problem = cluster.world.ask(cmd.ReportNodes(executor="slurm", nodes=told))
    assert problem == f"of slurm, these have names that others have already: {name}"
    nodes = cluster.world.facts.nodes
    assert {node.id: node.executor for node in nodes.values()} == {"n1": "ray", "n2": "slurm"}
    assert cluster.world.ask(cmd.ReportNodes(executor="slurm", nodes=told[1:])) == ""


def test_two_nodes_on_one_machine_do_not_hand_out_its_gpus_twice(cluster: Cluster) -> None:
    cluster.node("n1", gpus=2)
    cluster.node("n2", gpus=2)
    cluster.change("n2", devices=cluster.there["n1"].devices)
    cluster.report()
    cluster.pool("gpu", workers=4, cpus=1, gpus=1)
    held = [device for worker in cluster.world.facts.workers.values() for device in worker.devices]
    assert sorted(held) == ["GPU-n1-0", "GPU-n1-1"]


def test_starts_on_a_node_that_has_just_vanished_pause_no_pool(cluster: Cluster) -> None:
    world = cluster.world
    cluster.pool(workers=8, cpus=1)
    cluster.node("n1", cpus=8)
    cluster.report()
    jobs = [world.submit() for _ in range(8)]
    assert world.schedule() == jobs
    for job in jobs:
        world.end(job, Cause.no_capacity, None)
    assert cluster.world.facts.pools["cpu"].failed_starts == 1, "one incident"
    world.tick(1)
    assert len(world.schedule()) == 8
    cluster.change("n1", state=NodeState.down)
    cluster.report()
    for job in jobs:
        world.end(job, Cause.no_capacity, None)
    assert cluster.world.facts.pools["cpu"].failed_starts == 1, "its node is why"
    assert {world.job(job).retries_used for job in jobs} == {0}
