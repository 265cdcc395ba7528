"""Pools, workers, tenants and keys; and the runtime's own start and end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from agentorch.core import reservations
from agentorch.core.decide import nodes
from agentorch.core.decide.nodes import retire
from agentorch.core.decide.provisioning import provision
from agentorch.core.facts import RULES_VERSION, Facts
from agentorch.core.nodes import asks_for_nodes, leavers, may_use
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.fleet import Pool, PoolSpec, Worker, WorkerState


def start_runtime(turn: Turn, command: cmd.StartRuntime) -> int:
    """A new incarnation; returns its epoch."""
    epoch = turn.facts.epoch + 1
    turn.emit(ev.RuntimeStarted(at_ms=turn.now_ms, epoch=epoch, version=command.version, rules_version=RULES_VERSION))
    return epoch


def close_runtime(turn: Turn, command: cmd.CloseRuntime) -> None:
    turn.emit(ev.RuntimeClosed(at_ms=turn.now_ms))


def find_pool(facts: Facts, name: str) -> Pool:
    pool = facts.pools.get(name)
    if pool is None:
        raise Refused("not_found", f"there is no pool {name!r}; known: {', '.join(facts.pools) or 'none'}")
    return pool


def find_worker(facts: Facts, name: str) -> Worker:
    worker = facts.workers.get(name)
    if worker is None:
        raise Refused("not_found", f"there is no worker {name!r}")
    return worker


def configure_pool(turn: Turn, command: cmd.ConfigurePool) -> None:
    """Create a pool with its first workers, or change it; bounds hold from then on."""
    spec = command.spec
    if not 0 <= spec.min_workers <= spec.max_workers:
        raise Refused("invalid", f"pool {spec.name}: min_workers {spec.min_workers} > max_workers {spec.max_workers}")
    wrong = reservations.wrong(spec)
    if wrong:
        raise Refused("invalid", f"pool {spec.name}: {wrong}")
    pool = turn.facts.pools.get(spec.name)
    if pool is not None:
        _check_move(turn.facts, pool, spec)
    if pool is None or pool.spec != spec or turn.facts.pool_devices.get(spec.name) != list(command.devices):
        turn.emit(ev.PoolConfigured(at_ms=turn.now_ms, spec=spec, devices=command.devices))
    target = spec.workers if pool is None else pool.target
    _resize(turn, spec.name, min(max(target, spec.min_workers), spec.max_workers), "config")
    for name in list(turn.facts.pools[spec.name].workers):
        worker = turn.facts.workers[name]
        if worker.state is WorkerState.up and not _may_stay(turn.facts, worker, spec, command.devices):
            retire(turn, worker.id, "config")
    settle(turn, spec.name)


def _check_move(facts: Facts, pool: Pool, spec: PoolSpec) -> None:
    """Work can't follow its pool to another executor: whoever started it has to end it."""
    busy = sum(len(facts.workers[name].running) for name in pool.workers)
    if pool.spec.executor != spec.executor and busy:
        raise Refused(
            "conflict",
            f"pool {spec.name} can't move from executor {pool.spec.executor} to {spec.executor} while {busy} jobs run "
            "there; let them end, or give the new pool another name",
        )


def _may_stay(facts: Facts, worker: Worker, spec: PoolSpec, devices: Collection[str]) -> bool:
    """Whether the worker is as the pool's workers are to be from now on, and lives where they do."""
    node = facts.nodes.get(worker.node)
    if worker.shape != spec.shape:
        return False
    if spec.elastic:
        return node is not None and may_use(node, spec)
    return node is None and set(worker.devices) <= set(devices)


def remove_pool(turn: Turn, command: cmd.RemovePool) -> None:
    """Take a pool away: it takes nothing more, its workers retire, and it goes when they are gone."""
    spec = find_pool(turn.facts, command.pool).spec
    closed = msgspec.structs.replace(spec, min_workers=0, max_workers=0, workers=0)
    devices = tuple(turn.facts.pool_devices.get(command.pool, ()))
    if spec != closed:
        turn.emit(ev.PoolConfigured(at_ms=turn.now_ms, spec=closed, devices=devices))
    scale(turn, command.pool, 0, "config")
    if not turn.facts.pools[command.pool].workers:
        turn.emit(ev.PoolRemoved(at_ms=turn.now_ms, pool=command.pool))


def pause_pool(turn: Turn, command: cmd.PausePool) -> None:
    if find_pool(turn.facts, command.pool).paused != command.paused:
        turn.emit(
            ev.PoolPaused(
                at_ms=turn.now_ms,
                pool=command.pool,
                paused=command.paused,
                by=command.by,
                reason=command.reason,
            )
        )


def scale_pool(turn: Turn, command: cmd.ScalePool) -> None:
    spec = find_pool(turn.facts, command.pool).spec
    if not spec.min_workers <= command.workers <= spec.max_workers:
        raise Refused(
            "invalid",
            f"workers must be {spec.min_workers} to {spec.max_workers} in {spec.name}, not {command.workers}",
        )
    scale(turn, command.pool, command.workers, command.by)


def scale(turn: Turn, pool: str, workers: int, by: str) -> None:
    """Want this many workers: new ones come at once, surplus ones retire, empty ones first."""
    _resize(turn, pool, workers, by)
    settle(turn, pool)


def _resize(turn: Turn, name: str, workers: int, by: str) -> None:
    pool = turn.facts.pools[name]
    if pool.target != workers:
        turn.emit(ev.PoolScaled(at_ms=turn.now_ms, pool=name, workers=workers, by=by))
    staying = [turn.facts.workers[worker] for worker in pool.workers]
    staying = [worker for worker in staying if worker.state is WorkerState.up]
    surplus = len(staying) - workers
    if pool.spec.elastic:
        for name in leavers(turn.facts, pool, surplus):
            retire(turn, name, by)
    elif surplus > 0:
        # Cordoned ones first, then the emptiest, then the newest: the least work is in the way.
        newest_first = staying[::-1]
        order = sorted(newest_first, key=lambda w: (not w.cordoned, len(w.running), bool(w.reserved_for)))
        for worker in order[:surplus]:
            retire(turn, worker.id, by)


def settle(turn: Turn, name: str) -> None:
    """Let workers follow what is wanted: retired ones that are empty go, and missing ones come."""
    facts = turn.facts
    pool = facts.pools[name]
    if pool.spec.elastic:
        nodes.settle(turn, name)
        if asks_for_nodes(pool.spec):
            provision(turn, pool.spec.executor, pool.spec.node_type)
        return
    for worker in list(pool.workers):
        found = facts.workers[worker]
        if found.state is WorkerState.retiring and not found.running:
            turn.emit(ev.WorkerRemoved(at_ms=turn.now_ms, worker=worker))
    up = sum(1 for worker in pool.workers if facts.workers[worker].state is WorkerState.up)
    if up >= pool.target:
        return
    each, devices = pool.spec.shape.gpus, _free_devices(turn, pool)
    for number in range(pool.target - up):
        own = tuple(devices[number * each : (number + 1) * each])
        if len(own) < each or len(pool.workers) >= pool.spec.max_workers:
            break  # a retiring worker still holds the slot or the GPU; the next tick tries again
        turn.emit(
            ev.WorkerAdded(
                at_ms=turn.now_ms,
                worker=f"{name}-{pool.next_worker}",
                pool=name,
                node="local",
                shape=pool.spec.shape,
                devices=own,
            )
        )


def _free_devices(turn: Turn, pool: Pool) -> list[str]:
    """A worker of another pool may still have some: the configuration has moved them since it came."""
    taken, faults = turn.state.homes, turn.facts.device_faults
    found = turn.facts.pool_devices.get(pool.spec.name, ())
    return [device for device in found if device not in taken and device not in faults]


def cordon_worker(turn: Turn, command: cmd.CordonWorker) -> None:
    worker = find_worker(turn.facts, command.worker)
    if worker.broken and not command.cordoned:
        raise Refused(
            "conflict", f"{worker.id} was cordoned too often: look at it, then agentorch workers repair {worker.id}"
        )
    if worker.cordoned != command.cordoned:
        cordon(turn, command.worker, command.cordoned, command.by, command.reason)


def cordon(turn: Turn, worker: str, cordoned: bool, by: str, reason: str) -> None:
    turn.emit(ev.WorkerCordoned(at_ms=turn.now_ms, worker=worker, cordoned=cordoned, by=by, reason=reason))


def configure_tenant(turn: Turn, command: cmd.ConfigureTenant) -> None:
    tenant = turn.facts.tenants.get(command.spec.name)
    if tenant is None or tenant.spec != command.spec:
        turn.emit(ev.TenantConfigured(at_ms=turn.now_ms, spec=command.spec))


def add_key(turn: Turn, command: cmd.AddKey) -> None:
    if command.key.id in turn.facts.keys:
        raise Refused("conflict", f"there is a key {command.key.id!r} already")
    if command.key.tenant and command.key.tenant not in turn.facts.tenants:
        raise Refused("invalid", f"there is no tenant {command.key.tenant!r}")
    turn.emit(ev.KeyAdded(at_ms=turn.now_ms, key=command.key, by=command.by))


def revoke_key(turn: Turn, command: cmd.RevokeKey) -> None:
    if command.key not in turn.facts.keys:
        raise Refused("not_found", f"there is no key {command.key!r}")
    turn.emit(ev.KeyRevoked(at_ms=turn.now_ms, key=command.key, by=command.by))


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.StartRuntime: start_runtime,
    cmd.CloseRuntime: close_runtime,
    cmd.ConfigurePool: configure_pool,
    cmd.RemovePool: remove_pool,
    cmd.PausePool: pause_pool,
    cmd.ScalePool: scale_pool,
    cmd.CordonWorker: cordon_worker,
    cmd.ConfigureTenant: configure_tenant,
    cmd.AddKey: add_key,
    cmd.RevokeKey: revoke_key,
}
