"""One predicate per reason. The scheduler filters with `holds`; `explain` prints `text` of the very same predicates.

Order is precedence: the first that does not hold is why a job waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from agentorch.core import fit, money, power, reservations
from agentorch.core.borrowing import lent_again_ms, may_borrow
from agentorch.core.claims import rank_waiting
from agentorch.core.facts import Facts
from agentorch.model import limits
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Job, JobState, Reason


class JobPredicate(NamedTuple):
    """About the job itself, wherever it would run."""

    code: Reason
    holds: Callable[[Facts, Job, int], bool]
    text: Callable[[Facts, Job, int], str]


class PoolPredicate(NamedTuple):
    """About the job in one pool."""

    code: Reason
    holds: Callable[[Facts, Job, Pool], bool]
    text: Callable[[Facts, Job, Pool], str]


def _quota_holds(facts: Facts, job: Job, now_ms: int) -> bool:
    tenant = facts.tenants[job.tenant]
    return tenant.spec.max_running is None or tenant.running < tenant.spec.max_running


def _quota_text(facts: Facts, job: Job, now_ms: int) -> str:
    tenant = facts.tenants[job.tenant]
    if tenant.spec.max_running is None:
        return f"{job.tenant} may run any number of jobs at once"
    return f"{job.tenant} runs {tenant.running} of at most {tenant.spec.max_running} jobs at once"


def _held_text(facts: Facts, job: Job, now_ms: int) -> str:
    if job.state is not JobState.held:
        return "nobody holds it"
    return f"held by {job.held_by}" + (f": {job.hold_reason}" if job.hold_reason else "")


def _time_text(facts: Facts, job: Job, now_ms: int) -> str:
    if job.not_before_ms <= now_ms:
        return "it may start at any time"
    kind = "its back-off ends" if job.backoff else "it may start"
    return f"{kind} in {max(1, round((job.not_before_ms - now_ms) / 1000))} s"


JOB_PREDICATES: tuple[JobPredicate, ...] = (
    JobPredicate(Reason.held, lambda facts, job, now_ms: job.state is not JobState.held, _held_text),
    JobPredicate(
        Reason.dependency,
        lambda facts, job, now_ms: job.waiting_on == 0,
        lambda facts, job, now_ms: (
            f"waits for {job.waiting_on} of {len(job.spec.depends_on)} jobs"
            if job.waiting_on
            else "depends on nothing that is still to end"
        ),
    ),
    JobPredicate(Reason.start_time, lambda facts, job, now_ms: job.backoff or job.not_before_ms <= now_ms, _time_text),
    JobPredicate(Reason.backoff, lambda facts, job, now_ms: not job.backoff or job.not_before_ms <= now_ms, _time_text),
    JobPredicate(Reason.quota, _quota_holds, _quota_text),
)


def _allowed_holds(facts: Facts, job: Job, pool: Pool) -> bool:
    if job.route_pool and job.route_pool != pool.spec.name:
        return job.route_pool not in facts.pools
    return not fit.constraint_breach(pool.spec, job.spec.constraints)


def _allowed_text(facts: Facts, job: Job, pool: Pool) -> str:
    breach = fit.constraint_breach(pool.spec, job.spec.constraints)
    if breach:
        return f"{breach}; {_borrow_text(job)}" if may_borrow(pool.spec, job) else breach
    if job.route_pool and job.route_pool != pool.spec.name and job.route_pool in facts.pools:
        return f"it is routed to {job.route_pool}"
    return "its constraints allow this pool"


def _borrow_text(job: Job) -> str:
    wait_ms = lent_again_ms(job) - job.queued_ms
    if wait_ms <= 0:
        return "it may borrow what idles here"
    return f"it may borrow what idles here once it has waited {wait_ms // limits.MINUTE_MS} min: it saves nothing"


def _budget_holds(facts: Facts, job: Job, pool: Pool) -> bool:
    price = money.share_price(pool.spec, job.resources, job.spec.gang)
    return price == 0 or money.covers(facts, job, price)


def _budget_text(facts: Facts, job: Job, pool: Pool) -> str:
    tenant = facts.tenants[job.tenant]
    price = money.share_price(pool.spec, job.resources, job.spec.gang)
    if price == 0:
        return "this pool costs nothing"
    if price is None:
        return "the price is unknown" + (
            ", which no cap can cover" if not money.covers(facts, job, None) else " and nothing caps it"
        )
    duration_ms = money.reservation_ms(facts, job, price)
    cost = money.usd(money.cost_of(price, duration_ms))
    if duration_ms <= 0:
        cap = money.usd(job.spec.max_cost_usd_micros)
        return f"its max_cost of {cap} is used up ({money.usd(job.cost_usd_micros)} spent)"
    room = money.headroom(tenant)
    if room is None:
        return f"a start reserves {cost}; {tenant.spec.name} has no cap"
    return (
        f"a start reserves {cost}; {tenant.spec.name} has {money.usd(max(0, room))} left of "
        f"{money.usd(tenant.spec.hard_cap_usd_micros)} ({money.usd(tenant.spent_usd_micros)} spent, "
        f"{money.usd(tenant.reserved_usd_micros)} reserved)"
    )


def _size_text(facts: Facts, job: Job, pool: Pool) -> str:
    spec = pool.spec
    text = f"needs {fit.describe_job(job)}; a worker of {spec.name} has {fit.describe(spec.shape)}"
    if job.spec.gang == 1 or not fit.could_fit(spec.shape, job.resources):
        return text
    return f"{text}, and {spec.max_workers} at most hold {spec.max_workers * fit.at_once(spec.shape, job.resources)}"


POOL_PREDICATES: tuple[PoolPredicate, ...] = (
    PoolPredicate(Reason.infeasible, _allowed_holds, _allowed_text),
    PoolPredicate(
        Reason.infeasible,
        lambda facts, job, pool: fit.could_hold(pool.spec, job),
        _size_text,
    ),
    PoolPredicate(Reason.budget, _budget_holds, _budget_text),
    PoolPredicate(
        Reason.pool_paused,
        lambda facts, job, pool: not pool.paused,
        lambda facts, job, pool: (
            f"{pool.spec.name} is paused: {pool.paused_reason}" if pool.paused else f"{pool.spec.name} is not paused"
        ),
    ),
    PoolPredicate(
        Reason.power,
        lambda facts, job, pool: pool.spec.power_cap_watts is None or power.has_power(pool, job),
        lambda facts, job, pool: power.power_text(pool, job),
    ),
)


class Reckoned:
    """What is reckoned once for a scheduling pass, or a single question.

    `starts`: when jobs that room is kept for will have it, which what starts meanwhile may not delay; and pools with
    reservations as they stand.
    """

    __slots__ = ("_kept", "facts", "starts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.starts: dict[str, int | None] = {}
        self._kept: dict[str, reservations.Kept] = {}

    def kept(self, pool: Pool) -> reservations.Kept:
        name = pool.spec.name
        if name not in self._kept:
            self._kept[name] = reservations.Kept(self.facts, pool)
        return self._kept[name]

    def started(self, workers: Iterable[Worker]) -> None:
        """Something has started on these workers of one pool."""
        for worker in workers:
            kept = self._kept.get(worker.pool)
            if kept is None:
                return
            kept.recount(self.facts, worker)

    def starts_at(self, job: Job) -> int | None:
        """None = unknown."""
        if job.id not in self.starts:
            self.starts[job.id] = _starts_at(self.facts, job)
        return self.starts[job.id]


def kept_for_other(facts: Facts, job: Job, worker: Worker, now_ms: int, reckoned: Reckoned) -> bool:
    """Whether room on this worker is kept for another job that this one would delay (backfill rule).

    A short job may use the gap: it must name a longest duration that ends before the room is needed. Work of a higher
    tier goes first whatever is kept.
    """
    other = facts.jobs.get(worker.reserved_for) if worker.reserved_for else None
    if other is None or other.id == job.id or rank_waiting(job, now_ms) < rank_waiting(other, now_ms):
        return False
    pool = facts.pools[worker.pool]
    if pool.spec.reservations and reservations.goes_before(reckoned.kept(pool), job, other):
        return False
    needed_ms = reckoned.starts_at(other)
    duration_ms = job.spec.max_duration_ms
    return needed_ms is None or duration_ms is None or now_ms + duration_ms > needed_ms


def _starts_at(facts: Facts, job: Job) -> int | None:
    """When there is room on every worker that keeps some for the job; None = unknown."""
    latest_ms = 0
    for name in facts.reserved[job.id]:
        worker = facts.workers[name]
        at_ms = fit.free_at(facts, worker, job.resources, worker.reserved_ranks)
        if at_ms is None:
            return None
        latest_ms = max(latest_ms, at_ms)
    return latest_ms
