"""Pools grow, shrink without losing work, are paused, removed and configured again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import PoolSpec, WorkerState
from agentorch.model.jobs import Cause, Constraints, JobState, Resources
from tests.core.world import GIB, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.tenant()
    world.pool(workers=2, max_workers=4)
    yield world
    world.assert_sound()


def test_growing_adds_workers_at_once(world: World) -> None:
    world.ask(cmd.ScalePool(pool="cpu", workers=4, by="op"))
    assert world.facts.pools["cpu"].workers == ["cpu-0", "cpu-1", "cpu-2", "cpu-3"]


def test_shrinking_takes_empty_workers_and_waits_for_busy_ones(world: World) -> None:
    jobs = [world.submit(), world.submit()]
    world.schedule()
    world.ask(cmd.ScalePool(pool="cpu", workers=0, by="op"))
    assert {world.facts.workers[name].state for name in world.facts.pools["cpu"].workers} == {WorkerState.retiring}
    world.submit()
    assert world.schedule() == []
    for job in jobs:
        world.end(job)
    world.tick()
    assert world.facts.pools["cpu"].workers == []
    assert [world.job(job).state for job in jobs] == [JobState.succeeded] * 2


def test_names_of_workers_are_never_used_again(world: World) -> None:
    world.ask(cmd.ScalePool(pool="cpu", workers=1, by="op"))
    world.ask(cmd.ScalePool(pool="cpu", workers=2, by="op"))
    assert world.facts.pools["cpu"].workers == ["cpu-0", "cpu-2"]


def test_bounds_hold_for_people_too(world: World) -> None:
    with pytest.raises(Refused, match="0 to 4"):
        world.ask(cmd.ScalePool(pool="cpu", workers=5, by="op"))


def test_a_gpu_that_the_configuration_moves_is_handed_on_only_when_it_is_free(world: World) -> None:
    def configured(one: tuple[str, ...], two: tuple[str, ...]) -> None:
        for name, devices in (("one", one), ("two", two)):
            shape = Resources(cpu_milli=1_000, memory_bytes=8 * GIB, gpus=1)
            count = len(devices)
            spec = PoolSpec(name=name, shape=shape, min_workers=count, workers=count, max_workers=count)
            world.ask(cmd.ConfigurePool(spec=spec, devices=devices))

    def held(pool: str) -> list[tuple[str, ...]]:
        return [world.facts.workers[name].devices for name in world.facts.pools[pool].workers]

    configured(("A", "B"), ("C",))
    busy = world.submit(gpus=1, constraints=Constraints(pools=("one",)))
    assert world.schedule() == [busy]
    configured(("B",), ("A", "C"))
    assert (held("one"), held("two")) == ([("A",)], [("C",)])
    world.end(busy)
    world.tick()
    world.tick()
    assert (held("one"), held("two")) == ([("B",)], [("C",), ("A",)])


def test_gpus_go_to_one_worker_each_and_come_back(world: World) -> None:
    world.pool("gpu", workers=2, max_workers=2, gpus=2)
    devices = [world.facts.workers[name].devices for name in ("gpu-0", "gpu-1")]
    assert len({device for pair in devices for device in pair}) == 4
    world.ask(cmd.ScalePool(pool="gpu", workers=1, by="op"))
    world.ask(cmd.ScalePool(pool="gpu", workers=2, by="op"))
    assert world.facts.workers["gpu-2"].devices == devices[1]


def test_a_new_shape_replaces_workers_as_they_empty(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.pool(workers=2, max_workers=4, cpus=2)
    world.end(job)
    world.tick()
    shapes = [world.facts.workers[name].shape.cpu_milli for name in world.facts.pools["cpu"].workers]
    assert shapes == [2000, 2000]


def test_a_removed_pool_goes_when_it_is_empty(world: World) -> None:
    job = world.submit()
    world.schedule()
    world.ask(cmd.RemovePool(pool="cpu"))
    waiting = world.submit()
    assert world.schedule() == []
    world.end(job)
    world.tick()
    assert world.facts.pools == {}
    assert world.job(waiting).state is JobState.queued


def test_a_pool_whose_starts_fail_is_paused(world: World) -> None:
    for _ in range(limits.POOL_FAILED_STARTS_PAUSE):
        job = world.submit()
        world.schedule()
        world.end(job, Cause.no_capacity, None)
        if world.job(job).state is JobState.queued:
            world.ask(cmd.CancelJob(job=job, by="t"))
    assert world.facts.pools["cpu"].paused
    assert world.facts.alerts[-1].code == "pool-paused"


def test_configuring_the_same_again_is_no_event(world: World) -> None:
    count = len(world.events)
    world.pool(workers=2, max_workers=4)
    world.tenant()
    assert len(world.events) == count
