"""A core on nodes: what an executor would list, pools on it, and what was ordered."""

from __future__ import annotations

from typing import Any

from agentorch.core.instruct import Resize, instruction
from agentorch.core.nodes import group_key
from agentorch.model import commands as cmd
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeGroup, PoolSpec
from agentorch.model.jobs import Resources
from tests.core.world import GIB, World

KIND = "big"


class Cluster:
    """The nodes that an executor would list, and the pools on them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.there: dict[str, NodeInfo] = {}

    def node(self, name: str, *, cpus: int = 4, gpus: int = 0, kind: str = KIND, **fields: Any) -> None:
        self.there[name] = NodeInfo(
            id=name,
            type=kind,
            cpu_milli=cpus * 1000,
            memory_bytes=64 * GIB,
            devices=tuple(f"GPU-{name}-{at}" for at in range(gpus)),
            device_names=("NVIDIA H200",) * gpus,
            device_memory_bytes=(141 * GIB,) * gpus,
            **fields,
        )

    def change(self, name: str, **fields: Any) -> None:
        old = self.there[name]
        known = {key: getattr(old, key) for key in old.__struct_fields__}
        self.there[name] = NodeInfo(**(known | fields))

    def report(self) -> list[str]:
        """The events that came of it, by name."""
        before = len(self.world.events)
        self.world.ask(cmd.ReportNodes(executor="ray", nodes=tuple(self.there.values())))
        return [type(event).__name__ for event in self.world.events[before:]]

    def pool(self, name: str = "cpu", workers: int = 1, *, cpus: int = 4, gpus: int = 0, **spec: Any) -> None:
        shape = Resources(cpu_milli=cpus * 1000, memory_bytes=8 * GIB, gpus=gpus)
        fields = {"min_workers": 0, "max_workers": 8, "workers": workers, "shape": shape, "node_type": KIND} | spec
        self.world.ask(cmd.ConfigurePool(spec=PoolSpec(name=name, executor="ray", **fields)))

    def scale(self, workers: int, pool: str = "cpu") -> None:
        self.world.ask(cmd.ScalePool(pool=pool, workers=workers, by="op"))

    def fail(self, error: str = "no quota", remove: tuple[str, ...] = ()) -> None:
        self.world.ask(cmd.ReportProvisioning(executor="ray", node_type=KIND, error=error, remove=remove))

    @property
    def group(self) -> NodeGroup:
        found = self.world.facts.node_groups[group_key("ray", KIND)]
        assert isinstance(found, NodeGroup)
        return found

    def orders(self) -> list[Resize]:
        found = [instruction(event) for event in self.world.events]
        return [order for order in found if isinstance(order, Resize)]

    def placed(self, pool: str = "cpu") -> dict[str, str]:
        """Worker -> node."""
        workers = self.world.facts.workers
        return {name: workers[name].node for name in self.world.facts.pools[pool].workers}


def grown(cluster: Cluster, count: int = 3) -> list[str]:
    """That many nodes with a worker each, and a job on each worker."""
    cluster.pool(workers=count)
    for at in range(count):
        cluster.node(f"n{at + 1}")
    cluster.report()
    jobs = [cluster.world.submit(cpus=4) for _ in range(count)]
    cluster.world.schedule()
    for job in jobs:
        cluster.world.running(job)
    return jobs
