"""Submitting work, cancelling it, changing its place in time and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core import fit
from agentorch.core.facts import Facts
from agentorch.core.stopping import may_ever_stop
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import FINISHED, ON_WORKER, WAITING, Cause, Job, JobSpec, JobState


def find(facts: Facts, name: str, tenant: str = "") -> Job:
    """The job, or Refused("not_found"): a job of another tenant is as unknown as one that never was."""
    job = facts.jobs.get(name)
    if job is None or (tenant and job.tenant != tenant):
        raise Refused("not_found", f"there is no job {name!r}")
    return job


def submit(turn: Turn, command: cmd.SubmitJob) -> tuple[str, bool]:
    facts = turn.facts
    if command.idempotency_key:
        known = facts.idempotency.get(f"{command.tenant}\0{command.idempotency_key}")
        if known is not None and known.at_ms > turn.now_ms - limits.IDEMPOTENCY_KEPT_MS:
            if known.body_sha256 != command.body_sha256:
                raise Refused(
                    "idempotency_mismatch",
                    f"Idempotency-Key {command.idempotency_key!r} was used with another body, for {known.job}; "
                    "use a new key for a new job",
                    job=known.job,
                )
            return known.job, False
    tenant = facts.tenants.get(command.tenant)
    if tenant is None:
        raise Refused("invalid", f"there is no tenant {command.tenant!r}; known: {_names(facts.tenants)}")
    if command.judged_seq is not None and facts.world_seq > command.judged_seq:
        raise Refused(
            "precondition_failed",
            f"jobs or workers changed at sequence {facts.world_seq}, after {command.judged_seq}; plan again",
            seq=facts.world_seq,
        )
    if tenant.queued + tenant.running >= limits.LIVE_JOBS_PER_TENANT:
        raise Refused("quota", f"{command.tenant} has {tenant.queued + tenant.running} live jobs", retry_after_s=30)
    if len(turn.queue) + len(facts.running) >= limits.LIVE_JOBS_MAX:
        raise Refused("overloaded", "the queue is full", retry_after_s=30)
    _check_references(facts, command.tenant, command.spec)
    number = facts.next_job
    job = f"job-{number:06d}"
    turn.emit(
        ev.JobSubmitted(
            at_ms=turn.now_ms,
            job=job,
            number=number,
            tenant=command.tenant,
            spec=command.spec,
            by=command.by,
            idempotency_key=command.idempotency_key,
            body_sha256=command.body_sha256,
        )
    )
    return job, True


def _check_references(facts: Facts, tenant: str, spec: JobSpec) -> None:
    for pool in spec.constraints.pools:
        if pool not in facts.pools:
            raise Refused("invalid", f"pool: there is no pool {pool!r}; known: {_names(facts.pools)}")
    if spec.constraints.borrow:
        _check_borrow(spec)
    for name in spec.depends_on:
        other = facts.jobs.get(name)
        if other is None or other.tenant != tenant:
            raise Refused("invalid", f"depends_on: there is no job {name!r}")
        if other.state in FINISHED and other.state is not JobState.succeeded:
            raise Refused("invalid", f"depends_on: {name} has already {other.state}, so this job could never start")


def _check_borrow(spec: JobSpec) -> None:
    if not spec.constraints.pools:
        raise Refused("invalid", "borrow: name the job's own pools; without any it may run in every pool already")
    if not may_ever_stop(spec):
        raise Refused("invalid", "borrow: it is given back, so the job must be preemptible, and not realtime")


def _names(table: dict[str, Any]) -> str:
    return ", ".join(table) or "none"


def cancel(turn: Turn, command: cmd.CancelJob) -> JobState:
    job = find(turn.facts, command.job, command.tenant)
    if job.state in FINISHED:
        if job.state is JobState.cancelled:
            return job.state
        raise Refused("conflict", f"{job.id} has already {job.state}", state=str(job.state))
    if job.state in WAITING:
        end(turn, job, JobState.cancelled, Cause.cancelled, command.by)
    elif job.stop_cause is not Cause.cancelled:
        stop(turn, job.id, Cause.cancelled, command.by)
    return job.state


def end(turn: Turn, job: Job, state: JobState, cause: Cause, by: str = "") -> None:
    """End a job, and with it every job that waits for its success and now never can."""
    todo = [(job.id, state, cause, by)]
    while todo:
        name, state, cause, by = todo.pop()
        waiting = list(turn.facts.dependants.get(name, ()))
        turn.emit(ev.JobEnded(at_ms=turn.now_ms, job=name, state=state, cause=cause, by=by))
        if state is JobState.succeeded:
            continue
        for other in waiting:
            dependant = turn.facts.jobs.get(other)
            if dependant is not None and dependant.state in WAITING:
                todo.append((other, JobState.failed, Cause.dependency, name))


def stop(turn: Turn, job: str, cause: Cause, by: str) -> None:
    """Order the running attempt to stop; the job's grace applies. What becomes of it is decided at its end."""
    found = turn.facts.jobs[job]
    turn.emit(
        ev.JobStopping(
            at_ms=turn.now_ms,
            job=job,
            attempt=found.attempts_made,
            cause=cause,
            grace_ms=found.spec.grace_ms,
            by=by,
        )
    )


def change(
    turn: Turn,
    job: str,
    by: str,
    *,
    priority: int | None = None,
    not_before_ms: int | None = None,
    deadline_ms: int | None = None,
) -> None:
    """Change a live job's place in time."""
    turn.emit(
        ev.JobChanged(
            at_ms=turn.now_ms,
            job=job,
            by=by,
            priority=priority,
            deadline_ms=deadline_ms,
            not_before_ms=not_before_ms,
        )
    )


def hold(turn: Turn, job: str, by: str, reason: str) -> None:
    """Hold a queued job until it is released."""
    turn.emit(ev.JobHeld(at_ms=turn.now_ms, job=job, by=by, reason=reason))


def release(turn: Turn, job: str, by: str) -> None:
    turn.emit(ev.JobReleased(at_ms=turn.now_ms, job=job, by=by))


def reroute(turn: Turn, job: str, pool: str, by: str) -> None:
    """Send a waiting job to one pool; "" = to any that its constraints allow, again."""
    turn.emit(ev.JobRerouted(at_ms=turn.now_ms, job=job, pool=pool, by=by))


def patch(turn: Turn, command: cmd.PatchJob) -> None:
    """What the owner may change of its own live work. Everything is checked before anything happens."""
    job = find(turn.facts, command.job, command.tenant)
    if job.state in FINISHED:
        raise Refused("conflict", f"{job.id} has already {job.state}", state=str(job.state))
    _check_patch(turn, job, command)
    if command.priority is not None or command.deadline_ms is not None or command.not_before_ms is not None:
        change(
            turn,
            job.id,
            command.by,
            priority=command.priority,
            deadline_ms=command.deadline_ms,
            not_before_ms=command.not_before_ms,
        )
    if command.pool is not None and command.pool != job.route_pool:
        reroute(turn, job.id, command.pool, command.by)
        if job.state in ON_WORKER and job.stop_cause is None and job.attempts[-1].pool != command.pool:
            stop(turn, job.id, Cause.requeued, command.by)
    if command.hold is True and job.state is JobState.queued:
        hold(turn, job.id, command.by, command.reason)
    elif command.hold is False and job.state is JobState.held:
        release(turn, job.id, command.by)


def _check_patch(turn: Turn, job: Job, command: cmd.PatchJob) -> None:
    if command.priority is not None and not 0 <= command.priority <= 100:
        raise Refused("invalid", f"priority must be 0 to 100, not {command.priority}")
    if command.hold is True and job.state not in WAITING:
        raise Refused("conflict", f"{job.id} is {job.state}; only queued work can be held", state=str(job.state))
    if command.not_before_ms is not None and job.state not in WAITING:
        raise Refused("conflict", f"{job.id} is {job.state}; it has started", state=str(job.state))
    if command.pool:
        if command.pool not in turn.facts.pools:
            raise Refused("invalid", f"pool: there is no pool {command.pool!r}; known: {_names(turn.facts.pools)}")
        allowed = fit.allowed_pools(turn.facts, job)
        if command.pool not in allowed:
            why = fit.constraint_breach(turn.facts.pools[command.pool].spec, job.spec.constraints)
            raise Refused("guardrail", f"G9: {job.id} may not run in {command.pool}: {why}", rule="G9")


def progress(turn: Turn, command: cmd.ReportProgress) -> None:
    job = find(turn.facts, command.job, command.tenant)
    if job.state not in ON_WORKER:
        raise Refused("conflict", f"{job.id} is {job.state}; only running work reports progress", state=str(job.state))
    move = None
    if command.move_to is not None and job.stop_cause is None:
        move = cmd.PatchJob(job=job.id, by=command.by, pool=command.move_to)
        _check_patch(turn, job, move)
    turn.emit(
        ev.JobProgressed(
            at_ms=turn.now_ms,
            job=job.id,
            percent=command.percent,
            message=command.message,
            checkpointed=command.checkpointed,
        )
    )
    if move is not None:
        patch(turn, move)


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.SubmitJob: submit,
    cmd.CancelJob: cancel,
    cmd.PatchJob: patch,
    cmd.ReportProgress: progress,
}
