"""A world in which work has run for a while: kinds of it are known, some runs, some waits."""

from __future__ import annotations

from typing import Any

from agentorch.core.twin import foresee
from agentorch.model.jobs import Checkpoint
from agentorch.model.proposals import Draft
from agentorch.model.twin import Impact, Outlook
from tests.core.world import World

#: Run times of the work that everybody knows, seconds.
KNOWN_S = (60, 120, 180, 240, 300, 360, 420, 480, 540, 600)


class Town(World):
    """`workers` of one core; run times of `train` are known."""

    def __init__(self, workers: int = 4, **pool: Any) -> None:
        super().__init__()
        self.tenant()
        self.pool("cpu", workers=workers, max_workers=20, **pool)
        for seconds in KNOWN_S:
            name = self.submit(name="train")
            self.schedule()
            self.running(name)
            self.now_ms += seconds * 1000
            self.end(name)

    def crowd(self, count: int, **spec: Any) -> list[str]:
        """So many more jobs, started as far as there is room."""
        names = [self.submit(**({"name": "train"} | spec)) for _ in range(count)]
        for name in self.schedule():
            self.running(name)
        return names

    def ahead(self, *actions: Any, **options: int) -> Outlook:
        return foresee(self.state, tuple(Draft(action=action) for action in actions), self.now_ms, **options)

    def impact(self, action: Any, **options: int) -> Impact:
        (found,) = self.ahead(action, **options).impacts
        return found


def scale(workers: int, pool: str = "cpu") -> dict[str, Any]:
    return {"kind": "scale", "pool": pool, "workers": workers}


def stop(job: str, change: str = "preempt") -> dict[str, Any]:
    return {"kind": "reschedule", "job": job, "change": change}


SAVES = Checkpoint(path="ckpt", grace_ms=5_000)
