"""Sixty seeds more, beside the first: a file of its own, so that both can be lived through at once."""

from __future__ import annotations

import pytest

from tests.simulated.lives import PER_TEST, live_through


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(60, 120, PER_TEST))
def test_no_promise_is_broken_here_either(first: int) -> None:
    assert len(live_through(first)) == PER_TEST
