"""A world with telemetry in it."""

from __future__ import annotations

from typing import Any

from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.health import HealthState
from agentorch.model.observation import DeviceSample
from tests.core.world import World, refold


class Ward(World):
    """A world with telemetry: `sick` changes what a device's samples say from now on, `look` reports them all."""

    def __init__(self, gpus: int = 1, workers: int = 2, **pool: Any) -> None:
        super().__init__()
        self.ask(cmd.StartRuntime(version="1"))
        self.tenant()
        self.pool("gpu", workers=workers, max_workers=workers, cpus=4, gpus=gpus, **pool)
        self.samples = {name: healthy(name) for worker in self.facts.workers.values() for name in worker.devices}
        self.frozen: set[str] = set()
        self.look()

    def sick(self, device: str, **fields: Any) -> None:
        self.samples[device] = healthy(device, **fields)

    def look(self, seconds: float = 2) -> list[str]:
        """Time passes, and what telemetry says is reported. The events that followed, by name."""
        self.now_ms += int(seconds * 1000)
        for name, sample in self.samples.items():
            if name not in self.frozen:
                self.samples[name] = DeviceSample(**{**fields_of(sample), "at_ms": self.now_ms})
        before = len(self.events)
        self.ask(cmd.ReportHealth(samples=tuple(self.samples.values())))
        self.assert_sound()
        return [type(event).__name__ for event in self.events[before:]]

    def state_of(self, device: str) -> HealthState:
        fault = self.facts.device_faults.get(device)
        return HealthState.ok if fault is None else fault.state

    def restart(self) -> None:
        """All that is left is the ledger."""
        self.state = refold(self.events)
        self.ask(cmd.StartRuntime(version="1"))


def fields_of(sample: DeviceSample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in sample.__struct_fields__}


def healthy(device: str, **fields: Any) -> DeviceSample:
    good: dict[str, Any] = {
        "kind": "gpu",
        "temperature_c": 60.0,
        "power_watts": 100.0,
        "power_limit_watts": 400.0,
        "ecc_uncorrected": 0,
        "ecc_uncorrected_ever": 5,
        "rows_pending": False,
        "rows_failed": False,
        "xid_count": 0,
    }
    return DeviceSample(id=device, **{**good, **fields})


CLEAR_S = limits.SUSPECT_CLEAR_MS / 1000
SUSPECT_S = limits.SUSPECT_MAX_MS / 1000
