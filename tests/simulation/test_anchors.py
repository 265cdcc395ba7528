"""The references agree with an independent simulator on real traces, so that ours can be believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulate import ANCHORS, OPENB, SMALL, TOLERANCE, Trace, off, simulated

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("trace", "policy"), [(trace, policy) for trace in (SMALL, OPENB) for policy in ANCHORS[trace]], ids=str
)
def test_a_reference_agrees_with_an_independent_simulator(trace: Trace, policy: str) -> None:
    report = simulated(trace, trace.jobs(DATA), policy)
    assert {name: share for name, share in off(report, ANCHORS[trace][policy]).items() if share > TOLERANCE} == {}


def test_a_number_that_is_off_is_told() -> None:
    anchor = ANCHORS[SMALL]["sjf"]
    report = simulated(SMALL, SMALL.jobs(DATA), "fifo-greedy")
    assert off(report, anchor)["avg_jct_s"] > TOLERANCE
