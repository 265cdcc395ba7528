"""How far and how fast a pool may change: G1 scale-step, G2 shrink-window, G3 dead-band, G14 predictions add."""

from __future__ import annotations

from itertools import pairwise

from agentorch.core.guardrails.case import Case, allow, deny, seconds
from agentorch.model import limits
from agentorch.model.fleet import Pool
from agentorch.model.proposals import Note, Scale


def scale_step(case: Case) -> Note | None:
    """G1: inside the pool's bounds, and one step at a time."""
    pool, action = case.pool, case.action
    if pool is None or not isinstance(action, Scale):
        return None
    spec = pool.spec
    if not spec.min_workers <= action.workers <= spec.max_workers:
        return deny("G1", f"{action.workers} is outside of the bounds {spec.min_workers} to {spec.max_workers}")
    settings = case.settings
    up = max(settings.scale_up_step, pool.target * settings.scale_up_share_percent // 100)
    down = max(settings.scale_down_step, pool.target * settings.scale_down_share_percent // 100)
    if case.grows_by > up:
        return deny("G1", f"adds {case.grows_by} to {pool.target} workers; at most {up} in one step")
    if case.shrinks_by > down:
        return deny("G1", f"takes {case.shrinks_by} of {pool.target} workers; at most {down} in one step")
    return allow("G1", f"step of {case.grows_by or case.shrinks_by} of at most {up if case.grows_by else down}")


def shrink_window(case: Case) -> Note | None:
    """G2: shrink only to the highest need seen in the window, and not soon after growing."""
    pool, action = case.pool, case.action
    if pool is None or not isinstance(action, Scale) or not case.shrinks_by:
        return None
    window_ms, rest_ms = case.settings.shrink_window_ms, case.settings.shrink_after_growth_ms
    if pool.grew_ms is not None and case.now_ms < pool.grew_ms + rest_ms:
        grown = seconds(case.now_ms - pool.grew_ms)
        return deny("G2", f"it grew {grown} ago; nothing shrinks for {seconds(rest_ms)} after growing")
    gap = _gap(pool, case.now_ms, window_ms)
    if gap:
        return deny("G2", f"the need of the last {seconds(window_ms)} is not known: {gap}")
    highest = _highest_need(pool, case.now_ms, window_ms)
    if action.workers < highest:
        return deny("G2", f"{highest} workers were needed within the last {seconds(window_ms)}")
    return allow("G2", f"at most {highest} workers were needed within the last {seconds(window_ms)}")


def _highest_need(pool: Pool, now_ms: int, window_ms: int) -> int:
    """Of every bucket that reaches into the window."""
    ends = [at_ms for at_ms, _ in pool.needs[1:]] + [now_ms + 1]
    return max(need for (_, need), end_ms in zip(pool.needs, ends, strict=True) if end_ms > now_ms - window_ms)


def _gap(pool: Pool, now_ms: int, window_ms: int) -> str:
    """Why the memory of needs does not cover the window; "" when it does. What was not seen counts as busy."""
    if not pool.needs or pool.needs[0][0] > now_ms - window_ms:
        return "it is not observed for that long"
    longest_ms = window_ms // limits.NEED_BUCKETS * limits.NEED_GAP_BUCKETS
    times = [at_ms for at_ms, _ in pool.needs] + [now_ms]
    for before_ms, after_ms in pairwise(times):
        if after_ms - max(before_ms, now_ms - window_ms) > longest_ms:
            return f"no observation for {seconds(after_ms - before_ms)}"
    return ""


def dead_band(case: Case) -> Note | None:
    """G3: no scaling for a deviation, asked or measured, that is too small to matter."""
    pool, action = case.pool, case.action
    if pool is None or not isinstance(action, Scale):
        return None
    if action.workers == pool.target:
        return deny("G3", f"it has {pool.target} workers already")
    if pool.target == 0:
        return None
    need = case.demand.need.get(action.pool, 0)
    deviation = max(abs(action.workers - pool.target), abs(need - pool.target)) * 100 / pool.target
    if deviation < case.settings.dead_band_percent:
        return deny("G3", f"a deviation of {deviation:.0f} %; under {case.settings.dead_band_percent} % nothing moves")
    return None


def predictions_add(case: Case) -> Note | None:
    """G14: what is needed now is measured; a forecast may add to it, never take from it."""
    action = case.action
    if case.pool is None or not isinstance(action, Scale):
        return None
    need = case.demand.need.get(action.pool, 0)
    if case.shrinks_by and action.workers < need:
        return deny("G14", f"running and queued work needs {need} workers now; no forecast takes them away")
    if case.grows_by and action.workers > need:
        return allow("G14", f"{need} workers are needed now; growing ahead of need is allowed")
    return None
