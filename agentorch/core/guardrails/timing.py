"""On how fresh data, and how often: G4 stale-data, G5 cooldown."""

from __future__ import annotations

from agentorch.core.guardrails.case import Case, allow, deny, seconds
from agentorch.model import limits
from agentorch.model.proposals import Note, Reroute, target_of


def stale_data(case: Case) -> Note | None:
    """G4: telemetry that is too old, or missing, never justifies shrinking, stopping or moving work."""
    if not (case.shrinks_by or case.stops_work or isinstance(case.action, Reroute)):
        return None
    oldest_ms = 0
    for name in sorted({*case.source_pools, *([case.pool.spec.name] if case.pool else [])}):
        pool = case.facts.pools.get(name)
        if pool is None:
            continue
        if pool.telemetry_ms is None:
            return deny("G4", f"{name} has no telemetry; unknown counts as busy")
        local = pool.spec.executor == "local" and not pool.spec.elastic
        limit_ms = case.settings.stale_local_ms if local else case.settings.stale_remote_ms
        age_ms = case.now_ms - pool.telemetry_ms
        if age_ms > limit_ms:
            return deny("G4", f"telemetry of {name} is {seconds(age_ms)} old; at most {seconds(limit_ms)} counts")
        oldest_ms = max(oldest_ms, age_ms)
    return allow("G4", f"telemetry is {seconds(oldest_ms)} old")


def cooldown(case: Case) -> Note | None:
    """G5: one action on the same target per cooldown, few per cycle and hour."""
    settings, target = case.settings, target_of(case.action)
    if any(target_of(action) == target for action in case.earlier):
        return deny("G5", f"{target} is acted on in this cycle already")
    acted = [one for one in case.facts.acted if one.at_ms > case.now_ms - limits.HOUR_MS]
    for one in acted:
        if one.target == target and case.now_ms < one.at_ms + settings.cooldown_ms:
            since = seconds(case.now_ms - one.at_ms)
            return deny("G5", f"{target} was acted on {since} ago; once per {seconds(settings.cooldown_ms)}")
    proposals = case.facts.proposals
    done = sum(1 for one in acted if one.proposal in proposals and proposals[one.proposal].cycle == case.cycle)
    count = len(case.earlier) + done
    if count >= settings.actions_per_cycle:
        return deny("G5", f"{count} actions in this cycle already; at most {settings.actions_per_cycle}")
    if len(acted) + len(case.earlier) >= settings.actions_per_hour:
        return deny("G5", f"{len(acted)} actions in the last hour; at most {settings.actions_per_hour}")
    return allow("G5", f"action {count + 1} of at most {settings.actions_per_cycle} in a cycle")
