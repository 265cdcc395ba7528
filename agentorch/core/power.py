"""The watt cap of a pool (G13): what its GPUs draw, and whether one more start stays below it.

The samples' sum is rounded up to a tenth of the cap, so that only what matters becomes an event. A start counts with
what its GPUs may draw at most until samples had time to show it. Unknown power is not placed on.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentorch.core.facts import Facts
from agentorch.core.health import stale_after_ms
from agentorch.model import limits
from agentorch.model.events import PoolPowered
from agentorch.model.fleet import Pool
from agentorch.model.jobs import Job
from agentorch.model.observation import DeviceSample

STEPS = 10


def drawn(facts: Facts, pool: Pool, samples: Mapping[str, DeviceSample], now_ms: int) -> PoolPowered | None:
    """What is to be recorded of the pool's power; None when nothing changed that matters, or it has no cap."""
    cap = pool.spec.power_cap_watts
    if cap is None:
        return None
    known = pool.power
    found = [samples.get(name) for worker in pool.workers for name in facts.workers[worker].devices]
    exact = _sum(facts, found, now_ms)
    watts = None if exact is None else _rounded(exact, cap, known.watts)
    start = _of_one_start(found, known.start_watts)
    settled = any(at_ms <= now_ms - limits.POWER_SETTLE_MS for at_ms, _ in known.starts)
    if (watts, start) == (known.watts, known.start_watts) and not settled:
        return None
    return PoolPowered(at_ms=now_ms, pool=pool.spec.name, watts=watts, start_watts=start)


def _sum(facts: Facts, found: list[DeviceSample | None], now_ms: int) -> float | None:
    total = 0.0
    for sample in found:
        if sample is None or sample.power_watts is None:
            return None
        if now_ms - sample.at_ms > stale_after_ms(facts, sample.node):
            return None
        total += sample.power_watts
    return total


def _rounded(exact: float, cap: int, known: int | None) -> int:
    """Up to the next step. A little less than the step that is known stays there: no event for a trembling needle."""
    step = max(1, cap // STEPS)
    if known is not None and known - 1.5 * step < exact <= known:
        return known
    return -int(-exact // step) * step


def _of_one_start(found: list[DeviceSample | None], known: int | None) -> int | None:
    """The highest power limit of a device; where none is known, the most that one was ever seen to draw."""
    there = [sample for sample in found if sample is not None]
    caps = [sample.power_limit_watts for sample in there if sample.power_limit_watts is not None]
    if caps:
        return round(max(caps))
    seen = [sample.power_watts for sample in there if sample.power_watts is not None]
    most = max((round(watts) for watts in seen), default=0)
    return max(most, known or 0) or None


def has_power(pool: Pool, job: Job) -> bool:
    """Whether a start of the job stays below the cap. What needs no GPU is not counted."""
    cap = pool.spec.power_cap_watts
    return cap is None or not job.resources.gpus or _needed(pool, job, cap) is not None


def _needed(pool: Pool, job: Job, cap: int) -> int | None:
    """What the pool would draw with the job, in watts; None when that is unknown or too much."""
    power = pool.power
    if power.watts is None or power.start_watts is None:
        return None
    total = power.watts + _starting(pool) + job.resources.gpus * job.spec.gang * power.start_watts
    return total if total <= cap else None


def _starting(pool: Pool) -> int:
    return sum(watts for _, watts in pool.power.starts)


def power_text(pool: Pool, job: Job) -> str:
    cap, power = pool.spec.power_cap_watts, pool.power
    if cap is None:
        return f"{pool.spec.name} has no power cap"
    if not job.resources.gpus:
        return "it needs no GPU, so the power cap does not concern it"
    if power.watts is None or power.start_watts is None:
        return f"G13: {pool.spec.name} may draw {cap} W, and what its GPUs draw is unknown"
    need = job.resources.gpus * job.spec.gang * power.start_watts
    starting = f", {_starting(pool)} W for starts just now" if power.starts else ""
    return f"G13: {pool.spec.name} draws up to {power.watts} W{starting} of at most {cap} W; a start may add {need} W"
