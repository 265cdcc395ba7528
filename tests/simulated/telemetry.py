"""Samples of devices on virtual time: most of them harmless, some late, some sick."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentorch.model.observation import DeviceSample
from agentorch.simulation.faults.clock import JumpingClock
from tests.simulated.town import GPUS


class Samples:
    """Keeps `agentorch.runtime.runtime.Telemetry`. `trouble` is the chance of anything odd in a look."""

    def __init__(self, clock: JumpingClock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.trouble = 0.0
        self._others: dict[tuple[str, str], DeviceSample] = {}
        self._errors = dict.fromkeys(GPUS, 0)
        self._xids: dict[str, tuple[int, ...]] = {}
        self._late_ms = 0

    def absorb(self, samples: Sequence[DeviceSample]) -> None:
        for sample in samples:
            self._others[sample.node, sample.id] = sample

    def latest(self) -> tuple[DeviceSample, ...]:
        rng = self.chance
        odd = rng.random() < self.trouble
        self._late_ms = rng.choice([0, 20_000, 60_000]) if odd else 0
        now_ms = self.clock.now_ms() - self._late_ms
        here = [DeviceSample(id="cpu", kind="cpu", at_ms=now_ms, utilization_percent=50.0)]
        for name in GPUS:
            struck = odd and rng.random() < 0.2
            if struck:
                self._errors[name] += 1
                self._xids[name] = (rng.choice([13, 74, 79]),)
            here.append(
                DeviceSample(
                    id=name,
                    kind="gpu",
                    at_ms=now_ms,
                    temperature_c=95.0 if odd and rng.random() < 0.2 else 50.0,
                    utilization_percent=50.0,
                    xid_count=self._errors[name],
                    xids=self._xids.get(name, ()),
                )
            )
        return (*here, *self._others.values())

    def history(self, device: str) -> list[DeviceSample]:
        return []
