"""A gang on real agents, each a process of its own: its ranks meet, and are tried again together when one vanishes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from agentorch.core.facts import Facts
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.remote.pipe import PipeTransport
from agentorch.ledger.memory import MemoryLedger
from agentorch.model import commands as cmd
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, JobState, Resources, RetryPolicy
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.sampler import Sampler
from tests.runtime.stage import ended, job, submit, until
from tests.system.rendezvous import RENDEZVOUS

#: A worker is a whole node, so that each rank has one of its own.
CPU_MILLI = (os.cpu_count() or 1) * 1000

#: In the first attempt rank 2 kills its own shim, and the others wait for what will not come.
SCRIPT = f"""
case "$AGENTORCH_ATTEMPT" in
*.1+2) kill -9 $PPID ;;
*.1*) exec sleep 300 ;;
esac
exec python3 -c '{RENDEZVOUS}'
"""


def configure(facts: Facts) -> Sequence[cmd.Command]:
    shape = Resources(cpu_milli=CPU_MILLI, memory_bytes=2**28)
    pool = PoolSpec(
        name="cpu", executor="remote", node_type="std", workers=3, min_workers=0, max_workers=3, shape=shape
    )
    return [cmd.ConfigurePool(spec=pool), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]


def test_ranks_on_three_nodes_meet_and_are_tried_again_as_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        executor = RemoteExecutor(PipeTransport(tmp_path / "nodes"), tmp_path / "control", lease_s=5, margin_s=1)
        sampler = Sampler([], lambda: time.time_ns() // 1_000_000)
        runtime = Runtime(MemoryLedger(), {"remote": executor}, sampler)
        await runtime.open(configure)
        try:
            await until(runtime, lambda facts: len(facts.workers) == 3)
            need = Resources(cpu_milli=CPU_MILLI)
            name = await submit(
                runtime, command=("sh", "-c", SCRIPT), gang=3, resources=need, retry=RetryPolicy(backoff_ms=0)
            )
            await until(runtime, ended(name))
            found = job(runtime, name)
            assert [attempt.cause for attempt in found.attempts] == [Cause.lost, Cause.completed]
            assert [rank.cause for rank in found.attempts[0].ranks] == [Cause.gang, Cause.gang, Cause.lost]
            assert len({rank.node for rank in found.attempts[1].ranks}) == 3
            assert found.state is JobState.succeeded
            for rank, attempt in enumerate((f"{name}.2", f"{name}.2+1", f"{name}.2+2")):
                data, _, whole = await runtime.logs(attempt, "stdout", 0, 100)
                assert (data.decode(), whole) == (f"rank {rank} of 3: 3\n", True)
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=0, by="op"))
            await until(runtime, lambda facts: not facts.nodes)
        finally:
            await runtime.close()

    async def bounded() -> None:
        async with asyncio.timeout(100):
            await scenario()

    asyncio.run(bounded())
