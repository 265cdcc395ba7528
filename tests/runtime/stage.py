"""A runtime on fakes that keep the contracts: a ledger in memory, an executor that runs nothing, a clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agentorch.core.facts import Facts
from agentorch.executors.fake import FakeExecutor, FakeMachine, Plan
from agentorch.ledger.memory import MemoryLedger
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptSpec
from agentorch.model.events import Event
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import FINISHED, Job, JobSpec, Resources
from agentorch.model.observation import DeviceSample
from agentorch.runtime.runtime import Runtime, Telemetry

START_MS = 1_700_000_000_000


class HandClock:
    """Stands still until it is turned; whoever waits on it waits for the next turn."""

    def __init__(self) -> None:
        self.at_ms = START_MS
        self._turned = asyncio.Event()

    def now_ms(self) -> int:
        return self.at_ms

    async def wait(self, seconds: float) -> None:
        until_ms = self.at_ms + int(seconds * 1000)
        while self.at_ms < until_ms:
            await self._turned.wait()

    def turn(self, seconds: float) -> None:
        self.at_ms += int(seconds * 1000)
        self._turned.set()
        self._turned = asyncio.Event()


class NoTelemetry:
    def absorb(self, samples: Sequence[DeviceSample]) -> None:
        """Nothing is kept."""

    def latest(self) -> tuple[DeviceSample, ...]:
        return ()

    def history(self, device: str) -> list[DeviceSample]:
        return []


class GatedLedger(MemoryLedger):
    """A disk that is slow on demand: commits wait until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    async def commit(self, events: Sequence[Event], at_ms: int) -> int:
        if not self.gate.is_set():
            self.waiting.set()
        await self.gate.wait()
        return await super().commit(events, at_ms)


def at_once(spec: AttemptSpec) -> Plan:
    return Plan(run_ms=0)


class Stage:
    """Ledger, machine and clock outlive the runtimes that are played on them."""

    def __init__(self, script: Callable[[AttemptSpec], Plan] | None = None) -> None:
        self.ledger = GatedLedger()
        self.machine = FakeMachine()
        self.clock = HandClock()
        self.script = script
        self.telemetry: Telemetry = NoTelemetry()
        self.executor: FakeExecutor

    def configure(self, facts: Facts) -> Sequence[cmd.Command]:
        shape = Resources(cpu_milli=1000, memory_bytes=2**30)
        pool = PoolSpec(name="cpu", executor="fake", workers=2, max_workers=4, shape=shape)
        return [cmd.ConfigurePool(spec=pool), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]

    async def start(self) -> Runtime:
        options: dict[str, Any] = {"script": self.script} if self.script else {}
        self.executor = FakeExecutor(self.clock.now_ms, machine=self.machine, **options)
        runtime = Runtime(self.ledger, {"fake": self.executor}, self.telemetry, clock=self.clock)
        await runtime.open(self.configure)
        return runtime

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        runtime = await self.start()
        try:
            yield runtime
        finally:
            await runtime.close()


async def submit(runtime: Runtime, **spec: Any) -> str:
    command = cmd.SubmitJob(tenant="t", spec=JobSpec(**({"command": ("true",)} | spec)), by="key")
    name, _ = await runtime.ask(command)
    assert isinstance(name, str)
    return name


async def until(runtime: Runtime, holds: Callable[[Facts], bool]) -> None:
    """Wait on the ledger's own news until the durable state is as wanted."""
    if holds(runtime.loop.state.facts):
        await runtime.settled()
        return
    async for _ in runtime.follow(max(0, runtime.last_seq - 1)):
        if holds(runtime.loop.state.facts):
            await runtime.settled()
            return


def job(runtime: Runtime, name: str) -> Job:
    return runtime.loop.state.facts.jobs[name]


def ended(*names: str) -> Callable[[Facts], bool]:
    return lambda facts: all(facts.jobs[name].state in FINISHED for name in names)
