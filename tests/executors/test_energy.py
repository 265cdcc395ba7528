"""Energy of attempts: known when they were watched from their start to their end, else unknown, never zero."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from agentorch.executors.energy import EnergyMeter
from agentorch.executors.local import LocalExecutor
from agentorch.model.attempts import AttemptPhase, AttemptStatus
from agentorch.model.jobs import Usage
from tests.executors.ends import Ends, until_logged
from tests.executors.rigs import shell


class Counters:
    """GPUs whose counters a test turns; one that is not named is unknown."""

    def __init__(self, **millijoules: int) -> None:
        self.millijoules = millijoules

    def read(self, devices: Sequence[str]) -> int | None:
        if not all(device in self.millijoules for device in devices):
            return None
        return sum(self.millijoules[device] for device in devices)


def ended(name: str = "a.1") -> AttemptStatus:
    return AttemptStatus(id=name, phase=AttemptPhase.ended, usage=Usage(cpu_ms=5))


def test_the_difference_of_the_counters_is_what_it_drew() -> None:
    counters = Counters(g0=1_000, g1=500)
    meter = EnergyMeter(counters.read)
    meter.start("a.1", ("g0", "g1"))
    counters.millijoules["g0"] += 250
    counters.millijoules["g1"] += 50
    assert meter.end(ended()).usage == Usage(cpu_ms=5, energy_mj=300)
    assert meter.end(ended()).usage.energy_mj is None, "told once"


def test_what_is_not_known_from_start_to_end_is_unknown() -> None:
    counters = Counters(g0=1_000)
    meter = EnergyMeter(counters.read)
    meter.start("no-gpu.1", ())
    meter.start("slice.1", ("MIG-1",))
    assert meter.end(ended("no-gpu.1")).usage.energy_mj is None
    assert meter.end(ended("slice.1")).usage.energy_mj is None
    assert meter.end(ended("found-again.1")).usage.energy_mj is None
    meter.start("reset.1", ("g0",))
    counters.millijoules["g0"] = 10
    assert meter.end(ended("reset.1")).usage.energy_mj is None
    meter.start("gone.1", ("g0",))
    del counters.millijoules["g0"]
    assert meter.end(ended("gone.1")).usage.energy_mj is None
    assert EnergyMeter().end(ended()).usage.energy_mj is None


def test_an_attempt_tells_what_its_gpus_drew(tmp_path: Path) -> None:
    counters = Counters(g0=7_000)

    async def scenario() -> None:
        executor = LocalExecutor(tmp_path, energy=counters.read)
        await executor.open(1)
        async with Ends(executor) as ends:
            await executor.launch([shell("a", "echo ready; read line < pipe || sleep 600", devices=("g0",))])
            await until_logged(executor, "a.1", b"ready")
            counters.millijoules["g0"] = 9_500
            await executor.stop("a.1", "cancelled", 0)
            assert (await ends.of("a.1")).usage.energy_mj == 2_500
            await executor.launch([shell("b", "true")])
            assert (await ends.of("b.1")).usage.energy_mj is None
        await executor.close()

    asyncio.run(scenario())
