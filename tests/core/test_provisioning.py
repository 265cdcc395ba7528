"""Nodes that do not come, or do not go: back-off, an end to it, and the same orders again after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentorch.core.decide.provisioning import backoff_ms
from agentorch.core.explain import reason
from agentorch.core.instruct import Resize, resizes_to_repeat
from agentorch.core.nodes import shortage
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import NodeState, PoolSpec
from tests.core.cluster import KIND, Cluster, grown
from tests.core.world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    yield world
    world.assert_sound()


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


# -- failures


def test_a_failed_order_backs_off_and_ends_in_a_pause(cluster: Cluster) -> None:
    world = cluster.world
    cluster.pool(workers=2)
    for failures in range(1, limits.POOL_FAILED_STARTS_PAUSE + 1):
        orders = len(cluster.orders())
        cluster.fail()
        assert cluster.group.failures == failures
        assert cluster.group.retry_ms == world.now_ms + backoff_ms(failures)
        if failures == limits.POOL_FAILED_STARTS_PAUSE:
            break
        world.tick(backoff_ms(failures) / 1000 - 1)
        assert len(cluster.orders()) == orders, "not before its time"
        world.tick(1)
        assert len(cluster.orders()) == orders + 1
    assert world.facts.pools["cpu"].paused
    assert "no quota" in world.facts.pools["cpu"].paused_reason
    assert world.facts.alerts[-1].code == "provisioning-failed"
    assert cluster.orders()[-1].nodes == 0, "what was asked for is taken back"
    orders = len(cluster.orders())
    for _ in range(100):
        world.tick(60)
    assert len(cluster.orders()) == orders, "and it is no loop"
    world.ask(cmd.PausePool(pool="cpu", paused=False, by="op"))
    world.tick()
    assert cluster.orders()[-1].nodes == 2, "a person lets it try again"


def test_a_job_says_what_its_pool_waits_for(cluster: Cluster) -> None:
    world = cluster.world
    cluster.pool(workers=1)
    job = world.job(world.submit(cpus=4))
    found = reason(world.state, job, world.now_ms)
    assert found is not None
    assert found[1].endswith("0 of them empty; 1 more waits for nodes of type big: 1 wanted, 0 there")
    cluster.fail()
    found = reason(world.state, job, world.now_ms)
    assert found is not None
    assert found[1].endswith("1 more waits for nodes of type big, which failed: no quota")
    cluster.pool("any", node_type="*")
    assert shortage(world.facts, world.facts.pools["any"]) == "1 more waits for room on the nodes of ray"


def test_a_pool_with_workers_makes_do_with_them(cluster: Cluster) -> None:
    world = cluster.world
    cluster.node("n1")
    cluster.report()
    cluster.pool(workers=1)
    cluster.scale(3)
    for _ in range(limits.POOL_FAILED_STARTS_PAUSE):
        cluster.fail()
        world.tick(600)
    pool = world.facts.pools["cpu"]
    assert (pool.target, pool.paused) == (1, False)
    assert cluster.orders()[-1].nodes == 1


def test_a_node_that_does_not_come_in_time_is_a_failure(cluster: Cluster) -> None:
    cluster.pool(workers=1, provision_timeout_ms=60_000)
    cluster.world.tick(59)
    assert cluster.group.failures == 0
    cluster.world.tick(1)
    assert cluster.group.failures == 1
    assert "in time" in cluster.group.error
    cluster.world.tick(10)
    assert len(cluster.orders()) == 2
    cluster.node("n1")
    cluster.report()
    assert (cluster.group.failures, cluster.group.retry_ms, cluster.group.since_ms) == (0, 0, None)


def test_workers_that_are_bigger_than_a_node_are_a_failure_and_no_loop(cluster: Cluster) -> None:
    world = cluster.world
    cluster.node("n1", cpus=2)
    cluster.report()
    cluster.pool(workers=1, cpus=4)
    for _ in range(100):
        world.tick(60)
    assert world.facts.pools["cpu"].paused
    assert "4 cpus" in world.facts.pools["cpu"].paused_reason
    assert cluster.orders() == []


def test_a_node_that_can_not_be_let_go_stays_and_is_let_go_later(cluster: Cluster) -> None:
    cluster.pool(workers=1)
    cluster.node("n1")
    cluster.report()
    cluster.scale(0)
    cluster.world.tick()
    cluster.fail(remove=("n1",))
    assert cluster.world.facts.nodes["n1"].state is NodeState.up
    cluster.world.tick(9)
    assert len([order for order in cluster.orders() if order.remove]) == 1
    cluster.world.tick(1)
    assert cluster.orders()[-1] == Resize("ray", KIND, 0, ("n1",))


def test_a_node_that_was_let_go_and_stays_is_let_go_again(cluster: Cluster) -> None:
    cluster.pool(workers=1)
    cluster.node("n1")
    cluster.report()
    cluster.scale(0)
    cluster.world.tick()
    cluster.world.tick(limits.PROVISION_TIMEOUT_MS / 1000)
    assert "still there: n1" in cluster.group.error
    cluster.world.tick(limits.PROVISION_BACKOFF_MS / 1000)
    assert [order.remove for order in cluster.orders()] == [(), ("n1",), ("n1",)]


# -- restarts


def test_a_restart_gives_again_what_may_not_have_been_performed(cluster: Cluster) -> None:
    cluster.pool(workers=2)
    assert resizes_to_repeat(cluster.world.facts) == [Resize("ray", KIND, 2)]
    cluster.node("n1")
    cluster.node("n2")
    cluster.report()
    cluster.scale(1)
    cluster.world.tick()
    (order,) = resizes_to_repeat(cluster.world.facts)
    assert (order.nodes, len(order.remove)) == (1, 1)


# -- configuration


def test_a_pool_with_work_does_not_move_to_another_executor(cluster: Cluster) -> None:
    (job,) = grown(cluster, 1)
    with pytest.raises(Refused, match="can't move from executor ray to local while 1 jobs run"):
        cluster.world.ask(cmd.ConfigurePool(spec=PoolSpec(name="cpu")))
    cluster.world.end(job)
    cluster.world.ask(cmd.ConfigurePool(spec=PoolSpec(name="cpu")))
    assert cluster.placed() == {"cpu-1": "local"}


def test_a_pool_of_another_type_leaves_its_nodes(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.node("n2", kind="small")
    cluster.report()
    cluster.pool(workers=1)
    cluster.pool(workers=1, node_type="small")
    assert list(cluster.placed().values()) == ["n2"]
