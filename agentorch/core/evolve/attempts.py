"""What happened to attempts: room, devices and money are taken at the start and given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core import fairshare
from agentorch.core.evolve import health
from agentorch.core.facts import Facts
from agentorch.core.forecast import learning
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import NodeState, Pool, Worker
from agentorch.model.jobs import Attempt, Cause, Job, JobState, Place, Rank, Resources

#: Ends that say nothing good of the worker; any other shows that it can bring work to its end.
NOT_ITS_OWN_END = frozenset({Cause.lost, Cause.node_lost, Cause.no_capacity, Cause.interruption, Cause.exec_failed})
#: Queue waits that a pool remembers, for percentiles.
WAITS_KEPT = limits.POOL_WAITS_KEPT


def started(state: State, event: ev.JobStarted) -> None:
    facts = state.facts
    job = facts.jobs[event.job]
    pool = facts.pools[event.pool]
    tenant = facts.tenants[job.tenant]
    worker = facts.workers[event.worker]
    state.queue.remove(job)
    attempt = Attempt(
        number=event.attempt,
        worker=event.worker,
        node=event.node or worker.node,
        pool=event.pool,
        devices=event.devices,
        ordered_ms=event.at_ms,
        reserved_usd_micros=event.reserved_usd_micros,
        price_usd_micros_per_hour=event.price_usd_micros_per_hour,
        paid_until_ms=event.paid_until_ms,
        resources=event.resources,
        borrowed=event.borrowed,
    )
    job.attempts = (*job.attempts[-limits.ATTEMPTS_KEPT + 1 :], attempt) if job.attempts else (attempt,)
    job.attempts_made = event.attempt
    job.state = JobState.starting
    job.was_preempted = job.backoff = False
    job.started_ms = job.started_ms or event.at_ms
    if event.ranks:
        _start_gang(state, job, event)
    else:
        _take(state, worker, job, attempt.resources, event.devices)
    if job.id in facts.reserved:
        unreserve(facts, job.id)
    tenant.queued -= 1
    tenant.running += 1
    tenant.reserved_usd_micros += event.reserved_usd_micros
    fairshare.charge(facts, tenant, event.charge, event.at_ms)
    facts.running[job.id] = None
    if event.borrowed:
        facts.borrowed[job.id] = None
    if event.price_usd_micros_per_hour:
        state.paying[job.id] = None
    state.yielding.started(job)
    facts.world_seq = facts.seq + 1
    health.power_taken(facts, event)
    _remember_wait(pool, event.at_ms, event.at_ms - job.queued_ms)


def _start_gang(state: State, job: Job, event: ev.JobStarted) -> None:
    facts = state.facts
    attempt = job.attempts[-1]
    places = (Place(event.worker, event.node, event.devices), *event.ranks)
    attempt.ranks = tuple(
        Rank(worker=place.worker, node=place.node or facts.workers[place.worker].node, devices=place.devices)
        for place in places
    )
    for place in places:
        _take(state, facts.workers[place.worker], job, attempt.resources, place.devices)
    attempt.port = facts.last_port = event.port
    facts.ports.setdefault(attempt.node, []).append(event.port)


def _take(state: State, worker: Worker, job: Job, held: Resources, devices: tuple[str, ...]) -> None:
    worker.free_cpu_milli -= held.cpu_milli
    worker.free_memory_bytes -= held.memory_bytes
    if devices:
        worker.free_devices = [device for device in worker.free_devices if device not in devices]
    if not worker.running or worker.running[-1] != job.id:  # the ranks of a worker follow each other
        worker.running.append(job.id)
    state.rooms.update(worker)


def _give_back(state: State, worker: Worker, job: Job, devices: tuple[str, ...]) -> None:
    held = job.attempts[-1].resources
    worker.free_cpu_milli += held.cpu_milli
    worker.free_memory_bytes += held.memory_bytes
    if devices:
        free, faults = {*worker.free_devices, *devices}, state.facts.device_faults
        worker.free_devices = [name for name in worker.devices if name in free and name not in faults]
    if job.id in worker.running:
        worker.running.remove(job.id)
    state.rooms.update(worker)


def unreserve(facts: Facts, job: str) -> None:
    """Nothing is kept for the job any more."""
    for name in facts.reserved.pop(job, ()):
        worker = facts.workers.get(name)
        if worker is not None:
            worker.reserved_for, worker.reserved_ranks = "", 0


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
    facts.pools[attempt.pool].failed_starts = 0


def rank_running(state: State, event: ev.RankRunning) -> None:
    rank = state.facts.jobs[event.job].attempts[-1].ranks[event.rank]
    rank.started_ms = rank.started_ms or event.at_ms


def rank_ended(state: State, event: ev.RankEnded) -> None:
    attempt = state.facts.jobs[event.job].attempts[-1]
    rank = attempt.ranks[event.rank]
    rank.started_ms = rank.started_ms or event.started_ms
    rank.ended_ms = event.ended_ms
    rank.exit_code, rank.signal, rank.cause = event.exit_code, event.signal, event.cause
    rank.message, rank.usage = event.message, event.usage
    attempt.result = event.result if event.rank == 0 else attempt.result
    if event.cause is not Cause.completed and attempt.failed_rank is None:
        attempt.failed_rank = event.rank


def stopping(state: State, event: ev.JobStopping) -> None:
    job = state.facts.jobs[event.job]
    job.state = JobState.stopping
    state.facts.preempted += event.cause in (Cause.preempted, Cause.requeued)
    job.stop_cause, job.stop_by, job.gave_way_to = event.cause, event.by, event.room_for
    state.yielding.leaves(job.id)
    if event.room_for:
        pool = state.facts.pools[job.attempts[-1].pool]
        since_ms = event.at_ms - limits.BLAST_WINDOW_MS
        pool.gave_way_ms = (*(at_ms for at_ms in pool.gave_way_ms if at_ms > since_ms), event.at_ms)


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
    attempt.cost_usd_micros, attempt.result = event.cost_usd_micros, event.result
    job.cost_usd_micros += event.cost_usd_micros
    if attempt.started_ms is not None:
        job.ran_before_ms += max(0, event.ended_ms - attempt.started_ms)
    if not state.imagined:
        learning.learn(facts, job, attempt, event.at_ms)
    tenant.reserved_usd_micros -= attempt.reserved_usd_micros
    attempt.reserved_usd_micros = 0
    tenant.spent_usd_micros += event.cost_usd_micros
    facts.spent_usd_micros += event.cost_usd_micros
    tenant.running -= 1
    fairshare.charge(facts, tenant, event.charge, event.at_ms)
    del facts.running[job.id]
    facts.borrowed.pop(job.id, None)
    state.paying.pop(job.id, None)
    state.yielding.ended(job)
    if event.cause is Cause.lost or (event.cause is Cause.interruption and job.stop_cause is None):
        job.workers_lost += 1
    facts.world_seq = facts.seq + 1
    worker = _end_gang(state, job, attempt) if attempt.ranks else facts.workers.get(attempt.worker)
    if worker is not None and not attempt.ranks:
        _give_back(state, worker, job, attempt.devices)
    if worker is not None and event.cause in (Cause.lost, Cause.no_capacity):
        if worker.node_state is NodeState.up:  # else its node is why, and no news of the worker or of its pool
            incident = health.failed(facts, worker, event.at_ms)
            facts.pools[worker.pool].failed_starts += incident and never_ran
    elif not never_ran and event.cause not in NOT_ITS_OWN_END:
        for member in attempt.members:
            if member.worker in facts.workers:
                facts.workers[member.worker].failures = 0


def _end_gang(state: State, job: Job, attempt: Attempt) -> Worker | None:
    """Give back what all ranks held; returns the worker of the one that failed first."""
    facts = state.facts
    taken = facts.ports[attempt.node]
    taken.remove(attempt.port)
    if not taken:
        del facts.ports[attempt.node]
    for rank in attempt.ranks:
        worker = facts.workers.get(rank.worker)
        if worker is not None:
            _give_back(state, worker, job, rank.devices)
    return facts.workers.get(attempt.ranks[attempt.failed_rank or 0].worker)


def extended(state: State, event: ev.ReservationExtended) -> None:
    job = state.facts.jobs[event.job]
    attempt = job.attempts[-1]
    attempt.reserved_usd_micros += event.add_usd_micros
    attempt.paid_until_ms = event.paid_until_ms
    state.facts.tenants[job.tenant].reserved_usd_micros += event.add_usd_micros


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.JobStarted: started,
    ev.AttemptRunning: running,
    ev.RankRunning: rank_running,
    ev.RankEnded: rank_ended,
    ev.JobStopping: stopping,
    ev.AttemptEnded: ended,
    ev.ReservationExtended: extended,
}
