"""Gangs whose ranks are on several nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentorch.core import gangs
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause, JobState, RetryPolicy
from tests.core.cluster import Cluster
from tests.core.world import World


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    world = World()
    world.tenant()
    yield Cluster(world)
    world.assert_sound()


def three_nodes(cluster: Cluster) -> World:
    """Of two workers with two cores each."""
    cluster.pool(workers=6, cpus=2)
    for name in ("n1", "n2", "n3"):
        cluster.node(name, address=f"10.0.0.{name[1]}")
    cluster.report()
    assert len(cluster.placed()) == 6
    return cluster.world


def nodes_of(world: World, job: str) -> list[str]:
    return [rank.node for rank in world.job(job).attempts[-1].ranks]


def test_a_gang_takes_the_fewest_nodes_and_ranks_of_a_node_follow_each_other(cluster: Cluster) -> None:
    world = three_nodes(cluster)
    filler = world.submit(cpus=1)
    assert world.schedule() == [filler]
    part = world.job(filler).attempts[-1].node
    gang = world.submit(gang=6)
    assert world.schedule() == [gang]
    nodes = nodes_of(world, gang)
    assert nodes[4:] == [part, part]  # what is left there suffices for the rest: a whole node stays whole
    assert set(nodes[:4]) == {nodes[0]} != {part}
    told = gangs.environments(world.facts, world.job(gang).attempts[-1])
    assert [one["LOCAL_RANK"] for one in told] == ["0", "1", "2", "3", "0", "1"]
    assert [one["NODE_RANK"] for one in told] == ["0"] * 4 + ["1"] * 2
    assert [one["LOCAL_WORLD_SIZE"] for one in told] == ["4"] * 4 + ["2"] * 2
    assert {one["MASTER_ADDR"] for one in told} == {world.facts.nodes[nodes[0]].address}
    assert told[0]["AGENTORCH_GANG_NODES"] == ",".join(nodes)


def test_gangs_with_their_first_ranks_on_one_node_have_ports_of_their_own(cluster: Cluster) -> None:
    world = three_nodes(cluster)
    names = [world.submit(gang=2) for _ in range(6)]
    assert world.schedule() == names
    attempts = [world.job(name).attempts[-1] for name in names]
    assert len({(attempt.node, attempt.port) for attempt in attempts}) == 6
    assert sum(len(ports) for ports in world.facts.ports.values()) == 6


def test_a_lost_node_costs_the_gang_one_attempt_as_a_whole(cluster: Cluster) -> None:
    world = three_nodes(cluster)
    gang = world.submit(gang=8, retry=RetryPolicy(backoff_ms=0))
    assert world.schedule() == [gang]
    world.running(gang)
    lost = nodes_of(world, gang)[-1]
    cluster.change(lost, state=NodeState.down)
    cluster.report()
    ranks = [number for number, node in enumerate(nodes_of(world, gang)) if node == lost]
    for rank in ranks:
        world.end_rank(gang, rank, Cause.node_lost)
    job = world.job(gang)
    assert (job.state, job.stop_cause) == (JobState.stopping, Cause.gang)
    assert world.schedule() == []
    world.end(gang, Cause.error, None, signal=15)
    job = world.job(gang)
    assert (job.state, job.attempts[-1].cause, job.retries_used) == (JobState.queued, Cause.node_lost, 1)
    assert job.attempts[-1].message == f"rank {ranks[0]}: node_lost"
    assert world.schedule() == [gang]
    assert lost not in nodes_of(world, gang)


def test_a_gang_waits_for_a_node_in_doubt_and_keeps_no_room_there(cluster: Cluster) -> None:
    world = three_nodes(cluster)
    cluster.change("n3", state=NodeState.suspect, problem="no answer")
    cluster.report()
    gang = world.submit(gang=12)
    world.now_ms += limits.RESERVE_AFTER_MS
    assert world.schedule() == []
    assert world.facts.reserved == {}
    cluster.change("n3", state=NodeState.up, problem="")
    cluster.report()
    assert world.schedule() == [gang]


def test_a_drain_moves_the_gang_as_a_whole(cluster: Cluster) -> None:
    world = three_nodes(cluster)
    gang = world.submit(gang=8)
    assert world.schedule() == [gang]
    world.running(gang)
    worker = world.job(gang).attempts[-1].ranks[7].worker
    world.ask(cmd.CordonWorker(worker=worker, cordoned=True, by="op"))
    cluster.scale(5)
    world.tick(world.facts.pools["cpu"].spec.drain_grace_ms / 1000 + 1)
    assert world.job(gang).stop_cause is Cause.interruption
    world.end(gang, Cause.error, None, signal=15)
    assert world.job(gang).attempts[-1].cause is Cause.interruption
    assert world.facts.ports == {}
