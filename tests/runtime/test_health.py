"""A runtime with telemetry: what probes say becomes events, and what follows is performed and survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from agentorch.core.facts import Facts
from agentorch.executors.fake import Plan
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import AttemptSpec
from agentorch.model.events import JobStarted
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.health import HealthState
from agentorch.model.jobs import Cause, JobState, Resources
from agentorch.model.observation import DeviceSample
from agentorch.runtime.health import LOOK_EVERY_S
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.sampler import Sampler
from tests.ledger.samples import contents
from tests.runtime.stage import Stage, submit, until

GPUS = ("GPU-0", "GPU-1", "GPU-2")


def endless(spec: AttemptSpec) -> Plan:
    return Plan(run_ms=None)


class Hospital(Stage):
    """Three workers of one GPU each; `sick` changes what the probe says from now on."""

    def __init__(self) -> None:
        super().__init__(endless)
        self.said = {name: DeviceSample(id=name, kind="gpu", temperature_c=50.0, xid_count=0) for name in GPUS}
        self.hangs = False
        self.sampler = Sampler([self], self.clock.now_ms)
        self.telemetry = self.sampler
        self.sampler.sample_once()

    def sample(self) -> list[DeviceSample]:
        """As a probe."""
        if self.hangs:
            raise OSError("the driver does not answer")
        return list(self.said.values())

    def sick(self, device: str, **fields: Any) -> None:
        self.said[device] = msgspec.structs.replace(self.said[device], **fields)

    def look(self, seconds: float = LOOK_EVERY_S) -> None:
        self.clock.turn(seconds)
        self.sampler.sample_once()
        self.clock.turn(LOOK_EVERY_S)

    def configure(self, facts: Facts) -> Sequence[cmd.Command]:
        shape = Resources(cpu_milli=1000, memory_bytes=2**30, gpus=1)
        pool = PoolSpec(name="gpu", executor="fake", workers=3, max_workers=3, shape=shape)
        return [cmd.ConfigurePool(spec=pool, devices=GPUS), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]


async def on_a_gpu(runtime: Runtime) -> str:
    name = await submit(runtime, resources=Resources(gpus=1))
    await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
    return name


def device_of(runtime: Runtime, job: str) -> str:
    (device,) = runtime.loop.state.facts.jobs[job].attempts[-1].devices
    return device


def test_a_gpu_that_fails_loses_its_job_to_another_and_gets_no_more_also_after_a_restart() -> None:
    async def scenario() -> None:
        ward = Hospital()
        async with ward.runtime() as runtime:
            job = await on_a_gpu(runtime)
            first = device_of(runtime, job)
            ward.sick(first, xid_count=1, xids=(79,))
            ward.look()
            await until(runtime, lambda facts: first in facts.device_faults)
            ward.clock.turn(limits.STOP_GRACE_MS / 1000)
            await until(runtime, lambda facts: facts.jobs[job].attempts[0].cause is Cause.interruption)
            ward.look(5)
            await until(runtime, lambda facts: facts.jobs[job].attempts_made == 2)
            assert device_of(runtime, job) != first
        ward.sick(first, xid_count=0, xids=())
        async with ward.runtime() as runtime:
            others = [await submit(runtime, resources=Resources(gpus=1)) for _ in range(3)]
            ward.look(limits.SUSPECT_CLEAR_MS / 1000)
            await until(runtime, lambda facts: sum(1 for name in others if facts.jobs[name].attempts_made) == 1)
            facts = runtime.loop.state.facts
            assert facts.device_faults[first].state is HealthState.cordoned
            starts = [event for _, event in await contents(ward.ledger) if isinstance(event, JobStarted)]
            assert sum(1 for event in starts if first in event.devices) == 1
            worker = next(worker for worker in facts.workers.values() if first in worker.devices)
            await runtime.ask(cmd.RepairWorker(worker=worker.id, by="ann"))
            await until(runtime, lambda facts: sum(1 for name in others if facts.jobs[name].attempts_made) == 2)

    asyncio.run(scenario())


def test_a_healthy_fleet_writes_nothing() -> None:
    async def scenario() -> None:
        ward = Hospital()
        async with ward.runtime() as runtime:
            ward.look()
            await until(runtime, lambda facts: len(facts.devices) == 3)
            before = runtime.last_seq
            for _ in range(20):
                ward.look()
                await runtime.ask(cmd.Tick())
            assert runtime.last_seq == before

    asyncio.run(scenario())


def test_a_driver_that_hangs_makes_its_gpus_unknown_not_broken() -> None:
    async def scenario() -> None:
        ward = Hospital()
        async with ward.runtime() as runtime:
            ward.look()
            await until(runtime, lambda facts: len(facts.devices) == 3)
            ward.hangs = True
            ward.look(limits.STALE_LOCAL_MS / 1000)
            await until(runtime, lambda facts: len(facts.device_faults) == 3)
            faults = runtime.loop.state.facts.device_faults.values()
            assert {(fault.state, fault.sign) for fault in faults} == {("suspect", "stale")}

    asyncio.run(scenario())
