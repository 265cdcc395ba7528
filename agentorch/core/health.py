"""The rules of health: which signs a sample shows, and how much may look unhealthy before we doubt ourselves.

Pure: what a counter said before, and what is wrong already, come from the facts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from agentorch.core.facts import Facts
from agentorch.model.fleet import Worker, WorkerState
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.health import (
    FATAL_XIDS,
    HEALTH,
    LASTING_XIDS,
    SIGN_RANK,
    DeviceCounters,
    DeviceFault,
    HealthState,
    Sign,
)
from agentorch.model.limits import SECOND_MS
from agentorch.model.observation import DeviceSample

#: A device that was too hot must be this much cooler before it counts as well: no flapping at the limit.
HEAT_HYSTERESIS_C = 5.0
#: Pressure must fall to this share of its limit before the node counts as well.
PRESSURE_HYSTERESIS = 0.8
#: What NVML says of lower clocks when a device is too hot; for `sw_thermal` many run all day long under full load.
HOT_THROTTLES = frozenset({"hw_thermal"})
LOCAL_NODE = "local"
#: A few samples. The limits of G4 may be tightened to nothing; that must not idle every GPU.
STALE_AT_LEAST_MS = 10 * SECOND_MS


class Seen(NamedTuple):
    """A sign, in words, with the numbers behind it."""

    sign: Sign
    reason: str
    evidence: str


def gravest(seen: Collection[Seen]) -> Seen | None:
    return min(seen, key=lambda one: SIGN_RANK[one.sign], default=None)


def device_signs(
    sample: DeviceSample, before: DeviceCounters | None, fault: DeviceFault | None, settings: GuardrailSettings
) -> list[Seen]:
    """What a GPU's sample shows; `before` is what its counters said last, None at first sight."""
    found = [*_xid_signs(sample, before), *_ecc_signs(sample, before)]
    if sample.rows_failed:
        found.append(Seen(Sign.rows, "a bad memory row could not be replaced", "row remapping failed"))
    elif sample.rows_pending:
        found.append(Seen(Sign.rows, "a bad memory row is replaced at its next reset", "row remapping pending"))
    found.extend(_heat_signs(sample, fault, settings))
    return found


def _xid_signs(sample: DeviceSample, before: DeviceCounters | None) -> list[Seen]:
    if sample.xid_count is None:
        return []
    known = (before.xid_count or 0) if before is not None else 0
    fresh = sample.xid_count - known if sample.xid_count >= known else sample.xid_count  # its probe began anew
    found = []
    for code in sample.xids[-fresh:] if fresh else ():
        if code in FATAL_XIDS:
            found.append(Seen(Sign.xid, f"Xid {code}: {FATAL_XIDS[code]}", f"{sample.xid_count} Xids, last {code}"))
        elif code in LASTING_XIDS:
            found.append(Seen(Sign.link, f"Xid {code}: {LASTING_XIDS[code]}", f"{sample.xid_count} Xids, last {code}"))
    return found


def _ecc_signs(sample: DeviceSample, before: DeviceCounters | None) -> list[Seen]:
    """An increase only: what happened before we looked is history, and a counter that fell was reset."""
    if before is None:
        return []
    for what, then, now in (
        ("since its last reset", before.ecc_uncorrected, sample.ecc_uncorrected),
        ("ever", before.ecc_uncorrected_ever, sample.ecc_uncorrected_ever),
    ):
        if then is not None and now is not None and now > then:
            text = f"{now - then} more memory errors that could not be corrected"
            return [Seen(Sign.ecc, text, f"{now} {what}, {then} before")]
    return []


def _heat_signs(sample: DeviceSample, fault: DeviceFault | None, settings: GuardrailSettings) -> list[Seen]:
    limit_c = float(settings.device_temperature_limit_c)
    if sample.temperature_limit_c is not None:
        limit_c = min(limit_c, sample.temperature_limit_c)
    if fault is not None and fault.sign is Sign.heat:
        limit_c -= HEAT_HYSTERESIS_C
    hot = sample.temperature_c is not None and sample.temperature_c >= limit_c
    slowed = sorted(HOT_THROTTLES.intersection(sample.throttled or ()))
    if not hot and not slowed:
        return []
    degrees = "unknown" if sample.temperature_c is None else f"{sample.temperature_c:.0f} C"
    reason = f"{degrees} of at most {limit_c:.0f} C" if hot else "it slows itself down for heat"
    return [Seen(Sign.heat, reason, ", ".join([f"temperature {degrees}", *slowed]))]


def stale_after_ms(facts: Facts, node: str) -> int:
    """How old the newest sample of a device on this node may be."""
    settings = facts.settings
    return max(STALE_AT_LEAST_MS, settings.stale_local_ms if node == LOCAL_NODE else settings.stale_remote_ms)


def stale_sign(sample: DeviceSample | None, counters: DeviceCounters, facts: Facts, now_ms: int) -> Seen | None:
    """Unknown is not broken, and nothing is placed on it."""
    limit_ms = stale_after_ms(facts, counters.node)
    # After a start the first samples may take a moment; a device that is asked for has the same patience.
    known_ms = max(facts.started_ms, counters.seen_ms) if sample is None else sample.at_ms
    age_ms = now_ms - known_ms
    if age_ms <= limit_ms:
        return None
    text = "it is not listed any more" if sample is None else f"not heard of for {age_ms // 1000} s"
    return Seen(Sign.stale, text, f"at most {limit_ms // 1000} s count as known")


def pressure_sign(sample: DeviceSample, suspect: bool, settings: GuardrailSettings) -> Seen | None:
    """Of a node: all of its work waits, most of the time.

    Only `full` pressure counts, and none of the processor's: a busy processor is what it is paid for, and `full` is not
    defined for the processors of a whole machine (https://docs.kernel.org/accounting/psi.html).
    """
    share = PRESSURE_HYSTERESIS if suspect else 1.0
    for what, percent, limit in (
        ("memory", sample.memory_stall_percent, settings.pressure_memory_percent),
        ("the disk", sample.io_stall_percent, settings.pressure_io_percent),
    ):
        if percent is not None and percent >= limit * share:
            reason = f"all work on {sample.node} waits for {what}"
            return Seen(Sign.pressure, reason, f"{percent:.0f} % of the time; {limit} % is too much")
    return None


# -- how much is unhealthy (G11)


def is_unhealthy(facts: Facts, worker: Worker, faulty: Collection[str] = ()) -> bool:
    """Down, suspect, taken out by health, without a device left, or failing by no fault of the jobs.

    `faulty`: devices that are about to be taken out.
    """
    return (
        worker.state is WorkerState.down
        or bool(worker.suspect)
        or (worker.cordoned and worker.cordoned_by == HEALTH)
        or worker.failures >= facts.settings.worker_failures_cordon
        or (bool(worker.devices) and all(one in facts.device_faults or one in faulty for one in worker.devices))
    )


def why_unhealthy(facts: Facts, worker: Worker) -> str:
    """In words; "" for a worker that is well."""
    if not is_unhealthy(facts, worker):
        return ""
    out = "; ".join(f"{one}: {facts.device_faults[one].reason}" for one in worker.devices if one in facts.device_faults)
    failing = f"{worker.failures} attempts in a row ended there by no fault of the jobs" if worker.failures else ""
    taken_out = worker.cordon_reason if worker.cordoned_by == HEALTH else ""
    return taken_out or worker.suspect or out or failing or "its node is down"


def out_of_health(facts: Facts, workers: list[Worker]) -> str:
    """Which of these workers' devices, or which of them, take nothing new for their health; "" when all do."""
    faults = [facts.device_faults[one] for worker in workers for one in worker.devices if one in facts.device_faults]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        return f"a GPU is {faults[0].state}: {faults[0].reason}{more}"
    odd = [worker for worker in workers if worker.suspect or worker.cordoned_by == HEALTH]
    return f"{odd[0].id}: {odd[0].suspect or odd[0].cordon_reason}" if odd else ""


def health_of(facts: Facts, worker: Worker) -> HealthState:
    """What health says of the worker as a whole."""
    if worker.cordoned and worker.cordoned_by == HEALTH:
        return HealthState.broken if worker.broken else HealthState.cordoned
    return HealthState.suspect if is_unhealthy(facts, worker) else HealthState.ok


def unhealthy(facts: Facts, faulty: Collection[str] = ()) -> tuple[int, int]:
    """(unhealthy, all) workers, without those on their way out."""
    workers = [worker for worker in facts.workers.values() if worker.state is not WorkerState.retiring]
    return sum(1 for worker in workers if is_unhealthy(facts, worker, faulty)), len(workers)


def halt_reason(facts: Facts, faulty: Collection[str] = ()) -> str:
    """G11: why nothing may be taken out by itself; "" when it may."""
    sick, total = unhealthy(facts, faulty)
    settings = facts.settings
    if total and sick == total:
        return f"all {total} workers look unhealthy: the fault may be our own"
    if sick > settings.unhealthy_halt_workers and sick * 100 > total * settings.unhealthy_halt_percent:
        return f"{sick} of {total} workers look unhealthy"
    return ""
