"""What would become of a job that nobody has submitted yet: per pool feasibility, price, and who goes first."""

from __future__ import annotations

import msgspec

from agentorch.core import fit, money
from agentorch.core.explain import Check, pool_checks, position
from agentorch.core.placement import workers_in
from agentorch.core.starts import foretell
from agentorch.core.state import State
from agentorch.model import limits
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
    start_p50_ms: int | None = None  # from now on, if it goes there and nowhere else; None = unknown
    start_p90_ms: int | None = None


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
    """An offer per pool, feasible ones first, then cheapest. `tenant` must exist. Changes nothing.

    Of the first few it is foretold when the job would start there.
    """
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
    ranked = sorted(offers, key=lambda offer: (not offer.feasible, fit.price_rank(facts.pools[offer.pool])))
    first = [_with_start(state, job, offer, now_ms) for offer in ranked[: limits.PLAN_STARTS_FORETOLD]]
    return [*first, *ranked[limits.PLAN_STARTS_FORETOLD :]]


def _with_start(state: State, job: Job, offer: Offer, now_ms: int) -> Offer:
    if not offer.feasible:
        return offer
    found = foretell(state, msgspec.structs.replace(job, route_pool=offer.pool), now_ms)
    return msgspec.structs.replace(offer, start_p50_ms=found.start_p50_ms, start_p90_ms=found.start_p90_ms)
