"""Real agents as nodes, each a process of its own: they come when a pool grows, and exactly the empty ones go."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from agentorch.core.facts import Facts
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.executors.remote.pipe import PipeTransport
from agentorch.ledger.memory import MemoryLedger
from agentorch.model import commands as cmd
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import JobState, Resources
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.sampler import Sampler
from tests.runtime.stage import ended, job, submit, until

#: A worker is a whole node, so that each has one of its own.
CPU_MILLI = (os.cpu_count() or 1) * 1000


def configure(facts: Facts) -> Sequence[cmd.Command]:
    shape = Resources(cpu_milli=CPU_MILLI, memory_bytes=2**28)
    pool = PoolSpec(name="cpu", executor="remote", node_type="std", min_workers=0, max_workers=4, shape=shape)
    return [cmd.ConfigurePool(spec=pool), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]


def test_from_one_node_to_three_and_back(tmp_path: Path) -> None:
    transport = PipeTransport(tmp_path / "nodes")
    gate = tmp_path / "gate"

    async def scenario() -> None:
        executor = RemoteExecutor(transport, tmp_path / "control", lease_s=5, margin_s=1)
        sampler = Sampler([], lambda: time.time_ns() // 1_000_000)
        runtime = Runtime(MemoryLedger(), {"remote": executor}, sampler)
        await runtime.open(configure)
        agents: dict[str, psutil.Process] = {}
        try:
            await until(runtime, lambda facts: len(facts.workers) == 1)
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=3, by="op"))
            await until(runtime, lambda facts: len(facts.workers) == 3)
            command = ("/bin/sh", "-c", f"until [ -e {gate} ]; do sleep 0.1; done; echo done")
            names = [await submit(runtime, command=command, resources=Resources(cpu_milli=CPU_MILLI)) for _ in range(3)]
            await until(runtime, lambda facts: all(facts.jobs[name].state is JobState.running for name in names))
            assert len({job(runtime, name).attempts[0].node for name in names}) == 3
            agents |= {node: psutil.Process(transport.agent_pid(node)) for node in runtime.loop.state.facts.nodes}
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=1, by="op"))
            gate.touch()
            await until(runtime, ended(*names))
            await until(runtime, lambda facts: len(facts.nodes) == 1)
            assert [job(runtime, name).attempts_made for name in names] == [1, 1, 1]
            assert {job(runtime, name).state for name in names} == {JobState.succeeded}
            (kept,) = runtime.loop.state.facts.nodes
            await asyncio.to_thread(psutil.wait_procs, [agent for node, agent in agents.items() if node != kept], 30)
            assert sorted(node for node, agent in agents.items() if agent.is_running()) == [kept]
            for name in names:
                data, _, whole = await runtime.logs(f"{name}.1", "stdout", 0, 100)
                assert (data, whole) == (b"done\n", True), "logs outlive their node"
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=0, by="op"))
            await until(runtime, lambda facts: not facts.nodes)
            gone, left = await asyncio.to_thread(psutil.wait_procs, agents.values(), 30)
            assert (len(gone), left) == (3, [])
        finally:
            await runtime.close()
            for agent in agents.values():
                if agent.is_running():
                    agent.kill()

    async def bounded() -> None:
        async with asyncio.timeout(100):
            await scenario()

    asyncio.run(bounded())
