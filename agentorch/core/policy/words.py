"""Numbers as a person reads them."""

from __future__ import annotations

from agentorch.model.observation import PoolFacts
from agentorch.model.twin import Course, Range

_UNITS = ((2 * 86_400, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"))


def span(seconds: float) -> str:
    """A length of time in the unit that says most, as `90 s`, `12 min` or `3.4 h`."""
    for least, size, unit in _UNITS:
        if abs(seconds) >= least:
            value = seconds / size
            return f"{value:.0f} {unit}" if abs(value) >= 10 else f"{value:.1f} {unit}"
    return f"{round(seconds) + 0} s"


def spread(value: Range) -> str:
    """The middle, and between what eight of ten draws lie."""
    return f"{span(value.mid)} ({span(value.low)} to {span(value.high)})"


def dollars(usd_micros: float) -> str:
    """To the cent; small amounts to two digits that count."""
    usd = usd_micros / 1e6
    return f"${usd:.2f}" if not usd or abs(usd) >= 0.1 else f"${usd:.2g}"


def wait(pool: PoolFacts) -> str:
    return f"p95 {pool.wait_s_p95:.0f} s of {pool.target_wait_s:.0f} s wanted"


def numbers(pool: PoolFacts) -> str:
    return (
        f"{pool.name}: {pool.queued} queued, {pool.running} running, {pool.busy} of {pool.available} workers busy, "
        f"{pool.need} needed, {pool.min_workers} to {pool.max_workers} allowed, wait {wait(pool)}"
    )


def nothing(course: Course, horizon_s: float) -> str:
    """How it goes on if nothing is done."""
    misses = f", deadlines missed: {course.misses.mid:.0f}" if course.misses.high else ""
    return (
        f"do nothing: p95 of waits {spread(course.wait_p95_s)}, {course.queued.mid:.0f} queued after {span(horizon_s)}"
        f"{misses}"
    )
