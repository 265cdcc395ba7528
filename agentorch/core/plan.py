"""What would become of a job that nobody has submitted yet: per pool feasibility, price, and who goes first."""

from __future__ import annotations

import msgspec

from agentorch.core import fit, money
from agentorch.core.explain import Check, pool_checks, position
from agentorch.core.placement import workers_in
from agentorch.core.state import State
from agentorch.model.jobs import Job, JobSpec, Reason


class Offer(msgspec.Struct, frozen=True):
    pool: str
    feasible: bool  # constraints and size permit it; it may still have to wait
    text: str
    checks: list[Check]
    price_usd_micros_per_hour: int | None  # of all ranks together
    max_cost_usd_micros: int | None  # for its longest duration, or for the hour that would be reserved
    free_now: bool
    position: int  # jobs that would go first


def unsubmitted(state: State, tenant: str, spec: JobSpec, now_ms: int) -> Job:
    """The job that a submit would make now. `tenant` must exist."""
    return Job(
        id="",
        number=state.facts.next_job,
        tenant=tenant,
        spec=spec,
        submitted_ms=now_ms,
        queued_ms=now_ms,
        priority=spec.priority,
        deadline_ms=spec.deadline_ms,
        not_before_ms=spec.not_before_ms,
        resources=spec.resources,
    )


def plan(state: State, tenant: str, spec: JobSpec, now_ms: int) -> list[Offer]:
    """An offer per pool, feasible ones first, then cheapest. `tenant` must exist. Changes nothing."""
    facts = state.facts
    job = unsubmitted(state, tenant, spec, now_ms)
    ahead = position(state, job)
    ahead = len(state.queue) if ahead is None else ahead
    offers = []
    for name, pool in facts.pools.items():
        checks = pool_checks(facts, job, pool, now_ms)
        price = money.share_price(pool.spec, spec.resources, spec.gang)
        bad = [check for check in checks if not check.ok]
        feasible = not any(check.code in ("constraints", "size") for check in bad)
        offers.append(
            Offer(
                pool=name,
                feasible=feasible,
                text=bad[0].text if bad else checks[-1].text,
                checks=checks,
                price_usd_micros_per_hour=price,
                max_cost_usd_micros=money.cost_of(price, money.reservation_ms(facts, job, price)),
                free_now=not bad and ahead == 0 and not isinstance(workers_in(facts, job, pool, now_ms), Reason),
                position=ahead,
            )
        )
    return sorted(offers, key=lambda offer: (not offer.feasible, fit.price_rank(facts.pools[offer.pool])))
