"""A runtime to be killed: `python -m tests.executors.runtime_under_fire ROOT EPOCH COUNT`.

It recovers what its predecessors ordered, then orders more, until COUNT attempts have ended. Its ledger is a file: a
line, synced, for each order before the launch and for each end after it was told. Each thing done is a line on stdout,
so that whoever kills it can choose the moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TextIO

from agentorch.executors.contract import Executor
from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from tests.executors.rigs import shell

_AT_ONCE = 8


def code_of(number: int) -> int:
    return number % 7


def job(root: Path, number: int) -> AttemptSpec:
    """Leaves one line in a file of its own each time it runs; every third takes long enough to be found running."""
    pause = "sleep 0.2; " if number % 3 == 0 else ""
    return shell(f"j{number}", f"echo run >> {root}/runs-{number}; {pause}echo done; exit {code_of(number)}")


def read_ledger(root: Path) -> tuple[set[int], dict[int, str]]:
    """(ordered, ended with phase and code); a torn last line was promised to nobody."""
    ordered, ended = set(), {}
    path = root / "ledger"
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        word, number, *rest = line.split()
        if word == "ordered":
            ordered.add(int(number))
        else:
            ended[int(number)] = " ".join(rest)
    return ordered, ended


class Runtime:
    def __init__(self, root: Path, ledger: TextIO, count: int, executor: Executor, at_once: int = _AT_ONCE) -> None:
        self.root = root
        self.ledger = ledger
        self.count = count
        self.executor = executor
        self.ordered, ended = read_ledger(root)
        self.ended = set(ended)
        self.room = asyncio.Semaphore(at_once)
        self.all_ended = asyncio.Event()

    def spec(self, number: int) -> AttemptSpec:
        return job(self.root, number)

    def record(self, *words: object) -> None:
        self.ledger.write(" ".join(map(str, words)) + "\n")
        self.ledger.flush()
        os.fsync(self.ledger.fileno())
        print(*words, flush=True)

    def end(self, status: AttemptStatus) -> None:
        number = int(status.id[1:-2])
        if number not in self.ended:
            self.ended.add(number)
            self.record("ended", number, status.phase, status.exit_code)
            self.room.release()
        if len(self.ended) == self.count:
            self.all_ended.set()

    async def run(self, epoch: int) -> None:
        await self.executor.open(epoch)
        follower = asyncio.create_task(self.follow())
        open_orders = sorted(self.ordered - self.ended)
        for status in await self.executor.inspect([f"j{number}.1" for number in open_orders]):
            await self.room.acquire()
            if status.phase is not AttemptPhase.running:
                self.end(status)
        for number in range(self.count):
            if number not in self.ordered:
                await self.room.acquire()
                self.record("ordered", number)
                await self.executor.launch([self.spec(number)])
                print("launched", number, flush=True)
        if len(self.ended) < self.count:
            await self.all_ended.wait()
        await self.executor.close()
        await follower

    async def follow(self) -> None:
        async for status in self.executor.events():
            self.end(status)


def main() -> None:
    root, epoch, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with (root / "ledger").open("a") as ledger:
        asyncio.run(Runtime(root, ledger, count, LocalExecutor(root / "attempts")).run(epoch))


if __name__ == "__main__":
    main()
