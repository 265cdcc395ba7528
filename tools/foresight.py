"""The twin's answer as a model reads it: few numbers, rounded, and in words what they mean."""

from __future__ import annotations

from typing import Any, Final

from agentorch.model.twin import MEASURES, NOTHING, Course, Impact, Outlook, Range

HOW_TO_READ: Final = (
    "each number is [low, middle, high]: 10 %, 50 % and 90 % of the draws are not above it. gain_s is the waiting time "
    "saved, of all jobs together; a range with zero in it is noise. `changes` are against doing nothing, draw by draw"
)


def compact(outlook: Outlook) -> dict[str, Any]:
    """As JSON values: the course without action once, and of each action what it changes, in the order asked."""
    told: dict[str, Any] = {
        "horizon_s": _rounded(outlook.horizon_s),
        "draws": outlook.draws,
        "do_nothing": _course(outlook.idle),
        "actions": [_impact(impact) for impact in outlook.impacts],
        "how_to_read": HOW_TO_READ,
    }
    if outlook.stopped_early:
        told["stopped_early"] = "the budget was used up: fewer draws or a nearer horizon than wanted"
    if outlook.text:
        told["note"] = outlook.text
    return told


def _impact(impact: Impact) -> dict[str, Any]:
    if impact.acted is None or not impact.draws:
        return {"unknown": impact.text or "nothing was foreseen"}
    changes = {name: _range(impact.changed[name]) for name in MEASURES if _changes(impact, name)}
    told: dict[str, Any] = {"gain_s": _range(impact.gain_s), "changes": changes}
    if impact.text:
        told["note"] = impact.text
    return told


def _changes(impact: Impact, measure: str) -> bool:
    return impact.changed.get(measure, NOTHING) != NOTHING


def _course(course: Course) -> dict[str, list[float]]:
    found: dict[str, Range] = {name: getattr(course, name) for name in MEASURES}
    return {name: _range(value) for name, value in found.items() if value != NOTHING}


def _range(value: Range) -> list[float]:
    return [_rounded(value.low), _rounded(value.mid), _rounded(value.high)]


def _rounded(value: float) -> float:
    """To three digits that count; whole where nothing is lost by it."""
    short = float(f"{value:.3g}")
    return int(short) if short == int(short) else short
