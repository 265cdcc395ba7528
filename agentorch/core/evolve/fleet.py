"""What happened to pools, workers, tenants, keys and the runtime itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.evolve import health
from agentorch.core.facts import Facts
from agentorch.core.nodes import group_of
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model.fleet import Pool, Tenant, Worker, WorkerState


def runtime_started(state: State, event: ev.RuntimeStarted) -> None:
    state.facts.epoch = event.epoch
    state.facts.closed = False
    state.facts.started_ms = event.at_ms


def runtime_closed(state: State, event: ev.RuntimeClosed) -> None:
    state.facts.closed = True


def pool_configured(state: State, event: ev.PoolConfigured) -> None:
    facts = state.facts
    pool = facts.pools.get(event.spec.name)
    if pool is None:
        facts.pools[event.spec.name] = Pool(spec=event.spec, target=event.spec.workers)
    else:
        if pool.spec.reservations != event.spec.reservations:
            pool.room_lost_ms = event.at_ms
        pool.spec = event.spec
    facts.pool_devices[event.spec.name] = list(event.devices)
    state.queue.epoch += 1
    facts.world_seq = facts.seq + 1


def pool_removed(state: State, event: ev.PoolRemoved) -> None:
    state.facts.pools.pop(event.pool)
    state.queue.epoch += 1
    state.facts.pool_devices.pop(event.pool, None)
    state.facts.world_seq = state.facts.seq + 1


def pool_paused(state: State, event: ev.PoolPaused) -> None:
    pool = state.facts.pools[event.pool]
    pool.paused = event.paused
    pool.paused_reason = event.reason if event.paused else ""
    state.queue.epoch += 1
    if not event.paused:
        pool.failed_starts = 0
        group = group_of(state.facts, pool.spec)
        if group is not None:  # whoever lets it go on says that it is worth trying again
            group.failures, group.error, group.retry_ms = 0, "", 0
    state.facts.world_seq = state.facts.seq + 1


def pool_scaled(state: State, event: ev.PoolScaled) -> None:
    pool = state.facts.pools[event.pool]
    if event.workers > pool.target:
        pool.grew_ms = event.at_ms
    pool.target = event.workers
    pool.scaled_ms = event.at_ms


def worker_added(state: State, event: ev.WorkerAdded) -> None:
    facts = state.facts
    pool = facts.pools[event.pool]
    worker = facts.workers[event.worker] = Worker(
        id=event.worker,
        number=pool.next_worker,
        pool=event.pool,
        node=event.node,
        shape=event.shape,
        devices=event.devices,
        added_ms=event.at_ms,
        free_cpu_milli=event.shape.cpu_milli,
        free_memory_bytes=event.shape.memory_bytes,
        free_devices=[name for name in event.devices if name not in facts.device_faults],
    )
    state.rooms.update(worker)
    state.homes.update(dict.fromkeys(event.devices, event.worker))
    pool.workers.append(event.worker)
    pool.next_worker += 1
    node = facts.nodes.get(event.node)
    if node is not None:
        node.workers.append(event.worker)
        node.hosted = True
    facts.world_seq = facts.seq + 1


def worker_retired(state: State, event: ev.WorkerRetired) -> None:
    worker = state.facts.workers[event.worker]
    state.facts.pools[worker.pool].retiring += worker.state is not WorkerState.retiring
    worker.state = WorkerState.retiring
    worker.retired_ms, worker.retire_reason = event.at_ms, event.reason
    state.rooms.update(worker)
    clear_reservation(state.facts, worker)


def worker_removed(state: State, event: ev.WorkerRemoved) -> None:
    worker = state.facts.workers.pop(event.worker)
    state.rooms.drop(worker)
    clear_reservation(state.facts, worker)
    for device in worker.devices:
        if state.homes.get(device) == worker.id:
            del state.homes[device]
    pool = state.facts.pools.get(worker.pool)
    if pool is not None:
        pool.workers.remove(worker.id)
        pool.room_lost_ms = event.at_ms
        pool.retiring -= worker.state is WorkerState.retiring
    node = state.facts.nodes.get(worker.node)
    if node is not None and worker.id in node.workers:
        node.workers.remove(worker.id)
    state.facts.world_seq = state.facts.seq + 1


def worker_cordoned(state: State, event: ev.WorkerCordoned) -> None:
    worker = state.facts.workers[event.worker]
    worker.cordoned = event.cordoned
    worker.cordon_reason = event.reason if event.cordoned else ""
    health.cordoned(state, worker, event)
    state.rooms.update(worker)
    if event.cordoned:
        clear_reservation(state.facts, worker)
    state.facts.world_seq = state.facts.seq + 1


def worker_reserved(state: State, event: ev.WorkerReserved) -> None:
    worker = state.facts.workers[event.worker]
    clear_reservation(state.facts, worker)
    if event.job:
        worker.reserved_for, worker.reserved_ranks = event.job, event.ranks
        state.facts.reserved.setdefault(event.job, []).append(worker.id)


def clear_reservation(facts: Facts, worker: Worker) -> None:
    """The worker keeps room for nobody any more."""
    if worker.reserved_for:
        kept = facts.reserved[worker.reserved_for]
        kept.remove(worker.id)
        if not kept:
            del facts.reserved[worker.reserved_for]
        worker.reserved_for, worker.reserved_ranks = "", 0


def tenant_configured(state: State, event: ev.TenantConfigured) -> None:
    facts = state.facts
    tenant = facts.tenants.get(event.spec.name)
    if tenant is None:
        # A newcomer starts level with whoever used least, so that a fresh name is no way to the front for long.
        floor = min((other.usage / other.spec.weight for other in facts.tenants.values()), default=0.0)
        facts.tenants[event.spec.name] = Tenant(spec=event.spec, usage=floor * event.spec.weight)
    else:
        tenant.spec = event.spec
    facts.world_seq = facts.seq + 1


def key_added(state: State, event: ev.KeyAdded) -> None:
    state.facts.keys[event.key.id] = event.key


def key_revoked(state: State, event: ev.KeyRevoked) -> None:
    state.facts.keys.pop(event.key)


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.RuntimeStarted: runtime_started,
    ev.RuntimeClosed: runtime_closed,
    ev.PoolConfigured: pool_configured,
    ev.PoolRemoved: pool_removed,
    ev.PoolPaused: pool_paused,
    ev.PoolScaled: pool_scaled,
    ev.WorkerAdded: worker_added,
    ev.WorkerRetired: worker_retired,
    ev.WorkerRemoved: worker_removed,
    ev.WorkerCordoned: worker_cordoned,
    ev.WorkerReserved: worker_reserved,
    ev.TenantConfigured: tenant_configured,
    ev.KeyAdded: key_added,
    ev.KeyRevoked: key_revoked,
}
