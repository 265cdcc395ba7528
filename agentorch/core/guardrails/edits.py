"""What a person may change while approving: a proposal is narrowed, towards what is there now, and never widened."""

from __future__ import annotations

from typing import Any

import msgspec

from agentorch.core.facts import Facts
from agentorch.errors import Refused
from agentorch.model.proposals import Action, Proposal, Reroute, Reschedule, Scale


def edit_fields(facts: Facts, proposal: Proposal) -> dict[str, dict[str, Any]]:
    """field -> {"type": "integer", "from": nearest to doing nothing, "to": as proposed}; both ends may be chosen."""
    found = None if proposal.action is None else _range(facts, proposal.action)
    if found is None:
        return {}
    name, nearest, proposed = found
    return {name: {"type": "integer", "from": nearest, "to": proposed}} if nearest != proposed else {}


def _range(facts: Facts, action: Action) -> tuple[str, int, int] | None:
    """(field, value nearest to the present one that still changes something, proposed value)."""
    match action:
        case Scale():
            pool = facts.pools.get(action.pool)
            return None if pool is None else ("workers", _next_to(pool.target, action.workers), action.workers)
        case Reroute() if not action.job:
            return "at_most", 1, action.at_most
        case Reschedule(change="priority", priority=int(priority)):
            job = facts.jobs.get(action.job)
            return None if job is None else ("priority", _next_to(job.priority, priority), priority)
        case Reschedule(change="start_at", start_ms=int(start_ms)):
            return "start_ms", min(start_ms, facts.at_ms), start_ms
    return None


def _next_to(present: int, proposed: int) -> int:
    if proposed == present:
        return proposed
    return present + 1 if proposed > present else present - 1


def narrowed(facts: Facts, proposal: Proposal, edits: dict[str, int | str]) -> Action:
    """The action with its edits. Raises Refused: `invalid` for no edit, `widened` for anything but a narrowing."""
    if proposal.action is None or not edits:
        raise Refused("invalid", "an edit names at least one field to change")
    fields = edit_fields(facts, proposal)
    for name, value in edits.items():
        if name not in fields:
            may = ", ".join(fields) or "nothing"
            raise Refused("widened", f"{name} of {proposal.id} can't be edited; what may be narrowed: {may}")
        ends = fields[name]["from"], fields[name]["to"]
        if type(value) is not int or not min(ends) <= value <= max(ends):
            raise Refused("widened", f"{name} may be narrowed to {min(ends)} to {max(ends)}, not to {value!r}")
    return msgspec.structs.replace(proposal.action, **edits)
