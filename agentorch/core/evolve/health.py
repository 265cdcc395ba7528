"""What happened to the health of devices and workers, and to the power that pools draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import Worker
from agentorch.model.health import HEALTH, DeviceCounters, DeviceFault, HealthState, PoolPower, Sign

_DRAINS = frozenset({HealthState.cordoned, HealthState.broken})


def device_counted(state: State, event: ev.DeviceCounted) -> None:
    facts = state.facts
    counters = facts.devices.get(event.device)
    if counters is None:
        _forget_strangers(facts)
        counters = facts.devices[event.device] = DeviceCounters(node=event.node, seen_ms=event.at_ms)
    counters.node, counters.parent = event.node, event.parent
    counters.ecc_uncorrected = event.ecc_uncorrected
    counters.ecc_uncorrected_ever = event.ecc_uncorrected_ever
    counters.xid_count = event.xid_count


def _forget_strangers(facts: Facts) -> None:
    """MIG slices come and go under new names: what has no worker and no fault need not be remembered for ever."""
    if len(facts.devices) < limits.TELEMETRY_DEVICES:
        return
    used = {device for worker in facts.workers.values() for device in worker.devices}
    for name in [name for name in facts.devices if name not in used and name not in facts.device_faults]:
        del facts.devices[name]


def device_judged(state: State, event: ev.DeviceJudged) -> None:
    facts = state.facts
    before = facts.device_faults.get(event.device)
    if event.state is HealthState.ok:
        facts.device_faults.pop(event.device, None)
    else:
        same = before is not None and before.sign is event.sign
        facts.device_faults[event.device] = DeviceFault(
            state=event.state,
            sign=event.sign,
            reason=event.reason,
            evidence=event.evidence,
            since_ms=before.since_ms if same and before is not None else event.at_ms,
            well_ms=event.at_ms if event.well else None,
        )
        if event.state in _DRAINS and (before is None or before.state not in _DRAINS):
            counters = facts.devices.setdefault(event.device, DeviceCounters(node="", seen_ms=event.at_ms))
            counters.cordons = _kept(facts, counters.cordons, event.at_ms)
    _free_again(state, state.home_of(event.device))
    facts.world_seq = facts.seq + 1


def _kept(facts: Facts, times: list[int], at_ms: int) -> list[int]:
    """The times within the breaker's window, and this one."""
    return [*(one for one in times if one > at_ms - facts.settings.breaker_window_ms), at_ms]


def _free_again(state: State, worker: Worker | None) -> None:
    """What is neither held by an attempt nor out is free."""
    if worker is None:
        return
    facts = state.facts
    held = {
        device
        for name in worker.running
        for member in facts.jobs[name].attempts[-1].members
        if member.worker == worker.id
        for device in member.devices
    }
    worker.free_devices = [name for name in worker.devices if name not in held and name not in facts.device_faults]
    state.rooms.update(worker)


def device_repaired(state: State, event: ev.DeviceRepaired) -> None:
    _forgive(state.facts, event.device)
    _free_again(state, state.home_of(event.device))
    state.facts.world_seq = state.facts.seq + 1


def _forgive(facts: Facts, device: str) -> None:
    """The counters stay: what they said before the repair is no new sign after it."""
    facts.device_faults.pop(device, None)
    if device in facts.devices:
        facts.devices[device].cordons = []


def worker_suspected(state: State, event: ev.WorkerSuspected) -> None:
    worker = state.facts.workers[event.worker]
    if event.reason and not worker.suspect:
        worker.suspect_ms = event.at_ms
    elif not event.reason:
        worker.suspect_ms = None
    worker.suspect = event.reason
    worker.well_ms = event.at_ms if event.well else None
    state.rooms.update(worker)
    state.facts.world_seq = state.facts.seq + 1


def worker_repaired(state: State, event: ev.WorkerRepaired) -> None:
    worker = state.facts.workers[event.worker]
    for device in worker.devices:
        _forgive(state.facts, device)
    worker.cordoned = worker.broken = False
    worker.cordon_reason = worker.cordoned_by = worker.cordon_sign = worker.suspect = ""
    worker.suspect_ms = worker.well_ms = None
    worker.cordons, worker.failures = [], 0
    _free_again(state, worker)
    state.facts.world_seq = state.facts.seq + 1


def cordoned(state: State, worker: Worker, event: ev.WorkerCordoned) -> None:
    """What a cordon, or its end, says about health. Who lifts a cordon of health answers for the devices too."""
    facts = state.facts
    if not event.cordoned:
        if worker.cordon_sign == Sign.devices and event.by != HEALTH:
            for device in worker.devices:
                facts.device_faults.pop(device, None)
            _free_again(state, worker)
        worker.failures = 0
    elif event.by == HEALTH and event.sign != Sign.devices:
        worker.cordons = _kept(facts, worker.cordons, event.at_ms)
    worker.cordoned_by = event.by if event.cordoned else ""
    worker.cordon_sign = event.sign if event.cordoned else ""
    worker.broken = event.broken and event.cordoned


def failed(facts: Facts, worker: Worker, at_ms: int) -> bool:
    """An attempt ended there by no fault of the job. What ends within seconds of another ended of the same thing.

    Returns whether it is the first of such on its node; the fixed machine is many workers, and not one incident.
    """
    node = facts.nodes.get(worker.node)
    first = node is None or not any(_just_failed(facts.workers[name], at_ms) for name in node.workers)
    if not _just_failed(worker, at_ms):
        worker.failures += 1
        worker.failed_ms = at_ms
    return first


def _just_failed(worker: Worker, at_ms: int) -> bool:
    return bool(worker.failures) and at_ms - (worker.failed_ms or 0) < limits.FAILURES_APART_MS


def health_halted(state: State, event: ev.HealthHalted) -> None:
    state.facts.health_halt = event.reason


def pool_powered(state: State, event: ev.PoolPowered) -> None:
    pool = state.facts.pools[event.pool]
    settled_ms = event.at_ms - limits.POWER_SETTLE_MS
    starts = [one for one in pool.power.starts if one[0] > settled_ms]
    pool.power = PoolPower(watts=event.watts, start_watts=event.start_watts, starts=starts)


def power_taken(facts: Facts, event: ev.JobStarted) -> None:
    """Until the samples show a start, it is reckoned with as if its GPUs drew all they may."""
    pool = facts.pools[event.pool]
    gpus = len(event.devices) + sum(len(one.devices) for one in event.ranks)
    if pool.spec.power_cap_watts is not None and gpus:
        pool.power.starts.append((event.at_ms, gpus * (pool.power.start_watts or 0)))


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.DeviceCounted: device_counted,
    ev.DeviceJudged: device_judged,
    ev.DeviceRepaired: device_repaired,
    ev.WorkerSuspected: worker_suspected,
    ev.WorkerRepaired: worker_repaired,
    ev.HealthHalted: health_halted,
    ev.PoolPowered: pool_powered,
}
