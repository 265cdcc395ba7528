"""What happened to attempts: room, devices and money are taken at the start and given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core import fairshare
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import Pool
from agentorch.model.jobs import Attempt, Cause, JobState

#: Queue waits that a pool remembers, for percentiles.
WAITS_KEPT = 512


def started(state: State, event: ev.JobStarted) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    worker = facts.workers[event.worker]
    pool = facts.pools[event.pool]
    tenant = facts.tenants[job.tenant]
    state.queue.remove(job)
    job.attempts = (
        *job.attempts[-limits.ATTEMPTS_KEPT + 1 :],
        Attempt(
            number=event.attempt,
            worker=event.worker,
            pool=event.pool,
            devices=event.devices,
            ordered_ms=event.at_ms,
            reserved_usd_micros=event.reserved_usd_micros,
            price_usd_micros_per_hour=event.price_usd_micros_per_hour,
            paid_until_ms=event.paid_until_ms,
            resources=event.resources,
        ),
    )
    job.attempts_made = event.attempt
    job.state = JobState.starting
    job.was_preempted = job.backoff = False
    job.started_ms = job.started_ms or event.at_ms
    worker.free_cpu_milli -= event.resources.cpu_milli
    worker.free_memory_bytes -= event.resources.memory_bytes
    if event.devices:
        worker.free_devices = [device for device in worker.free_devices if device not in event.devices]
    worker.running.append(job.id)
    if job.id in facts.reserved:
        kept = facts.workers.get(facts.reserved.pop(job.id))
        if kept is not None:
            kept.reserved_for = ""
    tenant.queued -= 1
    tenant.running += 1
    tenant.reserved_usd_micros += event.reserved_usd_micros
    fairshare.charge(facts, tenant, event.charge, event.at_ms)
    facts.running[job.id] = None
    facts.world_seq = facts.seq + 1
    _remember_wait(pool, event.at_ms, event.at_ms - job.queued_ms)


def _remember_wait(pool: Pool, at_ms: int, wait_ms: int) -> None:
    pool.waits.append((at_ms, wait_ms))
    if len(pool.waits) > 2 * WAITS_KEPT:
        del pool.waits[:-WAITS_KEPT]


def running(state: State, event: ev.AttemptRunning) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    attempt = job.attempts[-1]
    if attempt.started_ms is None:
        attempt.started_ms = event.at_ms
    if job.state is JobState.starting:
        job.state = JobState.running
    facts.workers[attempt.worker].failures = 0
    facts.pools[attempt.pool].failed_starts = 0


def stopping(state: State, event: ev.JobStopping) -> None:
    job = state.facts.jobs[event.job]
    job.state = JobState.stopping
    job.stop_cause, job.stop_by = event.cause, event.by


def ended(state: State, event: ev.AttemptEnded) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    attempt = job.attempts[-1]
    tenant = facts.tenants[job.tenant]
    never_ran = attempt.started_ms is None and event.started_ms is None
    attempt.started_ms = attempt.started_ms or event.started_ms
    attempt.ended_ms = event.ended_ms
    attempt.exit_code, attempt.signal = event.exit_code, event.signal
    attempt.cause, attempt.message, attempt.usage = event.cause, event.message, event.usage
    attempt.cost_usd_micros = event.cost_usd_micros
    job.cost_usd_micros += event.cost_usd_micros
    tenant.reserved_usd_micros -= attempt.reserved_usd_micros
    attempt.reserved_usd_micros = 0
    tenant.spent_usd_micros += event.cost_usd_micros
    facts.spent_usd_micros += event.cost_usd_micros
    tenant.running -= 1
    fairshare.charge(facts, tenant, event.charge, event.at_ms)
    del facts.running[job.id]
    if event.cause in (Cause.lost, Cause.interruption):
        job.workers_lost += 1
    facts.world_seq = facts.seq + 1
    worker = facts.workers.get(attempt.worker)
    if worker is None:
        return
    worker.free_cpu_milli += attempt.resources.cpu_milli
    worker.free_memory_bytes += attempt.resources.memory_bytes
    if attempt.devices:
        free = {*worker.free_devices, *attempt.devices}
        worker.free_devices = [name for name in worker.devices if name in free]
    worker.running.remove(job.id)
    if event.cause in (Cause.lost, Cause.no_capacity):
        worker.failures += 1
        pool = facts.pools.get(worker.pool)
        if pool is not None and never_ran:
            pool.failed_starts += 1


def extended(state: State, event: ev.ReservationExtended) -> None:
    job = state.facts.jobs[event.job]
    attempt = job.attempts[-1]
    attempt.reserved_usd_micros += event.add_usd_micros
    attempt.paid_until_ms = event.paid_until_ms
    state.facts.tenants[job.tenant].reserved_usd_micros += event.add_usd_micros


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.JobStarted: started,
    ev.AttemptRunning: running,
    ev.JobStopping: stopping,
    ev.AttemptEnded: ended,
    ev.ReservationExtended: extended,
}
