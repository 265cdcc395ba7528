"""Everything at once, at random: cut, deaf, stopped and killed nodes, stops, restarts of the runtime; jobs are tried
again until they have ended. No two runs of a job may overlap, no attempt may run twice, and each is told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.fleet import NodeState
from tests.executors.processes import shim_of
from tests.executors.remote.cluster import Cluster
from tests.executors.runtime_under_fire import code_of

NODES = 4
JOBS = 200
AT_ONCE = 24
CHAOS_S = 15.0
TERMS = {"lease_s": 2.0, "margin_s": 1.5, "patience_s": 3.0}

#: Whatever of a run lives holds the job's lock: its descriptor is inherited.
SCRIPT = """
exec 9>>{root}/lock-{job}
flock -n 9 || echo {attempt} >> {root}/overlaps
echo {attempt} >> {root}/runs-{job}
sleep {seconds}
exit {code}
"""


class Jobs:
    """What a ledger would hold: attempts that were ordered, and how they ended."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.waiting = list(range(JOBS))
        self.live: dict[str, str] = {}  # attempt -> node
        self.ended: dict[str, AttemptStatus] = {}
        self.tries: Counter[int] = Counter()

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.live)

    def order(self, node: str) -> AttemptSpec:
        job = self.waiting.pop(0)
        self.tries[job] += 1
        attempt = f"j{job}.{self.tries[job]}"
        seconds = self.chance.choice(["0.05", "0.3", "1.5", "4"])
        script = SCRIPT.format(root=self.root, job=job, attempt=attempt, seconds=seconds, code=code_of(job))
        self.live[attempt] = node
        command = ("/bin/sh", "-c", script)
        return AttemptSpec(id=attempt, job=f"j{job}", number=self.tries[job], worker="w", node=node, command=command)

    def end(self, status: AttemptStatus) -> None:
        if status.id in self.ended:
            return  # an answer and an event may both say it
        del self.live[status.id]
        self.ended[status.id] = status
        job = int(status.id[1:].split(".")[0])
        if status.exit_code is None:
            self.waiting.append(job)
        else:
            assert status.exit_code == code_of(job)


class Ward:
    """One runtime after the other, on the same nodes."""

    def __init__(self, cluster: Cluster, jobs: Jobs, chance: random.Random) -> None:
        self.cluster = cluster
        self.jobs = jobs
        self.chance = chance
        self.epoch = 0
        self.transport = cluster.transport()

    async def run(self, until_s: float) -> None:
        """A runtime that lives until then, or until everything has ended."""
        self.epoch += 1
        self.transport = self.cluster.transport()
        executor = self.cluster.executor(self.transport, placement=self.jobs.live.get, **TERMS)
        await executor.open(self.epoch)
        pump = asyncio.create_task(self._pump(executor))
        for status in await executor.inspect(sorted(self.jobs.live)):
            if status.phase is not AttemptPhase.running:
                self.jobs.end(status)
        calls: list[asyncio.Task[None]] = []
        pause = asyncio.Event()
        while self.jobs.open and time.monotonic() < until_s:
            calls += [asyncio.create_task(call) for call in await self._calls(executor)]
            for call in [call for call in calls if call.done()]:
                call.result()
                calls.remove(call)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await pause.wait()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await executor.close()
        await pump

    async def _calls(self, executor: RemoteExecutor) -> list:  # type: ignore[type-arg]
        nodes = [info.id for info in await executor.nodes() if info.state is NodeState.up]
        specs = []
        while nodes and self.jobs.waiting and len(self.jobs.live) < AT_ONCE:
            specs.append(self.jobs.order(self.chance.choice(nodes)))
        calls = [self._launch(executor, specs)] if specs else []
        if self.jobs.live and self.chance.random() < 0.05:
            attempt = self.chance.choice(sorted(self.jobs.live))
            calls.append(executor.stop(attempt, "preempted", self.chance.choice([0, 500])))
        return calls

    async def _launch(self, executor: RemoteExecutor, specs: list[AttemptSpec]) -> None:
        for status in await executor.launch(specs):
            if status.phase is not AttemptPhase.running:
                self.jobs.end(status)

    async def _pump(self, executor: RemoteExecutor) -> None:
        times: Counter[str] = Counter()
        async for status in executor.events():
            times[status.id] += 1
            assert times[status.id] == 1
            self.jobs.end(status)


class Adversary:
    def __init__(self, ward: Ward) -> None:
        self._ward = ward
        self._chance = ward.chance
        self.deeds: Counter[str] = Counter()

    async def act(self, until_s: float) -> None:
        pause = asyncio.Event()
        while time.monotonic() < until_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.1, 1.0)):
                    await pause.wait()
            deed = self._chance.choice(["cut", "deaf", "stop", "kill", "zygote", "shim"])
            # What is to be hurt may not have started, or may have died of something else.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError, psutil.NoSuchProcess):
                self._do(deed, f"node-{self._chance.randrange(NODES) + 1}")
                self.deeds[deed] += 1

    def _do(self, deed: str, node: str) -> None:
        loop, transport = asyncio.get_running_loop(), self._ward.transport
        while_s = self._chance.choice([0.3, 1.0, 3.0, 6.0])
        if deed in ("cut", "deaf"):
            nodes: set[str] = getattr(transport, deed)
            nodes.add(node)
            loop.call_later(while_s, nodes.discard, node)
        elif deed == "shim":
            attempt = self._chance.choice(sorted(self._ward.jobs.live) or [""])
            shim = shim_of(self._ward.cluster.attempts(self._ward.jobs.live.get(attempt, node)), attempt)
            if shim:
                os.kill(shim, signal.SIGKILL)
        else:
            agent = psutil.Process(self._ward.cluster.agent_pid(node))
            if deed == "kill":
                agent.kill()
            elif deed == "stop":
                agent.suspend()
                loop.call_later(while_s, _resume, agent)
            else:
                for child in agent.children():
                    child.kill()  # the zygote; shims are nobody's children


def _resume(agent: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        agent.resume()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, NODES)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_no_two_runs_overlap_and_nothing_is_lost_whatever_happens(cluster: Cluster, seed: int) -> None:
    chance = random.Random(seed)
    jobs = Jobs(cluster.root, chance)
    ward = Ward(cluster, jobs, chance)
    adversary = Adversary(ward)

    async def run() -> None:
        over_s = time.monotonic() + CHAOS_S
        acting = asyncio.create_task(adversary.act(over_s))
        while jobs.open:
            lives_s = chance.uniform(3, 10) if time.monotonic() < over_s else 80.0
            await ward.run(time.monotonic() + lives_s)
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)

    asyncio.run(run())
    print(f"{dict(adversary.deeds)}; {ward.epoch} runtimes, {sum(jobs.tries.values())} attempts of {JOBS} jobs")
    assert not (cluster.root / "overlaps").exists()
    assert len(jobs.ended) == sum(jobs.tries.values())
    for job in range(JOBS):
        runs = (cluster.root / f"runs-{job}").read_text().split()
        assert len(runs) == len(set(runs))
