"""Why a job is not running, from the very predicates that the scheduler filters with."""

from __future__ import annotations

import msgspec

from agentorch.core import fairshare, fit, gangs, reservations
from agentorch.core.claims import rank_waiting
from agentorch.core.facts import Facts
from agentorch.core.health import out_of_health
from agentorch.core.nodes import shortage
from agentorch.core.placement import NEARNESS, job_obstacle, pool_obstacle, workers_in
from agentorch.core.predicates import JOB_PREDICATES, POOL_PREDICATES
from agentorch.core.queue import order_key
from agentorch.core.reservations import Kept
from agentorch.core.state import State
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import WAITING, Job, JobState, Reason

#: Jobs looked at for a position; beyond it the position is unknown rather than slow.
POSITION_SCAN = 100_000


class Check(msgspec.Struct, frozen=True):
    """One predicate: whether it holds, and in words what it saw."""

    code: str
    ok: bool
    text: str


class Explanation(msgspec.Struct, frozen=True):
    reason: tuple[Reason, str] | None
    position: int | None  # jobs that go first; None when it does not wait in line, or too many do
    checks: list[Check]
    pools: dict[str, list[Check]]


def reason(state: State, job: Job, now_ms: int) -> tuple[Reason, str] | None:
    """The first reason that applies, in words; None when the job does not wait."""
    if job.state not in WAITING:
        return None
    facts = state.facts
    for predicate in JOB_PREDICATES:
        if not predicate.holds(facts, job, now_ms):
            return predicate.code, predicate.text(facts, job, now_ms)
    nearest: tuple[Reason, str] = (Reason.infeasible, "there is no pool")
    for pool in facts.pools.values():
        found = _pool_reason(facts, job, pool, now_ms)
        if nearest[1] == "there is no pool" or NEARNESS[found[0]] > NEARNESS[nearest[0]]:
            nearest = found
    if job.was_preempted and nearest[0] in (Reason.no_capacity, Reason.reserved, Reason.order):
        return Reason.preempted, f"it gave way to {job.gave_way_to or 'other work'}; {nearest[1]}"
    return nearest


def _pool_reason(facts: Facts, job: Job, pool: Pool, now_ms: int) -> tuple[Reason, str]:
    obstacle = pool_obstacle(facts, job, pool)
    if obstacle is not None:
        failed = next(predicate for predicate in POOL_PREDICATES if not predicate.holds(facts, job, pool))
        return obstacle, failed.text(facts, job, pool)
    answer = workers_in(facts, job, pool, now_ms)
    if not isinstance(answer, Reason):
        return Reason.order, f"there is room on {_names(answer)}; others may go first"
    return answer, _room_text(facts, job, pool, answer)


def _room_text(facts: Facts, job: Job, pool: Pool, answer: Reason) -> str:
    if answer is Reason.reserved:
        waiting = next(
            (facts.workers[name].reserved_for for name in pool.workers if facts.workers[name].reserved_for), ""
        )
        if pool.spec.reservations and (not waiting or not Kept(facts, pool).leaves_enough(job)):
            return reservations.text(pool, job)
        return f"free room in {pool.spec.name} is kept for {waiting}, which waits longer"
    workers = [facts.workers[name] for name in pool.workers]
    usable = [worker for worker in workers if fit.takes_work(worker)]
    idle = sum(1 for worker in usable if not worker.running)
    text = (
        f"waits for {fit.describe_job(job)} in {pool.spec.name}: "
        f"{len(usable)} of {len(workers)} workers take work, {idle} of them empty"
    )
    for why in (shortage(facts, pool), out_of_health(facts, workers)):
        text += f"; {why}" if why else ""
    if job.spec.gang == 1:
        return text
    return f"{text}; there is room for {gangs.room(facts, job, pool)} of {job.spec.gang} ranks"


def _names(workers: tuple[Worker, ...]) -> str:
    """The workers of the ranks, each once: `cpu-0`, `cpu-0 and 3 more`."""
    names = list(dict.fromkeys(worker.id for worker in workers))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def explain(state: State, job: Job, now_ms: int) -> Explanation:
    """Every predicate of the job, and per pool those that decide whether it may start there."""
    facts = state.facts
    checks = [
        Check(predicate.code, predicate.holds(facts, job, now_ms), predicate.text(facts, job, now_ms))
        for predicate in JOB_PREDICATES
    ]
    pools = {name: pool_checks(facts, job, pool, now_ms) for name, pool in facts.pools.items()}
    return Explanation(reason(state, job, now_ms), position(state, job), checks, pools)


def pool_checks(facts: Facts, job: Job, pool: Pool, now_ms: int) -> list[Check]:
    """Every predicate of the job in one pool; the last says whether there is room."""
    checks = [
        Check(_code(index), predicate.holds(facts, job, pool), predicate.text(facts, job, pool))
        for index, predicate in enumerate(POOL_PREDICATES)
    ]
    answer = workers_in(facts, job, pool, now_ms)
    if not isinstance(answer, Reason):
        checks.append(Check("room", True, f"{_names(answer)} has room for {fit.describe_job(job)}"))
    else:
        checks.append(Check("room", False, _room_text(facts, job, pool, answer)))
    return checks


def _code(index: int) -> str:
    return ("constraints", "size", "budget", "pool_paused", "power")[index]


def position(state: State, job: Job) -> int | None:
    """How many queued jobs the scheduler would look at first, if all could start."""
    facts = state.facts
    if job.state is not JobState.queued or job_obstacle(facts, job, facts.at_ms) is not None:
        return None
    if len(state.queue) > POSITION_SCAN:
        return None
    mine = _rank(facts, job)
    return sum(1 for other in state.queue.standing_jobs() if other.id != job.id and _rank(facts, other) < mine)


def _rank(facts: Facts, job: Job) -> tuple[int, float, str, int, int]:
    tenant = facts.tenants[job.tenant]
    return (rank_waiting(job, facts.at_ms), fairshare.share(tenant), job.tenant, order_key(job), job.number)
