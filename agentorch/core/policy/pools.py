"""Problems of pools: work that waits too long, or soon will; workers that nothing needs."""

from __future__ import annotations

from collections.abc import Iterator

from agentorch.core.policy.options import OTHER_POOLS, Kind, Option, Problem
from agentorch.core.policy.words import dollars, numbers, wait
from agentorch.model import limits
from agentorch.model.jobs import TIER_RANK, Reason, Tier
from agentorch.model.observation import JobFacts, Observation, PoolFacts
from agentorch.model.proposals import Reroute, Reschedule, Scale


def pressed(observation: Observation) -> Iterator[Problem]:
    """Pools whose work waits too long, or does not fit and may soon wait too long. What waits though there should be
    room for it is left to the twin."""
    for pool in observation.pools:
        if not _is_ours(pool) or pool.queued == 0:
            continue
        late, short = _waits_too_long(pool), pool.need > pool.target
        if not short and not (late and _has_no_room(observation, pool)):
            continue
        options = tuple(_relief(observation, pool, late and short))
        if options:
            yield Problem(
                kind=Kind.waiting if late else Kind.ahead,
                options=options,
                nothing=f"do nothing: the oldest job has waited {pool.oldest_wait_s:.0f} s",
                pool=pool.name,
                target_wait_s=pool.target_wait_s,
            )


def idling(observation: Observation) -> Iterator[Problem]:
    """Pools that have more than is needed. How long it has not been needed is the guardrails' memory (G2)."""
    rules = observation.guardrails
    for pool in observation.pools:
        step = max(rules.scale_down_step, pool.target * rules.scale_down_share_percent // 100)
        workers = max(pool.min_workers, pool.need, pool.target - step)
        too_small = (pool.target - pool.need) * 100 < pool.target * rules.dead_band_percent
        taken = pool.target - workers
        if not _is_ours(pool) or pool.queued or taken <= 0 or pool.idle < taken or too_small:
            continue
        given_back = Option(
            action=Scale(pool=pool.name, workers=workers),
            text=f"shrink {pool.name} to {workers}",
            reason=f"{pool.need} of {pool.target} workers of {pool.name} are needed, nothing waits and "
            f"{pool.idle} idle.",
            evidence=(numbers(pool),),
            hourly_usd_micros=-taken * (pool.price_usd_micros_per_hour or 0),
        )
        yield Problem(
            kind=Kind.idling,
            options=(given_back,),
            nothing=f"keep {pool.target}: {pool.idle} workers would go on idling",
            pool=pool.name,
            target_wait_s=pool.target_wait_s,
        )


def _is_ours(pool: PoolFacts) -> bool:
    return not pool.paused and not pool.protected


def _waits_too_long(pool: PoolFacts) -> bool:
    """Over its target, or about to be: half of it is gone and work for half as many workers again is there."""
    soon = pool.oldest_wait_s > pool.target_wait_s / 2 and pool.need * 2 >= pool.target * 3
    return pool.wait_s_p95 > pool.target_wait_s or pool.oldest_wait_s > pool.target_wait_s or soon


def _has_no_room(observation: Observation, pool: PoolFacts) -> bool:
    """What runs leaves gaps that waiting work does not fit in, though there is enough of everything in sum."""
    return any(job.pool == pool.name and job.reason == Reason.no_capacity for job in observation.queued)


def _relief(observation: Observation, pool: PoolFacts, late: bool) -> Iterator[Option]:
    grown = list(_grown(observation, pool, late))
    yield from grown
    elsewhere = _rerouted(observation, pool, late)
    if elsewhere is not None:
        yield elsewhere
    yield from _overflow(observation, pool, late and elsewhere is None and not any(option.blind for option in grown))
    if not grown:
        yield from _preempted(observation, pool)


# -- growing


def step_up(observation: Observation, pool: PoolFacts) -> int:
    """The biggest step that G1 lets one action grow a pool by."""
    rules = observation.guardrails
    return max(rules.scale_up_step, pool.target * rules.scale_up_share_percent // 100)


def _least_step(observation: Observation, pool: PoolFacts) -> int:
    """The smallest step that G3 lets pass."""
    return max(1, -(-pool.target * observation.guardrails.dead_band_percent // 100))


def _grown(observation: Observation, pool: PoolFacts, late: bool) -> Iterator[Option]:
    """By what is needed, as far as one step goes; by the least; and, ahead of need, by the whole step."""
    if pool.provisioning_retry_s:
        return
    step, least = step_up(observation, pool), _least_step(observation, pool)
    room = pool.max_workers - pool.target
    needed = min(room, step, max(0, pool.need - pool.target))
    reason = f"{pool.queued} jobs wait in {pool.name}, {wait(pool)}; it needs {pool.need} workers, has {pool.target}."
    for added in dict.fromkeys((needed, least, min(room, step))):
        if least <= added <= min(room, step):
            yield _growth(pool, added, reason, (numbers(pool),), blind=late and added == needed)


def _growth(
    pool: PoolFacts, added: int, reason: str, evidence: tuple[str, ...], *, blind: bool, dearer: float = 0.0
) -> Option:
    price = pool.price_usd_micros_per_hour
    paid = f", {dollars(price * added)} an hour more" if price else ""
    return Option(
        action=Scale(pool=pool.name, workers=pool.target + added),
        text=f"scale {pool.name} to {pool.target + added}{paid}",
        reason=reason,
        evidence=evidence,
        blind=blind,
        adds=added,
        hourly_usd_micros=None if price is None else price * added,
        dearer=dearer,
    )


def _overflow(observation: Observation, pool: PoolFacts, blind: bool) -> Iterator[Option]:
    """Grow another pool that this one's queued jobs may run in, the cheapest first."""
    mine = [job for job in observation.queued if job.pool == pool.name]
    others = [other for other in observation.pools if other.name != pool.name and _may_help(other)]
    others.sort(key=lambda other: (other.price_usd_micros_per_hour is None, other.price_usd_micros_per_hour or 0))
    others = [other for other in others if any(other.name in job.pools for job in mine)]
    for other in others[:OTHER_POOLS]:
        movable = sum(1 for job in mine if other.name in job.pools)
        step, least = step_up(observation, other), _least_step(observation, other)
        room = other.max_workers - other.target
        needed = min(room, step, max(1, pool.need - pool.target))
        reason = (
            f"{pool.queued} jobs wait in {pool.name}, {wait(pool)}; it needs {pool.need} workers and {_bound(pool)}. "
            f"{movable} of those looked at may run in {other.name}."
        )
        for added in dict.fromkeys((needed, least)):
            if added <= room:
                first = blind and added == needed and other is others[0]
                facts = (numbers(pool), numbers(other))
                yield _growth(other, added, reason, facts, blind=first, dearer=_dearer(pool, other))


def _may_help(other: PoolFacts) -> bool:
    return _is_ours(other) and other.target < other.max_workers and not other.idle and not other.provisioning_retry_s


def _dearer(pool: PoolFacts, other: PoolFacts) -> float:
    here, there = pool.price_usd_micros_per_hour, other.price_usd_micros_per_hour
    return max(0.0, 1 - here / there) if there and here is not None else 0.0


def _bound(pool: PoolFacts) -> str:
    if pool.provisioning_retry_s:
        return f"gets none for {pool.provisioning_retry_s:.0f} s: {pool.provisioning_error}"
    return f"may have no more than {pool.max_workers}"


# -- moving work, and stopping it


def _rerouted(observation: Observation, pool: PoolFacts, late: bool) -> Option | None:
    """Queued jobs of a full pool to an idle one that they may run in."""
    by_name = {other.name: other for other in observation.pools}
    mine = [job for job in observation.queued if job.pool == pool.name]
    room = {name: other.idle for name, other in by_name.items() if name != pool.name and _is_ours(other) and other.idle}
    best = max(room, key=lambda name: (sum(1 for job in mine if name in job.pools), room[name]), default="")
    movable = [job for job in mine if best in job.pools]
    if not movable:
        return None
    blast = max(1, (pool.queued + pool.running) * observation.guardrails.blast_radius_percent // 100)
    count = min(len(movable), room[best], blast, limits.REROUTE_JOBS_MAX)
    return Option(
        action=Reroute(pool=best, from_pool=pool.name, at_most=count),
        text=f"reroute {count} jobs from {pool.name} to {best}",
        reason=f"{len(movable)} jobs that wait for {pool.name}, {wait(pool)}, may run in {best}: "
        f"{room[best]} idle workers.",
        evidence=(numbers(pool), numbers(by_name[best])),
        blind=late,
        dearer=_dearer(pool, by_name[best]),
    )


def _preempted(observation: Observation, pool: PoolFacts) -> Iterator[Option]:
    """Stop less urgent work of a pool that may not grow: only the twin can tell whether that saves more than it loses.

    Of what may be stopped (G8) the least urgent that ran the shortest: what it loses is its run time, if it saves none.
    """
    mine = [job for job in observation.queued if job.pool == pool.name and job.state == "queued"]
    urgent = min((_rank(job) for job in mine), default=0)
    least_s = observation.guardrails.preempt_min_run_ms / 1000
    stoppable = [
        job
        for job in observation.running
        if job.pool == pool.name and job.preemptible and job.run_s >= least_s and _rank(job) > urgent
    ]
    if stoppable:
        job = min(stoppable, key=lambda one: (-_rank(one), one.run_s, one.id))
        yield Option(
            action=Reschedule(job=job.id, change="preempt"),
            text=f"preempt {job.id} ({job.tier}, has run {job.run_s:.0f} s)",
            reason=f"{pool.queued} jobs wait in {pool.name}, {wait(pool)}, some more urgent than {job.id}, which is "
            f"{job.tier} and has run {job.run_s:.0f} s.",
            evidence=(numbers(pool),),
            blind=False,
        )


def _rank(job: JobFacts) -> int:
    return TIER_RANK[Tier(job.tier)]
