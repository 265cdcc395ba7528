"""What telemetry and failures say of devices and workers, and what follows: ok, suspect, cordoned, broken.

Only changes become events, and what takes something out comes before the counter that showed it: after a crash between
the two it is seen again. A worker that a person cordoned is left to people.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from agentorch.core import health, power
from agentorch.core.decide import jobs
from agentorch.core.decide.fleet import find_worker
from agentorch.core.facts import Facts
from agentorch.core.guardrails.protection import is_supervisor
from agentorch.core.health import Seen
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.fleet import Worker, WorkerState
from agentorch.model.health import FATAL, HEALTH, SIGN_RANK, TRANSIENT, DeviceCounters, DeviceFault, HealthState, Sign
from agentorch.model.jobs import Cause
from agentorch.model.observation import DeviceSample

_DRAINS = frozenset({HealthState.cordoned, HealthState.broken})


def report_health(turn: Turn, command: cmd.ReportHealth) -> None:
    """Judge every device that was ever sampled, every worker, and the power of every pool with a cap."""
    samples = {sample.id: sample for sample in command.samples if sample.kind != "cpu"}
    seen = _devices_seen(turn.facts, samples, turn.now_ms)
    lasting = {name for name, one in seen.items() if one is not None and one.sign not in TRANSIENT}
    _halt(turn, health.halt_reason(turn.facts, lasting))
    for device, one in seen.items():
        _judge_device(turn, device, one)
    _forget(turn, seen)
    for sample in samples.values():
        _count(turn, sample)
    pressed = _pressure(turn.facts, command.samples)
    for worker in list(turn.facts.workers.values()):
        _judge_worker(turn, worker, pressed.get(worker.node))
    for pool in turn.facts.pools.values():
        drawn = power.drawn(turn.facts, pool, samples, turn.now_ms)
        if drawn is not None:
            turn.emit(drawn)


def _halt(turn: Turn, reason: str) -> None:
    """G11. People are told once, when it begins."""
    if bool(reason) == bool(turn.facts.health_halt):
        return
    turn.emit(ev.HealthHalted(at_ms=turn.now_ms, reason=reason))
    if reason:
        text = f"G11: nothing is cordoned by itself now. {reason}"
        turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="health-halt", text=text, by="guardrail"))


# -- devices


def _devices_seen(facts: Facts, samples: dict[str, DeviceSample], now_ms: int) -> dict[str, Seen | None]:
    """The gravest sign of each device that is sampled, or that was and belongs to a worker."""
    used = {device for worker in facts.workers.values() for device in worker.devices}
    names = [*samples, *(name for name in facts.devices if name not in samples and name in used)]
    return {name: _seen(facts, samples, name, now_ms) for name in names}


def _seen(facts: Facts, samples: dict[str, DeviceSample], name: str, now_ms: int) -> Seen | None:
    sample, before = samples.get(name), facts.devices.get(name)
    stale = None
    if sample is not None and before is None:
        before_stale = DeviceCounters(node=sample.node, seen_ms=now_ms)
        stale = health.stale_sign(sample, before_stale, facts, now_ms)
    elif before is not None:
        stale = health.stale_sign(sample, before, facts, now_ms)
    found = [] if stale is None else [stale]
    if sample is not None and stale is None:
        whole = samples.get(sample.parent, sample) if sample.parent else sample  # a slice is as sick as its GPU
        fault = facts.device_faults.get(name)
        found.extend(health.device_signs(whole, facts.devices.get(whole.id), fault, facts.settings))
    return health.gravest(found)


def _forget(turn: Turn, seen: Collection[str]) -> None:
    """A device that nobody lists any more and no worker has went away with its node: only what lasts is remembered."""
    for device, fault in list(turn.facts.device_faults.items()):
        if device not in seen and fault.sign in TRANSIENT:
            _judged(turn, device, HealthState.ok, Seen(fault.sign, fault.reason, fault.evidence))


def _count(turn: Turn, sample: DeviceSample) -> None:
    """Remember what its counters say; an unknown value leaves the known one. Several nodes may share a machine."""
    known = turn.facts.devices.get(sample.id)
    then: tuple[int | None, ...] = (None, None, None)
    if known is not None:
        then = (known.ecc_uncorrected, known.ecc_uncorrected_ever, known.xid_count)
    counts = (sample.ecc_uncorrected, sample.ecc_uncorrected_ever, sample.xid_count)
    now = tuple(old if new is None else new for old, new in zip(then, counts, strict=True))
    if known is None or now != then:
        turn.emit(
            ev.DeviceCounted(
                at_ms=turn.now_ms,
                device=sample.id,
                node=sample.node,
                parent=sample.parent,
                ecc_uncorrected=now[0],
                ecc_uncorrected_ever=now[1],
                xid_count=now[2],
            )
        )


def _judge_device(turn: Turn, device: str, seen: Seen | None) -> None:
    fault = turn.facts.device_faults.get(device)
    if seen is not None and (fault is None or SIGN_RANK[seen.sign] < SIGN_RANK[fault.sign]):
        _take_out(turn, device, seen, fault)
    elif fault is not None:
        _look_again(turn, device, fault, seen)


def _take_out(turn: Turn, device: str, seen: Seen, fault: DeviceFault | None) -> None:
    """A new sign, or a graver one. What may clear by itself is suspect first; what is cordoned stays so."""
    state = HealthState.suspect if fault is None else fault.state
    if seen.sign not in TRANSIENT and not turn.facts.health_halt and state not in _DRAINS:
        _cordon_device(turn, device, seen)
    else:
        _judged(turn, device, state, seen)
        if state in _DRAINS:
            _follow_up(turn, device, seen.sign)


def _look_again(turn: Turn, device: str, fault: DeviceFault, seen: Seen | None) -> None:
    """The sign is still there, or gone for a while. What does not go away by itself waits for a person."""
    same = Seen(fault.sign, fault.reason, fault.evidence)
    settings, now_ms = turn.facts.settings, turn.now_ms
    if fault.sign not in TRANSIENT:
        if fault.state is HealthState.suspect and not turn.facts.health_halt:
            _cordon_device(turn, device, same)
        elif fault.state in _DRAINS:
            _follow_up(turn, device, fault.sign)
        return
    if seen is None:
        if fault.well_ms is None:
            _judged(turn, device, fault.state, same, well=True)
        elif now_ms - fault.well_ms >= settings.suspect_clear_ms and fault.state is not HealthState.broken:
            _judged(turn, device, HealthState.ok, same)
            _return_worker(turn, device)
        return
    lasts = now_ms - fault.since_ms >= settings.suspect_max_ms
    if fault.state is HealthState.suspect and lasts and not turn.facts.health_halt:
        _cordon_device(turn, device, seen)
    elif fault.well_ms is not None:
        _judged(turn, device, fault.state, seen)


def _cordon_device(turn: Turn, device: str, seen: Seen) -> None:
    counters = turn.facts.devices.get(device)
    state = HealthState.cordoned
    reason = seen.reason
    if _breaks(turn, counters.cordons if counters is not None else []):
        state = HealthState.broken
        reason = f"{reason}; cordoned too often, only a repair brings it back"
    _judged(turn, device, state, Seen(seen.sign, reason, seen.evidence))
    text = f"{device} is {state}: {reason} ({seen.evidence})"
    turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="device-fault", text=text, by=HEALTH))
    _follow_up(turn, device, seen.sign)


def _follow_up(turn: Turn, device: str, sign: Sign) -> None:
    """What a cordoned device means for work and worker. Looked at each time: a crash may have come in between."""
    if sign in FATAL:
        _stop_work(turn, device)
    _cordon_without_devices(turn, device)


def _breaks(turn: Turn, cordons: list[int]) -> bool:
    """Whether one more cordon trips the breaker."""
    settings = turn.facts.settings
    recent = [one for one in cordons if one > turn.now_ms - settings.breaker_window_ms]
    return len(recent) + 1 >= settings.breaker_cordons


def _judged(turn: Turn, device: str, state: HealthState, seen: Seen, *, well: bool = False) -> None:
    turn.emit(
        ev.DeviceJudged(
            at_ms=turn.now_ms,
            device=device,
            state=state,
            sign=seen.sign,
            reason=seen.reason,
            evidence=seen.evidence,
            well=well,
        )
    )


def _stop_work(turn: Turn, device: str) -> None:
    """What runs there can't be trusted any more: it is stopped and queued again."""
    worker = turn.state.home_of(device)
    for name in list(worker.running) if worker is not None else ():
        job = turn.facts.jobs[name]
        if job.stop_cause is None and any(device in member.devices for member in job.attempts[-1].members):
            jobs.stop(turn, name, Cause.interruption, HEALTH)


def _cordon_without_devices(turn: Turn, device: str) -> None:
    """A worker whose last device is out is cordoned whole; one that has others goes on with those."""
    facts = turn.facts
    worker = turn.state.home_of(device)
    if worker is None or worker.cordoned:
        return
    faults = [facts.device_faults.get(name) for name in worker.devices]
    if all(fault is not None and fault.state in _DRAINS for fault in faults):
        broken = any(fault is not None and fault.state is HealthState.broken for fault in faults)
        reasons = "; ".join(
            f"{name}: {fault.reason}" for name, fault in zip(worker.devices, faults, strict=True) if fault
        )
        _cordon_worker(turn, worker, Sign.devices, reasons, broken)


def _return_worker(turn: Turn, device: str) -> None:
    worker = turn.state.home_of(device)
    if worker is not None and worker.cordon_sign == Sign.devices and not worker.broken:
        turn.emit(ev.WorkerCordoned(at_ms=turn.now_ms, worker=worker.id, cordoned=False, by=HEALTH))


# -- workers


def _pressure(facts: Facts, samples: tuple[DeviceSample, ...]) -> dict[str, Seen]:
    suspects = {worker.node for worker in facts.workers.values() if worker.suspect}
    found = {}
    for sample in samples:
        if sample.kind == "cpu":
            seen = health.pressure_sign(sample, sample.node in suspects, facts.settings)
            if seen is not None:
                found[sample.node] = seen
    return found


def _judge_worker(turn: Turn, worker: Worker, pressed: Seen | None) -> None:
    settings = turn.facts.settings
    failing = worker.failures >= settings.worker_failures_cordon
    if failing and not worker.cordoned and worker.state is WorkerState.up and not turn.facts.health_halt:
        reason = f"{worker.failures} attempts in a row ended there by no fault of the jobs"
        broken = _breaks(turn, worker.cordons)
        _cordon_worker(turn, worker, Sign.failures, reason, broken)
        text = f"{worker.id} is {'broken' if broken else 'cordoned'}: {reason}"
        turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="worker-fault", text=text, by=HEALTH))
    if pressed is not None:
        if not worker.suspect or worker.well_ms is not None:
            _suspect(turn, worker, pressed.reason, pressed.evidence)
    elif worker.suspect and worker.well_ms is None:
        _suspect(turn, worker, worker.suspect, well=True)
    elif worker.suspect and turn.now_ms - (worker.well_ms or 0) >= settings.suspect_clear_ms:
        _suspect(turn, worker, "")


def _suspect(turn: Turn, worker: Worker, reason: str, evidence: str = "", *, well: bool = False) -> None:
    turn.emit(ev.WorkerSuspected(at_ms=turn.now_ms, worker=worker.id, reason=reason, evidence=evidence, well=well))


def _cordon_worker(turn: Turn, worker: Worker, sign: Sign, reason: str, broken: bool) -> None:
    turn.emit(
        ev.WorkerCordoned(
            at_ms=turn.now_ms,
            worker=worker.id,
            cordoned=True,
            by=HEALTH,
            reason=f"{HEALTH}: {reason}",
            sign=sign,
            broken=broken,
        )
    )


# -- repair


def repair_worker(turn: Turn, command: cmd.RepairWorker) -> None:
    """Raises Refused: for a worker that is not there, and for anyone but a person."""
    _person(command.by)
    worker = find_worker(turn.facts, command.worker)
    devices = any(name in turn.facts.device_faults for name in worker.devices)
    if worker.cordoned or worker.suspect or worker.failures or worker.cordons or devices:
        turn.emit(ev.WorkerRepaired(at_ms=turn.now_ms, worker=worker.id, by=command.by))


def repair_device(turn: Turn, command: cmd.RepairDevice) -> None:
    """As `repair_worker`, for one device; a worker that was cordoned for it takes work again."""
    _person(command.by)
    facts, device = turn.facts, command.device
    if device not in facts.devices and device not in facts.device_faults:
        raise Refused("not_found", f"there is no device {device!r} that was ever seen")
    counters = facts.devices.get(device)
    if device not in facts.device_faults and not (counters and counters.cordons):
        return
    turn.emit(ev.DeviceRepaired(at_ms=turn.now_ms, device=device, by=command.by))
    worker = turn.state.home_of(device)
    if worker is not None and worker.cordon_sign == Sign.devices:
        turn.emit(ev.WorkerCordoned(at_ms=turn.now_ms, worker=worker.id, cordoned=False, by=HEALTH))


def _person(by: str) -> None:
    if is_supervisor(by) or by == HEALTH:
        raise Refused("forbidden", "only a person repairs: somebody must have looked at it")


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.ReportHealth: report_health,
    cmd.RepairWorker: repair_worker,
    cmd.RepairDevice: repair_device,
}
