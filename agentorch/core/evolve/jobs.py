"""What happened to jobs while they wait, and at their end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from agentorch.core.evolve.attempts import unreserve
from agentorch.core.facts import Facts, Idempotent
from agentorch.core.forecast import arrivals
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Cause, Job, JobState

#: Finished jobs that are forgotten together, once that many too many are kept.
FORGET_AT_ONCE = limits.FINISHED_JOBS_KEPT // 10


def submitted(state: State, event: ev.JobSubmitted) -> None:
    facts = state.facts
    spec = event.spec
    job = Job(
        id=event.job,
        number=event.number,
        tenant=event.tenant,
        spec=spec,
        submitted_ms=event.at_ms,
        queued_ms=event.at_ms,
        priority=spec.priority,
        deadline_ms=spec.deadline_ms,
        not_before_ms=spec.not_before_ms,
        resources=spec.resources,
    )
    for name in dict.fromkeys(spec.depends_on) if spec.depends_on else ():
        other = facts.jobs.get(name)
        if other is not None and other.state is not JobState.succeeded:
            facts.dependants.setdefault(name, []).append(job.id)
            job.waiting_on += 1
    facts.jobs[job.id] = job
    facts.next_job = event.number + 1
    if event.at_ms >= facts.arrivals_ms + limits.ARRIVALS_EVERY_MS and not state.imagined:
        arrivals.count(facts, event.at_ms)
    if spec.deadline_ms is not None:
        facts.dated[job.id] = None
    if spec.max_queue_ms is not None:
        facts.impatient[job.id] = None
    facts.tenants[event.tenant].queued += 1
    facts.world_seq = facts.seq + 1
    if event.idempotency_key:
        _remember(facts, event)
    state.queue.add(job)


def _remember(facts: Facts, event: ev.JobSubmitted) -> None:
    known = facts.idempotency
    known[f"{event.tenant}\0{event.idempotency_key}"] = Idempotent(event.job, event.body_sha256, event.at_ms)
    oldest_ms = event.at_ms - limits.IDEMPOTENCY_KEPT_MS
    excess = len(known) - limits.IDEMPOTENCY_KEYS_MAX
    stale: list[str] = []
    for name, entry in known.items():  # in order of arrival, so this stops at the first that stays
        if entry.at_ms >= oldest_ms and len(stale) >= excess:
            break
        stale.append(name)
    for name in stale:
        del known[name]


def held(state: State, event: ev.JobHeld) -> None:
    job = state.facts.jobs[event.job]
    if job.state is JobState.queued:
        state.queue.remove(job)
    job.state = JobState.held
    job.held_by, job.hold_reason = event.by, event.reason
    state.facts.held[job.id] = None
    unreserve(state.facts, job.id)


def released(state: State, event: ev.JobReleased) -> None:
    job = state.facts.jobs[event.job]
    job.state = JobState.queued
    job.held_by = job.hold_reason = ""
    state.facts.held.pop(job.id, None)
    state.queue.push(job)


def changed(state: State, event: ev.JobChanged) -> None:
    job = state.facts.jobs[event.job]
    if event.priority is not None:
        job.priority = event.priority
    if event.deadline_ms is not None:
        job.deadline_ms = event.deadline_ms
        state.facts.dated[job.id] = None
    if event.not_before_ms is not None:
        job.not_before_ms, job.backoff = event.not_before_ms, False
    if job.state is JobState.queued:
        state.queue.push(job)
    elif job.state in (JobState.starting, JobState.running):
        state.yielding.add(job)


def rerouted(state: State, event: ev.JobRerouted) -> None:
    job = state.facts.jobs[event.job]
    job.route_pool = event.pool
    unreserve(state.facts, job.id)
    if job.state is JobState.queued:
        state.queue.push(job)


def requeued(state: State, event: ev.JobRequeued) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    job.state = JobState.queued
    job.queued_ms = event.at_ms
    job.stop_cause, job.stop_by = None, ""
    job.not_before_ms = event.not_before_ms
    job.backoff = event.not_before_ms > event.at_ms
    job.was_preempted = event.cause is Cause.preempted
    job.progress_message = ""
    if event.counts:
        job.retries_used += 1
    if event.resources is not None:
        job.resources = event.resources
    facts.tenants[job.tenant].queued += 1
    state.queue.push(job)


def ended(state: State, event: ev.JobEnded) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    if job.state in (JobState.queued, JobState.held):
        state.queue.remove(job)
        facts.held.pop(job.id, None)
        facts.tenants[job.tenant].queued -= 1
    job.state = event.state
    job.cause = event.cause
    job.ended_ms = event.at_ms
    job.stop_by = event.by or job.stop_by
    facts.impatient.pop(job.id, None)
    if job.deadline_ms is not None:
        facts.dated.pop(job.id, None)
        facts.late += job.deadline_ms <= event.at_ms
    facts.tenants[job.tenant].finished += 1
    state_name = str(event.state)
    facts.ended_by_state[state_name] = facts.ended_by_state.get(state_name, 0) + 1
    facts.world_seq = facts.seq + 1
    unreserve(facts, job.id)
    for name in facts.dependants.pop(job.id, ()):
        other = facts.jobs.get(name)
        if other is not None and event.state is JobState.succeeded:
            other.waiting_on -= 1
            if other.state is JobState.queued:
                state.queue.push(other)
    facts.finished[job.id] = None
    if len(facts.finished) >= limits.FINISHED_JOBS_KEPT + FORGET_AT_ONCE:
        _forget(facts)


def _forget(facts: Facts) -> None:
    """Drop the oldest finished jobs, many at once: a dict finds its first key only past all that were deleted."""
    for name in islice(facts.finished, FORGET_AT_ONCE):
        del facts.jobs[name]
    facts.finished = dict.fromkeys(islice(facts.finished, FORGET_AT_ONCE, None))


def progressed(state: State, event: ev.JobProgressed) -> None:
    job = state.facts.jobs[event.job]
    if event.percent is not None:
        job.progress_percent = event.percent
    if event.message:
        job.progress_message = event.message
    if event.checkpointed:
        job.checkpoint_ms = event.at_ms


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.JobSubmitted: submitted,
    ev.JobHeld: held,
    ev.JobReleased: released,
    ev.JobChanged: changed,
    ev.JobRerouted: rerouted,
    ev.JobRequeued: requeued,
    ev.JobEnded: ended,
    ev.JobProgressed: progressed,
}
