"""Nodes come, go and fail: workers follow, nodes are asked for and let go; nothing is lost and nothing runs twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from agentorch.core import fit
from agentorch.core.instruct import Resize
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import NodeState, WorkerState
from agentorch.model.jobs import Cause, Checkpoint, JobState, Resources, Tier
from tests.core.cluster import KIND, Cluster, grown
from tests.core.world import GIB, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


# -- what is listed


def test_only_changes_become_events(cluster: Cluster) -> None:
    cluster.node("n1")
    assert cluster.report() == ["NodeSeen"]
    assert cluster.report() == []
    cluster.change("n1", problem="words")
    assert cluster.report() == []
    cluster.change("n1", state=NodeState.suspect, problem="no answer for 3 s")
    assert cluster.report() == ["NodeSeen"]
    assert cluster.world.facts.nodes["n1"].problem == "no answer for 3 s"


def test_a_node_that_is_not_listed_is_in_doubt_and_then_gone(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1)
    node = cluster.there.pop("n1")
    for _ in range(2):
        cluster.report()
        assert cluster.world.facts.nodes["n1"].state is NodeState.suspect
        assert cluster.report() == []
        cluster.there["n1"] = node
        assert cluster.report() == ["NodeSeen"]
        del cluster.there["n1"]
    cluster.report()
    cluster.world.tick(limits.NODE_UNLISTED_MS / 1000)
    assert cluster.report() == ["WorkerRemoved", "NodeRemoved", "NodesWanted"]


def test_workers_are_packed_on_as_few_nodes_as_hold_them(cluster: Cluster) -> None:
    for name in ("n1", "n2", "n3"):
        cluster.node(name)
    cluster.report()
    cluster.pool(workers=3, cpus=2)
    assert sorted(Counter(cluster.placed().values()).values()) == [1, 2]


def test_pools_share_nodes_and_never_a_device(cluster: Cluster) -> None:
    cluster.node("n1", cpus=8, gpus=4)
    cluster.report()
    cluster.pool("gpu", workers=2, cpus=1, gpus=1)
    cluster.pool("any", workers=1, cpus=1, gpus=2, node_type="*")
    workers = cluster.world.facts.workers.values()
    assert sorted(device for worker in workers for device in worker.devices) == [f"GPU-n1-{at}" for at in range(4)]


def test_devices_are_of_the_model_and_size_that_the_pool_names(cluster: Cluster) -> None:
    cluster.node("n1", cpus=8, gpus=1)
    cluster.report()
    shape = Resources(cpu_milli=1000, gpus=1, gpu_model="h200", gpu_memory_bytes=100 * GIB)
    cluster.pool("yes", shape=shape)
    assert cluster.placed("yes") == {"yes-0": "n1"}
    shape = Resources(cpu_milli=1000, gpus=1, gpu_model="b200")
    cluster.node("n2", cpus=8, gpus=1)
    cluster.report()
    cluster.pool("no", shape=shape)
    assert cluster.placed("no") == {}


def test_a_pool_of_any_node_asks_for_none(cluster: Cluster) -> None:
    cluster.pool(workers=2, node_type="*")
    cluster.world.tick(600)
    assert cluster.orders() == []


# -- growing


def test_a_pool_of_any_node_leaves_those_last_that_others_are_bound_to(cluster: Cluster) -> None:
    cluster.node("n1", cpus=2)
    cluster.node("n2", cpus=2, kind="other")
    cluster.report()
    cluster.pool("bound", workers=0, min_workers=0, max_workers=1, cpus=2)
    cluster.pool("any", workers=3, cpus=1, node_type="*")
    assert list(cluster.placed("any").values()) == ["n2", "n2", "n1"]


def test_nodes_are_asked_for_once_and_workers_come_with_them(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1)
    assert cluster.orders() == []
    cluster.scale(3)
    assert cluster.orders() == [Resize("ray", KIND, 3)]
    cluster.world.tick(2)
    cluster.node("n2")
    assert cluster.report() == ["NodeSeen", "WorkerAdded"]
    cluster.node("n3")
    cluster.report()
    cluster.world.tick(2)
    assert sorted(cluster.placed().values()) == ["n1", "n2", "n3"]
    assert cluster.orders() == [Resize("ray", KIND, 3)]
    assert cluster.group.since_ms is None


def test_as_many_nodes_as_workers_fill_of_a_type_that_is_known(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool("cpu", workers=5, cpus=2)
    cluster.pool("wide", workers=1, cpus=4)
    assert [order.nodes for order in cluster.orders()] == [3, 4]


def test_a_growth_that_is_taken_back_is_taken_back_outside_too(cluster: Cluster) -> None:
    cluster.pool(workers=3)
    cluster.scale(1)
    assert [order.nodes for order in cluster.orders()] == [3, 1]
    cluster.node("n1")
    cluster.report()
    cluster.world.tick()
    assert len(cluster.orders()) == 2


# -- shrinking


def job_on(cluster: Cluster, node: str) -> str:
    (worker,) = cluster.world.facts.nodes[node].workers
    (job,) = cluster.world.facts.workers[worker].running
    assert isinstance(job, str)
    return job


def test_exactly_the_emptied_node_is_let_go(cluster: Cluster) -> None:
    grown(cluster)
    idle = job_on(cluster, "n2")
    cluster.world.end(idle)
    cluster.scale(2)
    cluster.world.tick()
    assert cluster.orders()[-1] == Resize("ray", KIND, 2, ("n2",))
    assert cluster.world.facts.nodes["n2"].state is NodeState.draining
    del cluster.there["n2"]
    cluster.report()
    cluster.world.tick(60)
    assert sorted(cluster.world.facts.nodes) == ["n1", "n3"]
    assert cluster.orders()[-1] == Resize("ray", KIND, 2, ("n2",))


def test_the_node_nearest_to_empty_goes_first(cluster: Cluster) -> None:
    cluster.pool(workers=4, cpus=2)
    cluster.node("n1")
    cluster.node("n2")
    cluster.report()
    assert sorted(cluster.placed().values()) == ["n1", "n1", "n2", "n2"]
    cluster.world.submit(cpus=2)
    cluster.world.schedule()
    (busy,) = (worker.node for worker in cluster.world.facts.workers.values() if worker.running)
    cluster.scale(2)
    cluster.world.tick()
    assert set(cluster.placed().values()) == {busy}


def test_a_drain_lets_work_end_and_then_moves_what_may_be_moved(cluster: Cluster) -> None:
    grown(cluster)
    cluster.scale(1)
    leaving = [worker for worker in cluster.world.facts.workers.values() if worker.state is WorkerState.retiring]
    assert len(leaving) == 2
    cluster.world.tick(limits.DRAIN_GRACE_MS / 1000 - 1)
    assert all(cluster.world.job(worker.running[0]).stop_cause is None for worker in leaving)
    cluster.world.tick(2)
    for worker in leaving:
        job = cluster.world.job(worker.running[0])
        assert job.stop_cause is Cause.interruption
        cluster.world.end(job.id, Cause.error, None, signal=15)
        assert job.state is JobState.queued
        assert job.workers_lost == 0
    cluster.world.tick()
    assert len(cluster.world.facts.workers) == 1
    assert [order.remove for order in cluster.orders()[-2:]] == [
        (worker.node,) for worker in sorted(leaving, key=lambda w: w.node)
    ]


@pytest.mark.parametrize("spec", [{"preemptible": False}, {"tier": Tier.realtime}])
def test_a_drain_waits_for_what_must_not_be_stopped(cluster: Cluster, spec: dict[str, Any]) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1, drain_grace_ms=1_000)
    job = cluster.world.submit(cpus=4, **spec)
    cluster.world.schedule()
    cluster.scale(0)
    cluster.world.tick(3600)
    assert cluster.world.job(job).stop_cause is None
    cluster.world.end(job)
    cluster.world.tick()
    assert cluster.orders()[-1].remove == ("n1",)


def test_nodes_that_nobody_asked_for_and_nobody_used_are_left_alone(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.node("n2")
    cluster.report()
    cluster.pool(workers=1)
    cluster.world.tick(600)
    assert cluster.orders() == []


def test_the_nodes_of_a_removed_pool_are_let_go(cluster: Cluster) -> None:
    cluster.pool(workers=1)
    cluster.node("n1")
    cluster.report()
    cluster.world.ask(cmd.RemovePool(pool="cpu"))
    cluster.world.tick()
    assert cluster.world.facts.pools == {}
    assert cluster.orders()[-1] == Resize("ray", KIND, 0, ("n1",))


# -- doubt and loss


def test_a_node_in_doubt_takes_nothing_new_and_keeps_what_it_has(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1)
    first = cluster.world.submit(cpus=1)
    cluster.world.schedule()
    cluster.change("n1", state=NodeState.suspect)
    cluster.report()
    second = cluster.world.submit(cpus=1)
    assert cluster.world.schedule() == []
    assert cluster.world.job(first).state is JobState.starting
    assert cluster.orders() == []
    cluster.change("n1", state=NodeState.up)
    cluster.report()
    assert cluster.world.schedule() == [second]


def test_a_lost_node_with_ten_jobs_requeues_each_once(cluster: Cluster) -> None:
    world = cluster.world
    cluster.pool(workers=1, cpus=10)
    cluster.node("n1", cpus=10)
    cluster.report()
    jobs = [world.submit() for _ in range(10)]
    world.schedule()
    for job in jobs:
        world.running(job)
    cluster.change("n1", state=NodeState.suspect)
    cluster.report()
    cluster.change("n1", state=NodeState.down, problem="its lease is over")
    cluster.report()
    (worker,) = world.facts.workers.values()
    assert worker.state is WorkerState.down
    assert all(world.job(job).state is JobState.running for job in jobs), "nothing is requeued before it is told"
    assert cluster.orders()[-1].nodes == 1, "its replacement is asked for"
    before = len(world.events)
    for job in jobs:
        world.end(job, Cause.node_lost, None)
        world.end(job, Cause.node_lost, None)
    world.tick()
    del cluster.there["n1"]
    cluster.report()
    names = Counter(type(event).__name__ for event in world.events[before:])
    assert names["JobRequeued"] == names["AttemptEnded"] == 10
    assert names["WorkerRemoved"] == names["NodeRemoved"] == 1
    assert {world.job(job).attempts[-1].cause for job in jobs} == {Cause.node_lost}
    cluster.node("n2", cpus=10)
    cluster.report()
    world.tick(2)
    assert sorted(world.schedule()) == sorted(jobs)
    assert all(world.job(job).attempts_made == 2 for job in jobs)


def test_a_node_that_is_not_listed_any_more_waits_for_the_ends_of_its_work(cluster: Cluster) -> None:
    (job,) = grown(cluster, 1)
    cluster.there.clear()
    cluster.report()
    cluster.world.tick(limits.NODE_UNLISTED_MS / 1000)
    cluster.report()
    assert cluster.world.facts.nodes["n1"].state is NodeState.down
    cluster.world.tick(5)
    assert "n1" in cluster.world.facts.nodes
    cluster.world.end(job, Cause.node_lost, None)
    cluster.world.tick()
    assert cluster.world.facts.nodes == {}


def test_a_node_that_is_back_before_anything_was_told_goes_on(cluster: Cluster) -> None:
    (job,) = grown(cluster, 1)
    for state in (NodeState.down, NodeState.up):
        cluster.change("n1", state=state)
        cluster.report()
    cluster.world.end(job)
    assert [worker.state for worker in cluster.world.facts.workers.values()] == [WorkerState.up]
    assert cluster.group.wanted == 1


def test_workers_that_a_shrunken_node_has_no_room_for_go(cluster: Cluster) -> None:
    cluster.pool(workers=2, cpus=2)
    cluster.node("n1")
    cluster.report()
    cluster.change("n1", cpu_milli=2000)
    cluster.report()
    assert len(cluster.placed()) == 1


# -- interruption


def test_a_notice_moves_work_in_time_and_asks_for_another_node(cluster: Cluster) -> None:
    world = cluster.world
    cluster.pool(workers=1, spot=True)
    cluster.node("n1")
    cluster.report()
    job = world.submit(cpus=4, checkpoint=Checkpoint(signal="SIGUSR1", grace_ms=30_000))
    world.schedule()
    world.running(job)
    cluster.change("n1", notice_ms=world.now_ms + 120_000)
    cluster.report()
    (worker,) = world.facts.workers.values()
    assert (worker.state, worker.retire_reason) == (WorkerState.retiring, "its node is taken away")
    assert cluster.orders()[-1].nodes == 2
    world.tick(80)
    assert world.job(job).stop_cause is None, "it may still end by itself"
    world.tick(10)
    assert world.job(job).stop_cause is Cause.interruption
    world.end(job, Cause.interruption, None, signal=10)
    assert world.job(job).state is JobState.queued
    assert world.job(job).retries_used == 1
    cluster.node("n2")
    del cluster.there["n1"]
    cluster.report()
    world.tick(2)
    assert world.schedule() == [job]
    assert cluster.placed() == {"cpu-1": "n2"}


def test_what_takes_work_is_one_cheap_question(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1)
    (worker,) = cluster.world.facts.workers.values()
    assert fit.takes_work(worker)
    for state in (NodeState.suspect, NodeState.draining, NodeState.down):
        worker.node_state = state
        assert not fit.takes_work(worker)
    worker.node_state = NodeState.up
