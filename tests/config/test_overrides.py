"""Settings tried out on a recording make a pool that could be configured, or none."""

from __future__ import annotations

import pytest

from agentorch.config.overrides import read_overrides
from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec, Reservation
from agentorch.model.jobs import Resources

POOL = PoolSpec(
    name="p",
    min_workers=0,
    max_workers=8,
    workers=8,
    shape=Resources(cpu_milli=4_000),
    reservations=(Reservation(tenant="a", workers=4),),
)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"pools.p.max_workers": "3"}, "--set pools.p: 4 workers are reserved; there are at most 3"),
        ({"pools.p.min_workers": "9"}, "min_workers is 9 and max_workers 8"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_overrides(given).pool(POOL)


def test_a_pool_that_can_be_has_workers_within_its_bounds() -> None:
    assert read_overrides({"pools.p.max_workers": "4"}).pool(POOL).workers == 4
    assert read_overrides({"pools.q.max_workers": "1"}).pool(POOL) == POOL
