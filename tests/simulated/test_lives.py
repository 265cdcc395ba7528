"""Whatever fails, nothing that was promised is broken, and once it is quiet all work ends: the first sixty seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulated.lives import PER_TEST, live_through


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, 60, PER_TEST))
def test_no_promise_is_broken(first: int) -> None:
    told = live_through(first)
    kinds = Counter[str]()
    for life in told:
        kinds.update(life.kinds)
    wanted = ("job-started", "job-stopping", "job-requeued", "action-started", "node-seen", "rank-ended", "job-held")
    assert [name for name in wanted if not kinds[name]] == []
    assert sum(sum(life.crashes.values()) for life in told) > 2 * PER_TEST
