"""Draws become ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentorch.core.twin.record import Outcome
from agentorch.model import limits
from agentorch.model.twin import MEASURES, Course, Range, Waits


def spread(values: Iterable[float]) -> Range:
    """The middle 80 %: of nine draws the least and the greatest, for the next would be within with (9 - 1) / (9 + 1).

    Of n draws the k-th and the k-th from the end hold it with (n + 1 - 2 k) / (n + 1).
    """
    ordered = sorted(values)
    count = len(ordered)
    edge = edge_of(count)
    return Range(_short(ordered[edge]), _short(ordered[count // 2]), _short(ordered[count - 1 - edge]))


def edge_of(count: int) -> int:
    """The place, from 0 on and from either end, of the ends of 80 % in so many draws in order."""
    return max(0, (count + 1) // 10 - 1)


def _short(value: float) -> float:
    return round(float(value), 3)


def told_apart(outcomes: Sequence[Outcome], named: Sequence[str]) -> list[str]:
    """The pools of which a course tells by name: those named, and up to `TWIN_POOLS_MAX` with the longest waits."""
    worst: dict[str, float] = {}
    for one in outcomes:
        for (pool, _), (_, p95_s) in one.waits.items():
            worst[pool] = max(worst.get(pool, 0.0), p95_s)
    longest = sorted(worst, key=lambda pool: (-worst[pool], pool))
    return sorted(dict.fromkeys([*named, *longest[: limits.TWIN_POOLS_MAX]]))


def course(outcomes: Sequence[Outcome], pools: Sequence[str]) -> Course:
    """Ranges over the draws; these pools are told apart."""
    keys = sorted({key for one in outcomes for key in one.waits if key[0] in pools})
    length = max(len(one.queue) for one in outcomes)
    none = [0.0] * length
    told = [one for one in outcomes if one.pool_waited_s]
    pool_waited_s = {pool: tuple(_middles([one.pool_waited_s.get(pool, none) for one in told])) for pool in pools}
    worst = zip(*pool_waited_s.values(), strict=True) if pool_waited_s else iter(())
    return Course(
        wait_p50_s=spread(one.wait_p50_s for one in outcomes),
        wait_p95_s=spread(one.wait_p95_s for one in outcomes),
        queued=spread(one.queued for one in outcomes),
        ended=spread(one.ended for one in outcomes),
        misses=spread(one.misses for one in outcomes),
        cost_usd_micros=spread(one.cost_usd_micros for one in outcomes),
        utilization_percent=spread(one.utilization_percent for one in outcomes),
        preempted=spread(one.preempted for one in outcomes),
        lost_s=spread(one.lost_s for one in outcomes),
        waits=tuple(_waits(outcomes, *key) for key in keys),
        queue=tuple(_middles([one.queue for one in outcomes])),
        waited_s=tuple(max(at) for at in worst),
        pool_waited_s=pool_waited_s,
    )


def _waits(outcomes: Sequence[Outcome], pool: str, tier: str) -> Waits:
    found = [one.waits.get((pool, tier), (0.0, 0.0)) for one in outcomes]
    return Waits(pool, str(tier), spread(p50 for p50, _ in found), spread(p95 for _, p95 in found))


def _middles(series: Sequence[Sequence[float]]) -> list[float]:
    """Of the draws at each time, the lower one of two."""
    return [_short(sorted(at)[(len(at) - 1) // 2]) for at in zip(*series, strict=True)]


def gain_s(idle: Sequence[Outcome], acted: Sequence[Outcome]) -> Range:
    return spread(one.waited_for_s - other.waited_for_s for one, other in zip(idle, acted, strict=True))


def changed(idle: Sequence[Outcome], acted: Sequence[Outcome]) -> dict[str, Range]:
    """What is other with the action, draw by draw: the same chance in both."""
    both = list(zip(idle, acted, strict=True))
    return {name: spread(getattr(other, name) - getattr(one, name) for one, other in both) for name in MEASURES}
