"""The numbers that guardrails go by. `limits` holds the loosest; a configuration may only tighten them."""

from __future__ import annotations

from typing import Final

import msgspec

from agentorch.model import limits


class GuardrailSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Defaults are the limits; `loosened` says which fields break them. Times are durations in milliseconds."""

    approval_ttl_ms: int = limits.APPROVAL_TTL_MS
    pending_approvals_max: int = limits.PENDING_APPROVALS_MAX
    scale_up_step: int = limits.SCALE_UP_STEP
    scale_up_share_percent: int = limits.SCALE_UP_SHARE_PERCENT
    scale_down_step: int = limits.SCALE_DOWN_STEP
    scale_down_share_percent: int = limits.SCALE_DOWN_SHARE_PERCENT
    shrink_window_ms: int = limits.SHRINK_WINDOW_MS
    shrink_after_growth_ms: int = limits.SHRINK_AFTER_GROWTH_MS
    dead_band_percent: int = limits.DEAD_BAND_PERCENT
    stale_local_ms: int = limits.STALE_LOCAL_MS
    stale_remote_ms: int = limits.STALE_REMOTE_MS
    cooldown_ms: int = limits.COOLDOWN_MS
    actions_per_cycle: int = limits.ACTIONS_PER_CYCLE
    actions_per_hour: int = limits.ACTIONS_PER_HOUR
    blast_radius_percent: int = limits.BLAST_RADIUS_PERCENT
    unhealthy_halt_percent: int = limits.UNHEALTHY_HALT_PERCENT
    unhealthy_halt_workers: int = limits.UNHEALTHY_HALT_WORKERS
    preempt_min_run_ms: int = limits.PREEMPT_MIN_RUN_MS
    poison_workers: int = limits.POISON_WORKERS
    pool_failed_starts_pause: int = limits.POOL_FAILED_STARTS_PAUSE
    device_temperature_limit_c: int = limits.DEVICE_TEMPERATURE_LIMIT_C
    suspect_clear_ms: int = limits.SUSPECT_CLEAR_MS
    suspect_max_ms: int = limits.SUSPECT_MAX_MS
    breaker_cordons: int = limits.BREAKER_CORDONS
    breaker_window_ms: int = limits.BREAKER_WINDOW_MS
    worker_failures_cordon: int = limits.WORKER_FAILURES_CORDON
    pressure_memory_percent: int = limits.PRESSURE_MEMORY_PERCENT
    pressure_io_percent: int = limits.PRESSURE_IO_PERCENT
    ask_above_usd_micros_per_hour: int = limits.ASK_ABOVE_USD_MICROS_PER_HOUR
    always_ask: tuple[str, ...] = ()  # kinds of action that a person must always be asked about, such as `scale`


#: field -> (lowest, highest) that is no looser than the limits. A larger dead band or window is tighter, a larger step
#: is looser; the far end only keeps the numbers sane.
BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "approval_ttl_ms": (limits.APPROVAL_TTL_MIN_MS, limits.APPROVAL_TTL_MAX_MS),
    "pending_approvals_max": (0, limits.PENDING_APPROVALS_MAX),
    "scale_up_step": (0, limits.SCALE_UP_STEP),
    "scale_up_share_percent": (0, limits.SCALE_UP_SHARE_PERCENT),
    "scale_down_step": (0, limits.SCALE_DOWN_STEP),
    "scale_down_share_percent": (0, limits.SCALE_DOWN_SHARE_PERCENT),
    "shrink_window_ms": (limits.SHRINK_WINDOW_MS, limits.DAY_MS),
    "shrink_after_growth_ms": (limits.SHRINK_AFTER_GROWTH_MS, limits.DAY_MS),
    "dead_band_percent": (limits.DEAD_BAND_PERCENT, 100),
    "stale_local_ms": (0, limits.STALE_LOCAL_MS),
    "stale_remote_ms": (0, limits.STALE_REMOTE_MS),
    "cooldown_ms": (limits.COOLDOWN_MS, limits.DAY_MS),
    "actions_per_cycle": (0, limits.ACTIONS_PER_CYCLE),
    "actions_per_hour": (0, limits.ACTIONS_PER_HOUR),
    "blast_radius_percent": (0, limits.BLAST_RADIUS_PERCENT),
    "unhealthy_halt_percent": (0, limits.UNHEALTHY_HALT_PERCENT),
    "unhealthy_halt_workers": (0, limits.UNHEALTHY_HALT_WORKERS),
    "preempt_min_run_ms": (limits.PREEMPT_MIN_RUN_MS, limits.DAY_MS),
    "poison_workers": (1, limits.POISON_WORKERS),
    "pool_failed_starts_pause": (1, limits.POOL_FAILED_STARTS_PAUSE),
    "device_temperature_limit_c": (0, limits.DEVICE_TEMPERATURE_LIMIT_C),
    "suspect_clear_ms": (limits.SUSPECT_CLEAR_MS, limits.DAY_MS),
    "suspect_max_ms": (0, limits.SUSPECT_MAX_MS),
    "breaker_cordons": (1, limits.BREAKER_CORDONS),
    "breaker_window_ms": (limits.BREAKER_WINDOW_MS, 30 * limits.DAY_MS),
    "worker_failures_cordon": (1, limits.WORKER_FAILURES_CORDON),
    "pressure_memory_percent": (1, limits.PRESSURE_MEMORY_PERCENT),
    "pressure_io_percent": (1, limits.PRESSURE_IO_PERCENT),
    "ask_above_usd_micros_per_hour": (0, limits.ASK_ABOVE_USD_MICROS_PER_HOUR),
}

#: What `always_ask` may name: the kinds of `model.proposals.Action`.
ACTION_KINDS: Final = ("scale", "reschedule", "reroute", "cordon", "uncordon", "alert")

assert {*BOUNDS, "always_ask"} == set(GuardrailSettings.__struct_fields__), "every setting has bounds"


def loosened(settings: GuardrailSettings) -> list[str]:
    """Each setting that is looser than the limits or out of range, in words; empty when all may be used."""
    out = []
    for name, (lowest, highest) in BOUNDS.items():
        value = getattr(settings, name)
        if type(value) is not int or not lowest <= value <= highest:
            out.append(f"{name} must be {lowest} to {highest}, not {value!r}: settings can only tighten a guardrail")
    out.extend(
        f"always_ask: {kind!r} is no kind of action; known: {', '.join(ACTION_KINDS)}"
        for kind in settings.always_ask
        if kind not in ACTION_KINDS
    )
    return out
