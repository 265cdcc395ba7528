"""A runtime of entry points to be killed: `python -m tests.executors.warm_under_fire ROOT EPOCH COUNT`.

It recovers what its predecessors ordered, then orders more, in batches, until COUNT calls have ended. Its ledger is a
file: synced lines for a batch of orders before the launch, and a line for each end after it was told.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TextIO

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.jobs import EntryPoint
from tests.executors.rigs import attempt
from tests.executors.runtime_under_fire import read_ledger

_BATCH = 16
_AT_ONCE = 64
HERE = str(Path(__file__).resolve().parent)


def job(root: Path, number: int) -> AttemptSpec:
    """Leaves one line in a file of its own each time it runs; some take long enough to be found running."""
    pause_s = 0.15 if number % 40 == 7 else 0.0
    point = EntryPoint(call="entry_jobs:once", args=(f"{root}/runs-{number}", pause_s))
    return attempt(f"j{number}", entry=point, workdir=HERE, durable=number % 2 == 0, cpu_milli=30)


class _Runtime:
    def __init__(self, root: Path, ledger: TextIO, count: int) -> None:
        self.root = root
        self.ledger = ledger
        self.count = count
        self.executor = LocalExecutor(root / "attempts")
        self.ordered, ended = read_ledger(root)
        self.ended = set(ended)
        self.room = asyncio.Condition()
        self.all_ended = asyncio.Event()

    def record(self, lines: list[str]) -> None:
        self.ledger.write("".join(f"{line}\n" for line in lines))
        self.ledger.flush()
        os.fsync(self.ledger.fileno())
        for line in lines:
            print(line, flush=True)

    async def end(self, statuses: list[AttemptStatus]) -> None:
        fresh = [status for status in statuses if int(status.id[1:-2]) not in self.ended]
        if fresh:
            self.ended |= {int(status.id[1:-2]) for status in fresh}
            self.record([f"ended {status.id[1:-2]} {status.phase} {status.exit_code}" for status in fresh])
            async with self.room:
                self.room.notify_all()
        if len(self.ended) >= self.count:
            self.all_ended.set()

    async def run(self, epoch: int) -> None:
        await self.executor.open(epoch)
        follower = asyncio.create_task(self.follow())
        orphans = [f"j{number}.1" for number in sorted(self.ordered - self.ended)]
        found = await self.executor.inspect(orphans)
        await self.end([status for status in found if status.phase is not AttemptPhase.running])
        left = [number for number in range(self.count) if number not in self.ordered]
        for start in range(0, len(left), _BATCH):
            batch = left[start : start + _BATCH]
            async with self.room:
                await self.room.wait_for(lambda: len(self.ordered) - len(self.ended) <= _AT_ONCE - _BATCH)
            self.ordered |= set(batch)
            self.record([f"ordered {number}" for number in batch])
            told = await self.executor.launch([job(self.root, number) for number in batch])
            await self.end([status for status in told if status.phase is not AttemptPhase.running])
        if len(self.ended) < self.count:
            await self.all_ended.wait()
        await self.executor.close()
        await follower

    async def follow(self) -> None:
        async for status in self.executor.events():
            await self.end([status])


def main() -> None:
    root, epoch, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with (root / "ledger").open("a") as ledger:
        asyncio.run(_Runtime(root, ledger, count).run(epoch))


if __name__ == "__main__":
    main()
