"""What is to be expected of one job: when it starts, how long it runs, when it ends, and what that rests on."""

from __future__ import annotations

import msgspec

from agentorch.core.forecast.durations import Expectation, expect
from agentorch.core.forecast.memory import carried_ms, ran_ms
from agentorch.core.starts import foretell
from agentorch.core.state import State
from agentorch.model.jobs import FINISHED, ON_WORKER, Job


class Prospect(msgspec.Struct, frozen=True):
    """In ms from now on, medians and 90 % quantiles; None = unknown, and the text says why.

    `duration` is all that is still to run; a job that runs has no start to come.
    """

    duration_p50_ms: int | None
    duration_p90_ms: int | None
    duration_text: str
    start_p50_ms: int | None = None
    start_p90_ms: int | None = None
    start_text: str = ""
    end_p50_ms: int | None = None
    end_p90_ms: int | None = None


def prospect(state: State, job: Job, now_ms: int) -> Prospect | None:
    """Of a job that has not ended, or is not submitted yet; None for one that has. Changes nothing."""
    if job.state in FINISHED:
        return None
    if job.state in ON_WORKER:
        left = expect(state.facts, job, ran_ms(job, now_ms))
        middle, most = left.quantile_ms(50), left.quantile_ms(90)
        return Prospect(middle, most, _basis(left), end_p50_ms=middle, end_p90_ms=most)
    whole = expect(state.facts, job, carried_ms(job))
    starts = foretell(state, job, now_ms)
    return Prospect(
        whole.quantile_ms(50),
        whole.quantile_ms(90),
        _basis(whole),
        starts.start_p50_ms,
        starts.start_p90_ms,
        starts.text,
        starts.end_p50_ms,
        starts.end_p90_ms,
    )


def _basis(expected: Expectation) -> str:
    return f"from {expected.basis}" if expected.known else expected.basis
