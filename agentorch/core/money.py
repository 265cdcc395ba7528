"""What a start costs: integer micro-dollars, never floats, and unknown is None, never zero."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import expect_kinds
from agentorch.core.forecast.memory import kinds_of_size
from agentorch.model import limits
from agentorch.model.fleet import PoolSpec, Tenant
from agentorch.model.jobs import Job, Resources


def share_price(spec: PoolSpec, need: Resources, ranks: int = 1) -> int | None:
    """Micro-dollars per hour for the part of a worker that `need` takes, its largest share of any one resource; for so
    many ranks of it."""
    price = spec.price_usd_micros_per_hour
    if not price:
        return price
    shape = spec.shape
    parts = [(need.cpu_milli, shape.cpu_milli), (need.memory_bytes, shape.memory_bytes), (need.gpus, shape.gpus)]
    return ranks * max((-(-price * part // whole) for part, whole in parts if whole), default=price)


def cost_of(price_usd_micros_per_hour: int | None, duration_ms: int) -> int | None:
    """Micro-dollars for a duration, rounded up; None when the price is unknown."""
    if price_usd_micros_per_hour is None:
        return None
    return -(-price_usd_micros_per_hour * max(0, duration_ms) // limits.HOUR_MS)


def affordable_ms(price_usd_micros_per_hour: int, money_usd_micros: int) -> int:
    """How long `money` lasts, in whole milliseconds. The price must be above zero."""
    return max(0, money_usd_micros) * limits.HOUR_MS // price_usd_micros_per_hour


def reservation_ms(facts: Facts, job: Job, price_usd_micros_per_hour: int | None) -> int:
    """How long a start is paid for in advance: its longest duration, else what nine of ten runs of its tenant and size
    do not exceed, else an hour; never past its own `max_cost`.

    Its name does not count: if the head of a line can't be paid for, nobody in the line can, see `core.queue`.
    """
    wanted = job.spec.max_duration_ms or limits.DEFAULT_RESERVATION_MS
    if not price_usd_micros_per_hour:
        return wanted
    if not job.spec.max_duration_ms:
        sizes = kinds_of_size(job.tenant, job.resources, job.spec.gang)
        expected_ms = facts.long_runs.get(sizes[0])  # reckoned at the last end, for many ask
        if expected_ms is None:
            expected_ms = expect_kinds(facts, sizes).quantile_ms(90)
        if expected_ms is not None:
            wanted = max(expected_ms, limits.RESERVATION_LEAST_MS + job.spec.grace_ms)
    if job.spec.max_cost_usd_micros is None:
        return wanted
    left = job.spec.max_cost_usd_micros - job.cost_usd_micros
    return min(wanted, affordable_ms(price_usd_micros_per_hour, left))


def headroom(tenant: Tenant) -> int | None:
    """What the tenant may still reserve; None without a cap."""
    cap = tenant.spec.hard_cap_usd_micros
    return None if cap is None else cap - tenant.spent_usd_micros - tenant.reserved_usd_micros


def covers(facts: Facts, job: Job, price_usd_micros_per_hour: int | None) -> bool:
    """Whether a start at this price can be reserved (G7). An unknown price never fits under a cap."""
    room = headroom(facts.tenants[job.tenant])
    if room is None and job.spec.max_cost_usd_micros is None:
        return True
    if price_usd_micros_per_hour is None:
        return False
    duration_ms = reservation_ms(facts, job, price_usd_micros_per_hour)
    if duration_ms <= 0:
        return False
    cost = cost_of(price_usd_micros_per_hour, duration_ms) or 0
    return room is None or cost <= room


def usd(micros: int | None) -> str:
    """For people: `$1.25`, `$0.0004`, `unknown`."""
    if micros is None:
        return "unknown"
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}${micros / 1e6:.2f}" if micros >= 10_000 or micros == 0 else f"{sign}${micros / 1e6:.4f}"
