"""The table of what actions risk (G15). A brain has no say in it; what is not in the table is treated as the worst."""

from __future__ import annotations

from typing import Final

import msgspec

from agentorch.core.facts import Facts
from agentorch.model.proposals import Action, Reroute, Reschedule, Risk, Scale


class ActionClass(msgspec.Struct, frozen=True):
    """One row. `asks`: a person decides although it could be undone."""

    name: str
    risk: Risk
    reversible: bool
    asks: bool = False


_ROWS: Final = (
    ActionClass("growing", Risk.medium, True),
    ActionClass("shrinking", Risk.medium, True),
    ActionClass("priority", Risk.low, True),
    ActionClass("start time", Risk.low, True),
    ActionClass("pause", Risk.medium, True, asks=True),
    ActionClass("resume", Risk.low, True),
    ActionClass("preempt", Risk.high, False, asks=True),
    ActionClass("requeue", Risk.high, False, asks=True),
    ActionClass("reroute of a job", Risk.low, True),
    ActionClass("reroute of a class", Risk.medium, True),
    ActionClass("cordon", Risk.medium, True, asks=True),
    ActionClass("uncordon", Risk.low, True),
    ActionClass("alert", Risk.low, True),
)
TABLE: Final[dict[str, ActionClass]] = {row.name: row for row in _ROWS}
UNKNOWN: Final = ActionClass("unknown", Risk.high, False, asks=True)


def classify(facts: Facts, action: Action) -> ActionClass:
    """The row of an action, as the state is now."""
    return TABLE.get(_name(facts, action), UNKNOWN)


def _name(facts: Facts, action: Action) -> str:
    match action:
        case Scale():
            pool = facts.pools.get(action.pool)
            return "shrinking" if pool is not None and action.workers < pool.target else "growing"
        case Reschedule(change="start_at"):
            return "start time"
        case Reschedule():
            return action.change
        case Reroute():
            return "reroute of a job" if action.job else "reroute of a class"
    return str(action.__struct_config__.tag)
