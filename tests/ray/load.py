"""A small runtime with a ledger: it orders jobs on nodes, and orders again what was lost. `python -m tests.ray.load` is
one that can be killed; its successor goes on from the ledger."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause
from tests.executors.remote.cluster import until

AT_ONCE = 16
LEASE_S, MARGIN_S = 4.0, 2.0


def code_of(number: int) -> int:
    return number % 7


def script(root: Path, attempt: str, number: int) -> str:
    """Leaves one line each time it runs; every fourth takes long enough to be found running."""
    pause = "sleep 1; " if number % 4 == 0 else ""
    return f"echo run >> {root}/runs-{attempt}; {pause}echo done; exit {code_of(number)}"


@dataclass(frozen=True)
class Run:
    """One attempt, as the ledger has it. `phase` "" = not ended; `cause` is why it ended."""

    node: str
    phase: str = ""
    code: int | None = None
    cause: str = ""

    @property
    def is_final(self) -> bool:
        """The job's own end, by its own exit code."""
        return self.phase == AttemptPhase.ended and self.code is not None


def read_ledger(root: Path) -> dict[str, Run]:
    """Attempt -> what was written of it; a torn last line was promised to nobody."""
    path = root / "ledger"
    text = path.read_text() if path.exists() else ""
    runs: dict[str, Run] = {}
    for line in text[: text.rfind("\n") + 1].splitlines():
        entry = json.loads(line)
        runs[entry["attempt"]] = Run(entry["node"], entry["phase"], entry["code"], entry["cause"])
    return runs


class Load:
    """Runs `count` jobs to their own ends on whatever nodes are up."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.count = count
        self.runs = read_ledger(root)
        self.ended: dict[str, float] = {}  # attempt -> when it was told, on the monotonic clock
        self._ledger = (root / "ledger").open("a")
        self._room = asyncio.Semaphore(AT_ONCE)
        self._turn = 0
        self._ends: dict[str, asyncio.Future[None]] = {}

    def node_of(self, attempt: str) -> str | None:
        return self.runs[attempt].node if attempt in self.runs else None

    def running_on(self, node: str) -> list[str]:
        return [attempt for attempt, run in self.runs.items() if run.node == node and not run.phase]

    async def run(self, executor: RemoteExecutor) -> None:
        """On an executor that is open."""
        self._executor = executor
        with self._ledger:
            await self._run()

    async def _run(self) -> None:
        executor = self._executor
        follower = asyncio.create_task(self._follow())
        unfinished = [attempt for attempt, run in self.runs.items() if not run.phase]
        for attempt in unfinished:
            self._ends[attempt] = asyncio.get_running_loop().create_future()
        for status in await executor.inspect(unfinished):
            if status.phase is not AttemptPhase.running:
                self._end(status)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.count):
                    group.create_task(self._job(number))
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    def _record(self, attempt: str, run: Run) -> None:
        self.runs[attempt] = run
        entry = {"attempt": attempt, "node": run.node, "phase": run.phase, "code": run.code, "cause": run.cause}
        self._ledger.write(json.dumps(entry) + "\n")
        self._ledger.flush()
        os.fsync(self._ledger.fileno())

    async def _job(self, number: int) -> None:
        async with self._room:
            tries = sum(attempt.startswith(f"j{number}.") for attempt in self.runs)
            while True:
                last = f"j{number}.{tries}"
                if last in self.runs:
                    if not self.runs[last].phase:
                        await self._ends[last]
                    if self.runs[last].is_final:
                        return
                tries += 1
                await self._try(number, tries)

    async def _try(self, number: int, tries: int) -> None:
        attempt, node = f"j{number}.{tries}", await until(self._node, "a node that is up")
        self._ends[attempt] = asyncio.get_running_loop().create_future()
        self._record(attempt, Run(node))
        spec = AttemptSpec(
            id=attempt,
            job=f"j{number}",
            number=tries,
            worker="w",
            node=node,
            command=("/bin/sh", "-c", script(self.root, attempt, number)),
            cpu_milli=50,
        )
        (status,) = await self._executor.launch([spec])
        print("launched", attempt, flush=True)
        if status.phase is not AttemptPhase.running:
            self._end(status)

    async def _node(self) -> str:
        up = [node.id for node in await self._executor.nodes() if node.state is NodeState.up]
        self._turn += 1
        return up[self._turn % len(up)] if up else ""

    async def _follow(self) -> None:
        async for status in self._executor.events():
            self._end(status)

    def _end(self, status: AttemptStatus) -> None:
        run = self.runs[status.id]
        if not run.phase:
            self.ended[status.id] = time.monotonic()
            self._record(status.id, Run(run.node, status.phase, status.exit_code, status.cause or ""))
            self._ends[status.id].set_result(None)


def check(root: Path, count: int) -> list[str]:
    """What is wrong with the ledger against what really ran; nothing = 0 lost, 0 run twice, exit codes right."""
    wrong = []
    runs = read_ledger(root)
    for attempt, run in runs.items():
        number = int(attempt[1:].partition(".")[0])
        path = root / f"runs-{attempt}"
        ran = path.read_text().count("run") if path.exists() else 0
        if ran > 1:
            wrong.append(f"{attempt} ran {ran} times")
        if run.is_final and (ran, run.code) != (1, code_of(number)):
            wrong.append(f"{attempt} ran {ran} times and ended with {run.code}, not {code_of(number)}")
        if not run.phase:
            wrong.append(f"{attempt} has no end")
        if run.phase == AttemptPhase.absent and ran:
            wrong.append(f"{attempt} ran, and is said not to have")
    for number in range(count):
        finals = [attempt for attempt, run in runs.items() if attempt.startswith(f"j{number}.") and run.is_final]
        if len(finals) != 1:
            wrong.append(f"j{number} has {len(finals)} ends of its own")
    return wrong


def lost(root: Path) -> dict[str, Cause]:
    """Attempts that did not come to their own end, and why."""
    return {attempt: Cause(run.cause) for attempt, run in read_ledger(root).items() if not run.is_final and run.cause}


async def main() -> None:
    root, control, epoch, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    options = json.loads(sys.argv[5])
    load = Load(root, count)
    transport = RayTransport(RayOptions(**{**options, "state": Path(options["state"])}))
    executor = RemoteExecutor(
        transport, control, name="ray", placement=load.node_of, lease_s=LEASE_S, margin_s=MARGIN_S
    )
    await executor.open(epoch)
    await load.run(executor)
    await executor.close()


if __name__ == "__main__":
    asyncio.run(main())
