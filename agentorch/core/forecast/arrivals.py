"""How much work comes: jobs an hour by kind, the recent counting most.

A job that came `h` half-lives ago counts `2 ** -h`. Work that comes at a steady rate sums up to rate x half-life / ln 2
once it has come for long, and to `1 - 2 ** -age` of that after `age` half-lives.
"""

from __future__ import annotations

from itertools import islice
from math import log

from agentorch.core.facts import Facts
from agentorch.core.forecast.memory import size_of
from agentorch.model import limits


def count(facts: Facts, at_ms: int) -> None:
    """Bring the sums up to now. Called by evolve only, and not for every job."""
    facts.arrivals = counted(facts, at_ms)
    facts.arrivals_ms = at_ms
    facts.arrivals_since_ms = facts.arrivals_since_ms or at_ms
    facts.arrivals_next_job = facts.next_job


def counted(facts: Facts, now_ms: int) -> dict[str, float]:
    """The decayed sum of each kind, `size` and tenant with a NUL between, as of now."""
    faded = _weight(now_ms - facts.arrivals_ms)
    sums = {kind: value * faded for kind, value in facts.arrivals.items()}
    new = facts.next_job - facts.arrivals_next_job
    newest = [facts.jobs[name] for name in islice(reversed(facts.jobs), min(new, limits.ARRIVALS_LOOKED_AT))]
    for job in newest:  # they stand for all that are new
        kind = f"{size_of(job.spec.resources, job.spec.gang)}\0{job.tenant}"
        sums[kind] = sums.get(kind, 0.0) + _weight(now_ms - job.submitted_ms) * new / len(newest)
    if len(sums) > limits.ARRIVAL_KINDS:
        most = sorted(sums, key=lambda kind: -sums[kind])[: limits.ARRIVAL_KINDS]
        return {kind: sums[kind] for kind in most}
    return sums


def per_hour(facts: Facts, now_ms: int) -> dict[str, float]:
    """Jobs an hour of each kind, see `counted`; empty when none ever came."""
    age_ms = max(now_ms - facts.arrivals_since_ms, limits.ARRIVALS_EVERY_MS)
    full = limits.ARRIVALS_HALF_LIFE_MS / log(2) * (1 - _weight(age_ms)) / limits.HOUR_MS
    return {kind: value / full for kind, value in counted(facts, now_ms).items()}


def _weight(age_ms: int) -> float:
    return float(2.0 ** (-max(0, age_ms) / limits.ARRIVALS_HALF_LIFE_MS))
