"""Runtimes as the benchmarks need them: real ledger, real loop, and an executor of the benchmark's choice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agentorch.core.facts import Facts
from agentorch.executors.contract import Executor
from agentorch.executors.stream import EventStream
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, JobSpec, Resources
from agentorch.model.observation import DeviceSample
from agentorch.runtime.runtime import Runtime

TENANTS = 20
POOL = "bench"
NOOP = JobSpec(command=("true",))


class AtOnce:
    """An executor without processes: every attempt has ended, well, by the time its launch returns."""

    name = "at-once"

    def __init__(self) -> None:
        self._stream = EventStream()

    async def open(self, epoch: int) -> None:
        """Nothing to open."""

    async def nodes(self) -> list[NodeInfo]:
        return []

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        now_ms = time.time_ns() // 1_000_000
        return [
            AttemptStatus(
                id=one.id,
                phase=AttemptPhase.ended,
                started_ms=now_ms,
                ended_ms=now_ms,
                cause=Cause.completed,
                exit_code=0,
            )
            for one in attempts
        ]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        """Nothing runs."""

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        return [AttemptStatus(id=one, phase=AttemptPhase.absent) for one in attempts]

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        return self._stream.follow(cursor)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        return b"", offset, True

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        """One worker is enough."""

    async def close(self) -> None:
        self._stream.close()


class NoTelemetry:
    def absorb(self, samples: Sequence[DeviceSample]) -> None:
        """Nothing is kept."""

    def latest(self) -> tuple[DeviceSample, ...]:
        return ()

    def history(self, device: str) -> list[DeviceSample]:
        return []


def configuration(executor: str, slots: int) -> list[cmd.Command]:
    """One worker on which `slots` jobs of one core fit at once, and the tenants."""
    shape = Resources(cpu_milli=slots * 1000, memory_bytes=2**40)
    pool = PoolSpec(name=POOL, executor=executor, shape=shape)
    return [
        cmd.ConfigurePool(spec=pool),
        *(cmd.ConfigureTenant(spec=TenantSpec(name=tenant(i))) for i in range(TENANTS)),
    ]


def tenant(index: int) -> str:
    return f"tenant-{index % TENANTS:02d}"


@asynccontextmanager
async def runtime(ledger: Path, executor: Executor, slots: int) -> AsyncIterator[Runtime]:
    """A whole runtime on a ledger file; configured once, also when the file is opened again."""
    made = Runtime(SqliteLedger(ledger), {executor.name: executor}, NoTelemetry())

    def configure(facts: Facts) -> Sequence[cmd.Command]:
        return () if facts.pools else configuration(executor.name, slots)

    await made.open(configure)
    try:
        yield made
    finally:
        await made.close()


def submission(index: int, spec: JobSpec = NOOP) -> cmd.SubmitJob:
    return cmd.SubmitJob(tenant=tenant(index), spec=spec, by="bench")


def finished(made: Runtime) -> int:
    """Jobs that ended, ever; at most one commit ahead of the disk."""
    return sum(made.loop.state.facts.ended_by_state.values())


async def until_finished(made: Runtime, count: int) -> None:
    """Wait on the runtime's own news until this many jobs have ended, durably."""
    async for _ in made.follow(made.last_seq):
        if finished(made) >= count:
            await made.settled()
            return


async def submit_all(made: Runtime, count: int, spec: JobSpec = NOOP) -> None:
    await asyncio.gather(*(made.ask(submission(index, spec)) for index in range(count)))
