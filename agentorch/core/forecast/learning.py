"""What an attempt that has ended teaches. Called by evolve only."""

from __future__ import annotations

from itertools import islice

from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import expect_kinds
from agentorch.core.forecast.memory import kinds, kinds_of_size, ran_ms
from agentorch.model import limits
from agentorch.model.jobs import Attempt, Cause, Job

#: Causes of an end that the work itself came to; any other cut it off.
OWN_ENDS = frozenset({Cause.completed, Cause.error, Cause.oom})
#: Causes after which a job goes on from its checkpoint, and so has not lost what the attempt did.
GOES_ON = frozenset({Cause.preempted, Cause.requeued, Cause.interruption})
#: Kinds that are forgotten together: a dict finds its first key only past all that were deleted.
FORGET_AT_ONCE = limits.FORECAST_KINDS // 8


def learn(facts: Facts, job: Job, attempt: Attempt, at_ms: int) -> None:
    """Remember an attempt that has just ended.

    Of more than `FORECAST_LEARNED_PER_SECOND` ends in one second the rest are passed over: they would tell the same,
    and push out what is older.
    """
    second = at_ms // limits.SECOND_MS
    if second != facts.learned_second:
        facts.learned_second, facts.learned = second, 0
    elif facts.learned >= limits.FORECAST_LEARNED_PER_SECOND:
        return
    facts.learned += 1
    own_end = attempt.cause in OWN_ENDS
    if attempt.started_ms is None or (not own_end and job.spec.checkpoint is not None and attempt.cause in GOES_ON):
        return  # it never ran, or the job will count once and whole, at its own end
    _remember(facts, kinds(job.tenant, job.spec, attempt.resources), 2 * ran_ms(job, at_ms) + (not own_end))
    if attempt.price_usd_micros_per_hour:
        sizes = kinds_of_size(job.tenant, attempt.resources, job.spec.gang)
        long_ms = expect_kinds(facts, sizes).quantile_ms(90)
        if long_ms is not None:
            facts.long_runs[sizes[0]] = long_ms


def _remember(facts: Facts, of: tuple[str, ...], run: int) -> None:
    memory = facts.runs
    for kind in of:
        runs = memory.pop(kind, None)
        if runs is None:
            memory[kind] = [run]
            continue
        memory[kind] = runs  # the last of all again, so that the first is the one seen least lately
        runs.append(run)
        if len(runs) > limits.FORECAST_RUNS:
            del runs[0]
    if len(memory) > limits.FORECAST_KINDS:
        for kind in tuple(islice(memory, FORGET_AT_ONCE)):
            del memory[kind]
            facts.long_runs.pop(kind, None)
