"""What may be done with people's work: G8 tiers, G9 residency, G10 reservations, G12 poison jobs and broken pools."""

from __future__ import annotations

import msgspec

from agentorch.core import fit
from agentorch.core.guardrails.case import Case, allow, deny, seconds
from agentorch.core.guardrails.selection import may_go_to
from agentorch.core.nodes import failed, group_of
from agentorch.core.reservations import Amount, Kept, describe
from agentorch.core.stopping import lost_work_ms
from agentorch.model import limits
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import TIER_RANK, Attempt, Job, JobState, Tier
from agentorch.model.proposals import Cordon, Note, Reroute, Reschedule


def tiers(case: Case) -> Note | None:
    """G8: only preemptible work that is not realtime, after its minimum run time, and where least work is lost."""
    job = case.job
    if job is None or not case.stops_work:
        return None
    attempt = job.attempt
    if job.state is not JobState.running or attempt is None or attempt.started_ms is None:
        return deny("G8", f"{job.id} is {job.state}; only running work can be stopped")
    if job.spec.tier is Tier.realtime:
        return deny("G8", f"{job.id} is realtime; realtime work is never preempted")
    if not job.spec.preemptible:
        return deny("G8", f"{job.id} is not preemptible")
    ran_ms, least_ms = case.now_ms - attempt.started_ms, case.settings.preempt_min_run_ms
    if ran_ms < least_ms:
        return deny("G8", f"{job.id} has run {seconds(ran_ms)}; at least {seconds(least_ms)} before it may be stopped")
    lost_ms = lost_work_ms(job, case.now_ms)
    better = _loses_less(case, job, lost_ms)
    if better is not None:
        less = seconds(lost_work_ms(better, case.now_ms))
        return deny("G8", f"{better.id} frees as much and loses {less} of work; {job.id} loses {seconds(lost_ms)}")
    return allow("G8", f"{seconds(lost_ms)} of work is lost, the least of all that frees as much")


def _loses_less(case: Case, job: Job, lost_ms: int) -> Job | None:
    """Another job of the same pool, no more urgent and at least as big, whose stop would lose less."""
    attempt = job.attempts[-1]
    for name in case.facts.running:
        other = case.facts.jobs[name]
        its = other.attempts[-1]
        if other.id == job.id or its.pool != attempt.pool or other.state is not JobState.running:
            continue
        if not other.spec.preemptible or other.spec.tier is Tier.realtime or its.started_ms is None:
            continue
        if case.now_ms - its.started_ms < case.settings.preempt_min_run_ms:
            continue
        if TIER_RANK[other.spec.tier] < TIER_RANK[job.spec.tier] or not _frees_as_much(its, attempt):
            continue
        if lost_work_ms(other, case.now_ms) < lost_ms:
            return other
    return None


def _frees_as_much(one: Attempt, other: Attempt) -> bool:
    return len(one.members) >= len(other.members) and fit.could_fit(one.resources, other.resources)


def residency(case: Case) -> Note | None:
    """G9: work never leaves its allowed regions and pools, whoever asks."""
    action = case.action
    if not isinstance(action, Reroute) or case.pool is None:
        return None
    if action.job and case.job is not None and not may_go_to(case.facts, case.job, action.pool):
        breach = fit.constraint_breach(case.pool.spec, case.job.spec.constraints)
        return deny("G9", f"{action.job} may not run in {action.pool}: {breach or 'it needs a bigger worker'}")
    if not case.moved:
        return deny("G9", f"no waiting job that is meant may run in {action.pool}")
    return allow("G9", f"{len(case.moved)} jobs are allowed in {action.pool}")


def reservations(case: Case) -> Note | None:
    """G10: room that is kept for a job, or reserved for a tenant or tier, is not taken away from it."""
    pool = case.pool
    if isinstance(case.action, Cordon) and case.worker is not None and pool is not None:
        return _cordoned(case, pool, case.worker)
    if not case.shrinks_by or pool is None:
        return None
    workers = case.workers_of(pool)
    kept = [worker for worker in workers if worker.reserved_for]
    free = sum(1 for worker in workers if not worker.reserved_for and (worker.cordoned or not worker.running))
    if kept and free < case.shrinks_by:
        return deny("G10", f"{kept[0].id} is kept for {kept[0].reserved_for}, and only {free} other workers are empty")
    return _reserved(case, pool) if pool.spec.reservations else None


def _cordoned(case: Case, pool: Pool, worker: Worker) -> Note | None:
    """A worker that takes no work any more, or soon none, as others of this cycle, holds nothing that is reserved."""
    if worker.reserved_for:
        return deny("G10", f"{worker.id} is kept for {worker.reserved_for}")
    if not pool.spec.reservations or not fit.takes_work(worker):
        return None
    before = {one.worker for one in case.earlier if isinstance(one, Cordon)}
    now, then = _lacking(case, pool, before), _lacking(case, pool, {*before, worker.id})
    if all(later <= max(0, sooner) for sooner, later in zip(now, then, strict=True)):
        return None
    reserved = ", ".join(describe(one) for one in pool.spec.reservations)
    return deny("G10", f"{pool.spec.name} reserves {reserved}; without {worker.id} too little of it would be left")


def _lacking(case: Case, pool: Pool, without: set[str]) -> tuple[int, int, int]:
    """Workers, GPUs and cores that reservations leave unused and are not there; below zero what is to spare."""
    rest = [name for name in pool.workers if name not in without]
    kept = Kept(case.facts, msgspec.structs.replace(pool, workers=rest))
    short = kept.short()
    lack = short.gpus - kept.free.gpus, short.cpu_milli - kept.free.cpu_milli
    return kept.short_workers() - kept.empty, *lack


def _reserved(case: Case, pool: Pool) -> Note | None:
    """Shrinking takes cordoned workers first, then empty ones: as many must stay as reservations leave unused."""
    kept = Kept(case.facts, pool)
    gone = max(0, case.shrinks_by - sum(worker.cordoned for worker in case.workers_of(pool)))
    shape = pool.spec.shape
    left = kept.short().plus(Amount(shape.gpus * gone, shape.cpu_milli * gone))
    if kept.empty - gone >= kept.short_workers() and kept.free.covers(left):
        return None
    reserved = ", ".join(describe(one) for one in pool.spec.reservations)
    return deny("G10", f"{pool.spec.name} reserves {reserved}; {gone} workers fewer would leave too little of it")


def poison(case: Case) -> Note | None:
    """G12: retries are finite; a pool that is paused for failing gets neither workers nor work, and one whose nodes
    don't come gets no more workers for a while."""
    pool = case.pool
    if pool is not None and pool.paused and (case.grows_by or isinstance(case.action, Reroute)):
        return deny("G12", f"{pool.spec.name} is paused: {pool.paused_reason or 'a person paused it'}")
    if pool is not None and case.grows_by:
        group = group_of(case.facts, pool.spec)
        if group is not None and case.now_ms < group.retry_ms:
            wait = seconds(group.retry_ms - case.now_ms)
            return deny(
                "G12",
                f"nodes of type {group.type} {failed(group.failures)}: {group.error}; tried again in {wait}",
            )
    job = case.job
    if job is None:
        return None
    if job.workers_lost >= case.settings.poison_workers:
        return deny("G12", f"{job.id} took down {job.workers_lost} workers")
    if case.stops_work and job.attempts_made >= limits.RETRY_ATTEMPTS_MAX:
        return deny("G12", f"{job.id} was tried {job.attempts_made} times; retries are finite")
    action = case.action
    start_ms = action.start_ms if isinstance(action, Reschedule) else None
    if start_ms is not None and job.backoff and start_ms < job.not_before_ms:
        return deny("G12", f"{job.id} backs off for {seconds(job.not_before_ms - case.now_ms)} more")
    return None
