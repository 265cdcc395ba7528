"""What a server is composed of: pools from the hardware found, and configurations that can't be."""

from __future__ import annotations

import socket

import pytest

from agentorch.cli.compose import check_hardware, default_pools, listening_socket, split_devices
from agentorch.cli.executors import node_of
from agentorch.errors import ConfigError
from agentorch.model.attempts import NodeInfo, attempt_id
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Resources
from tests.core.cluster import Cluster
from tests.core.world import World, refold

GIB = 2**30
NODE = NodeInfo(id="local", cpu_milli=8_000, memory_bytes=64 * GIB)
GPU_NODE = NodeInfo(
    id="local",
    cpu_milli=8_000,
    memory_bytes=64 * GIB,
    devices=("GPU-0", "GPU-1", "GPU-2"),
    device_names=("H200", "H200", "H200"),
    device_memory_bytes=(140 * GIB, 140 * GIB, 139 * GIB),
)


def test_without_gpus_there_is_one_pool_that_is_the_machine() -> None:
    (pool,) = default_pools(NODE)
    assert (pool.name, pool.shape.cpu_milli, pool.shape.gpus) == ("cpu", 8_000, 0)
    check_hardware((pool,), NODE)


def test_gpus_get_a_pool_of_their_own() -> None:
    cpu, gpu = default_pools(GPU_NODE)
    assert (gpu.shape.gpus, gpu.shape.gpu_model, gpu.shape.gpu_memory_bytes) == (3, "H200", 139 * GIB)
    assert cpu.shape.cpu_milli + gpu.shape.cpu_milli == 8_000
    assert split_devices((cpu, gpu), GPU_NODE) == {"cpu": (), "gpu": GPU_NODE.devices}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (PoolSpec(name="p", max_workers=9, shape=Resources(cpu_milli=1_000)), "cpus"),
        (PoolSpec(name="p", max_workers=2, shape=Resources(cpu_milli=1, memory_bytes=33 * GIB)), "memory"),
        (PoolSpec(name="p", shape=Resources(cpu_milli=1, gpus=1)), "gpus"),
    ],
)
def test_pools_that_this_machine_can_t_hold_are_refused(spec: PoolSpec, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_hardware((spec,), NODE)


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"server\.port"):
            listening_socket("127.0.0.1", other.getsockname()[1])


def test_after_a_restart_each_rank_of_a_gang_is_looked_for_on_its_own_node() -> None:
    world = World()
    world.tenant()
    cluster = Cluster(world)
    cluster.pool(workers=3)
    for name in ("n1", "n2", "n3"):
        cluster.node(name)
    cluster.report()
    gang = world.submit(cpus=4, gang=3)
    assert world.schedule() == [gang]
    placed = [rank.node for rank in world.job(gang).attempts[-1].ranks]
    facts = refold(world.events).facts
    assert [node_of(facts, attempt_id(gang, 1, rank)) for rank in range(3)] == placed
    assert sorted(placed) == ["n1", "n2", "n3"]
    assert node_of(facts, attempt_id(gang, 1, 3)) is None
    assert node_of(facts, attempt_id(gang, 2)) is None
    assert node_of(facts, attempt_id("job-000009", 1)) is None
