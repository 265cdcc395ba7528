"""Random lives of calls: launched, stopped, their workers killed, their runtimes replaced, in any order."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends
from tests.executors.processes import kill, marked
from tests.executors.test_warm import entry

STEPS = 60


class _Life:
    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.epoch = 0
        self.specs: dict[str, AttemptSpec] = {}
        self.ends: dict[str, AttemptStatus] = {}
        self.stopped: set[str] = set()
        self.killed = 0

    async def live(self) -> None:
        await self.begin()
        for _ in range(STEPS):
            step = self.chance.choice([self.launch, self.launch, self.stop, self.stop, self.kill, self.replace])
            await step()
        for name in self.specs:
            if name not in self.ends:
                self.ends[name] = await self.told.of(name)
        await self.told.__aexit__(None, None, None)
        await self.executor.close()

    async def begin(self) -> None:
        self.epoch += 1
        self.executor = LocalExecutor(self.root / "root")
        await self.executor.open(self.epoch)
        self.told = await Ends(self.executor).__aenter__()
        open_calls = [name for name in self.specs if name not in self.ends]
        for status in await self.executor.inspect(open_calls):
            if status.phase is not AttemptPhase.running:
                self.ends[status.id] = status

    async def launch(self) -> None:
        specs = []
        for _ in range(self.chance.randrange(1, 40)):
            number = len(self.specs)
            pause_s = self.chance.choice([0, 0, 0, 0.001, 0.005, 0.15])
            durable = self.chance.random() < 0.5
            path = str(self.root / f"runs-{number}")
            specs.append(entry(f"j{number}", "once", path, pause_s, durable=durable, cpu_milli=100))
            self.specs[specs[-1].id] = specs[-1]
        await self.executor.launch(specs)
        await self.executor.launch(specs[: self.chance.randrange(len(specs) + 1)])

    async def stop(self) -> None:
        names = [name for name in self.specs if name not in self.ends][-30:]
        chosen = self.chance.sample(names, min(len(names), self.chance.randrange(1, 6)))
        self.stopped.update(chosen)
        await asyncio.gather(*(self.executor.stop(name, "cancelled", self.chance.choice([0, 500])) for name in chosen))

    async def kill(self) -> None:
        folder = self.root / "root" / ".warm"
        names = sorted(path.name for path in folder.glob("w*"))
        if names:
            name = self.chance.choice(names)
            pids = await asyncio.to_thread(marked, folder, name)
            if pids:
                self.killed += 1
                await asyncio.to_thread(kill, pids[0])

    async def replace(self) -> None:
        """An older runtime is sometimes closed late: it must not matter."""
        before = self.executor
        await self.told.__aexit__(None, None, None)
        late = self.chance.random() < 0.5
        if not late:
            await before.close()
        await self.begin()
        if late:
            await before.close()

    def check(self) -> None:
        for number, name in enumerate(self.specs):
            path = self.root / f"runs-{number}"
            runs = path.read_text() if path.exists() else ""
            status = self.ends[name]
            if status.cause is Cause.completed:
                assert runs == "run\n", status
            elif status.phase is AttemptPhase.absent or status.started_ms is None:
                assert runs == "", status
            assert runs in ("", "run\n"), status
            assert status.cause is not Cause.cancelled or name in self.stopped, status
        failed = [status for status in self.ends.values() if status.cause in (Cause.error, Cause.lost)]
        assert len(failed) <= self.killed


@pytest.mark.parametrize("seed", range(4))
def test_every_call_has_one_end_and_none_is_made_twice(tmp_path: Path, seed: int) -> None:
    (tmp_path / "root").mkdir()
    life = _Life(tmp_path, seed)
    asyncio.run(life.live())
    life.check()
