"""Random lives of a fleet on nodes that come, go, are doubted, noticed, shrunken and never provided."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agentorch.core.instruct import Resize, instruction
from agentorch.core.nodes import lacking
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.attempts import NodeInfo
from agentorch.model.events import JobStarted
from agentorch.model.fleet import NodeState, PoolSpec
from agentorch.model.jobs import Cause, Resources
from tests.core import test_random
from tests.core.world import GIB, World

EXECUTOR = "ray"


class Provider:
    """What is there outside. Orders are carried out now and then, in part, or not at all."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.there: dict[str, NodeInfo] = {}
        self.heard = 0
        self.wanted: dict[str, int] = {}
        self.number = 0
        self.whims = True

    def calm(self) -> None:
        """From now on it does as it is told, and its nodes are well and all alike."""
        self.whims = False
        self.there = {
            name: msgspec.structs.replace(node, state=NodeState.up, notice_ms=None, cpu_milli=16_000)
            for name, node in self.there.items()
        }

    def report(self) -> None:
        self.world.ask(cmd.ReportNodes(executor=EXECUTOR, nodes=tuple(self.there.values())))

    def join(self, kind: str) -> None:
        self.number += 1
        gpus = 4 if kind == "gpu" else 0
        name = f"{kind}{self.number}"
        self.there[name] = NodeInfo(
            id=name,
            type=kind,
            cpu_milli=self.rng.choice([4000, 8000, 16000]) if self.whims else 16_000,
            memory_bytes=64 * GIB,
            devices=tuple(f"GPU-{name}-{at}" for at in range(gpus)),
            device_names=("H200",) * gpus,
            device_memory_bytes=(141 * GIB,) * gpus,
        )

    def obey(self) -> None:
        orders = [order for event in self.world.events[self.heard :] if isinstance(order := instruction(event), Resize)]
        self.heard = len(self.world.events)
        for order in orders:
            if self.whims and self.rng.random() < 0.3:
                self.world.ask(
                    cmd.ReportProvisioning(
                        executor=EXECUTOR, node_type=order.node_type, error="no quota", remove=order.remove
                    )
                )
                continue
            known = self.world.facts.nodes
            remove = [name for name in order.remove if name not in known or known[name].released]
            self.wanted[order.node_type] = order.nodes + len(order.remove) - len(remove)
            for name in remove:
                assert name not in known or not known[name].workers
                self.there.pop(name, None)
        for kind, count in self.wanted.items():
            have = sum(1 for node in self.there.values() if node.type == kind)
            if have < count and (not self.whims or self.rng.random() < 0.7):
                self.join(kind)
        self.report()

    def some(self) -> str:
        return self.rng.choice(list(self.there) or [""])

    def change(self, **fields: Any) -> None:
        name = self.some()
        if name:
            self.there[name] = msgspec.structs.replace(self.there[name], **fields)
            self.report()

    def lose(self) -> None:
        """It vanishes; what ran there is told soon, in any order with the list of nodes."""
        name = self.some()
        if not name:
            return
        workers = self.workers(name)
        lost = [job for worker in workers for job in self.world.facts.workers[worker].running]
        if self.rng.random() < 0.5:
            self.there[name] = msgspec.structs.replace(self.there[name], state=NodeState.down)
            self.report()
        del self.there[name]
        if self.rng.random() < 0.5:
            self.report()
        for job in dict.fromkeys(lost):
            self.tell_lost(job, workers)
        self.report()

    def tell_lost(self, job: str, workers: list[str]) -> None:
        attempt = self.world.job(job).attempts[-1]
        for rank, member in enumerate(attempt.members):
            if member.worker in workers:
                self.world.ask(
                    cmd.ReportEnded(
                        job=job,
                        attempt=attempt.number,
                        rank=rank,
                        cause=Cause.node_lost,
                        started_ms=None,
                        ended_ms=self.world.now_ms,
                    )
                )

    def workers(self, name: str) -> list[str]:
        node = self.world.facts.nodes.get(name)
        return list(node.workers) if node is not None else []


def fleet(world: World) -> None:
    for name, kind, shape in (
        ("cpu", "std", Resources(cpu_milli=4000, memory_bytes=8 * GIB)),
        ("paid", "std", Resources(cpu_milli=2000, memory_bytes=8 * GIB)),
        ("gpu", "gpu", Resources(cpu_milli=2000, memory_bytes=8 * GIB, gpus=2)),
        ("any", "*", Resources(cpu_milli=1000, memory_bytes=GIB)),
    ):
        spec = PoolSpec(
            name=name,
            executor=EXECUTOR,
            node_type=kind,
            shape=shape,
            workers=2,
            min_workers=0,
            max_workers=6,
            drain_grace_ms=20_000,
        )
        world.ask(cmd.ConfigurePool(spec=spec))
    world.tenant("rich")
    world.tenant("poor", hard_cap_usd_micros=3_000_000, weight=50)
    world.tenant("small", max_running=2)


Step = Callable[[World, random.Random, Provider], object]

STEPS: list[Step] = [
    *[(lambda world, rng, provider: provider.obey())] * 6,
    lambda world, rng, provider: provider.join(rng.choice(["std", "gpu"])),
    lambda world, rng, provider: provider.lose(),
    lambda world, rng, provider: provider.change(state=rng.choice([NodeState.up, NodeState.suspect])),
    lambda world, rng, provider: provider.change(state=rng.choice([NodeState.up, NodeState.draining])),
    lambda world, rng, provider: provider.change(notice_ms=world.now_ms + 60_000),
    lambda world, rng, provider: provider.change(cpu_milli=rng.choice([2000, 4000, 16000])),
    lambda world, rng, provider: world.ask(
        cmd.ScalePool(pool=rng.choice(["cpu", "paid", "gpu", "any"]), workers=rng.randint(0, 6), by="x")
    ),
    lambda world, rng, provider: world.ask(
        cmd.PausePool(pool=rng.choice(["cpu", "gpu"]), paused=rng.random() < 0.2, by="x")
    ),
    *[(lambda world, rng, provider, step=step: step(world, rng)) for step in test_random.STEPS],
]


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_events_keeps_the_invariants(seed: int) -> None:
    world, rng = World(), random.Random(seed)
    provider = Provider(world, rng)
    fleet(world)
    for _ in range(600):
        before = len(world.events)
        try:
            rng.choice(STEPS)(world, rng, provider)
        except Refused:
            continue
        if not any(type(event).__name__ in ("NodeSeen", "WorkerRemoved") for event in world.events[before:]):
            assert all(_is_well_placed(world, one) for one in world.events[before:] if isinstance(one, JobStarted))
    world.assert_sound()
    names = {type(event).__name__ for event in world.events}
    assert {"NodeSeen", "NodeRemoved", "NodesWanted", "NodeReleased", "ProvisioningFailed"} <= names


def _is_well_placed(world: World, start: JobStarted) -> bool:
    """Nothing is placed where nothing may be."""
    places = [(start.worker, start.node), *((one.worker, one.node) for one in start.ranks)]
    return all(
        world.facts.nodes[node].state is NodeState.up and worker in world.facts.nodes[node].workers
        for worker, node in places
    )


@pytest.mark.parametrize("seed", range(12))
def test_it_settles_once_the_world_is_quiet(seed: int) -> None:
    """Whatever happened before: with an obedient provider every pool gets its workers, and then nothing happens."""
    world, rng = World(), random.Random(seed)
    provider = Provider(world, rng)
    fleet(world)
    for _ in range(300):
        try:
            rng.choice(STEPS)(world, rng, provider)
        except Refused:
            continue
    for name in list(world.facts.jobs):
        if name not in world.facts.finished:
            world.ask(cmd.CancelJob(job=name, by="x"))
    for pool in world.facts.pools:
        world.ask(cmd.PausePool(pool=pool, paused=False, by="x"))
    provider.calm()
    for _ in range(100):
        provider.obey()
        test_random.elapse(world, random.Random(1))
        world.tick(9)
    before = len(world.events)
    for _ in range(20):
        provider.obey()
        world.tick(9)
    assert [type(event).__name__ for event in world.events[before:]] == []
    for name in ("cpu", "paid", "gpu"):
        assert lacking(world.facts, world.facts.pools[name]) == 0
    idle = [node.id for node in world.facts.nodes.values() if not node.workers]
    wanted = {group.type for group in world.facts.node_groups.values() if group.wanted is not None}
    assert not [name for name in idle if world.facts.nodes[name].type in wanted]
