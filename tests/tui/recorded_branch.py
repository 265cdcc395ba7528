"""A branch of the recording: what other rules would have made of the last quarter of an hour. Invented, no chance."""

from __future__ import annotations

import math
from typing import Any

from agentorch.schemas.replay import BranchDocument

POINTS = 160
BRAIN = "rules"
SETTINGS = {"pools.burst-eu.max_workers": "8"}


def branches(now: float) -> list[dict[str, Any]]:
    """The answers to one question asked again and again: it is driven, then it is done."""
    made = [
        {"state": "running", "done": 12, "total": 36},
        {"state": "done", "done": 36, "total": 36, "replay": replay(now)},
    ]
    for one in made:
        BranchDocument.model_validate(one)
    return made


def replay(now: float) -> dict[str, Any]:
    cycles = _cycles(now)
    same = sum(1 for cycle in cycles if cycle["same"])
    return {
        "ledger": "ledger.db",
        "head_hash": "9f2c4b81d07e55aa31c6e0f4",
        "brain": "rules/v2",
        "was_brains": {"rules/v3": 9, "gpt-oss-120b": 3},
        "settings": SETTINGS,
        "from_seq": 1,
        "to_seq": 18_431,
        "from_at": now - 1_130,
        "to_at": now,
        "cycles": cycles,
        "same": same,
        "different": len(cycles) - same,
        "summary": _summary(),
        "series": _series(now),
        "notes": [
            "31 jobs had not ended by themselves: they last as the forecast says at the end of the recording",
            "machines came and went as they did: another course can't have more of them",
        ],
    }


def _wanted(kind: str, target: str, title: str, ruling: str, state: str = "") -> dict[str, Any]:
    return {"kind": kind, "target": target, "title": title, "ruling": ruling, "state": state}


def _stance(brain: str, *actions: dict[str, Any], hold: str = "", error: str = "") -> dict[str, Any]:
    return {"brain": brain, "actions": list(actions), "hold": hold, "error": error}


def _range(mid: float) -> dict[str, float]:
    return {"low": 0.7 * mid, "mid": mid, "high": 1.4 * mid}


def _course(wait_s: float, late: float, cost: float) -> dict[str, Any]:
    return {"wait_p95_s": _range(wait_s), "misses": _range(late), "cost_usd_micros": _range(cost * 1e6)}


OLD, NEW = "rules/v3", "rules/v2"
#: cycle, seconds ago, what was, what would be, what the twin says of both
Row = tuple[int, int, dict[str, Any], dict[str, Any], dict[str, Any] | None]


def _early() -> list[Row]:
    quiet = "nothing waits longer than its pool wants"
    burst = _wanted("scale", "pool:burst-eu", "Grow burst-eu from 0 to 2 workers", "ask")
    return [
        *(
            (919 + at, 960 - 30 * at, _stance(OLD, hold=quiet), _stance(NEW, hold="all is well"), None)
            for at in range(4)
        ),
        (
            923,
            837,
            _stance(
                OLD, _wanted("cordon", "worker:h100-train-2", "Place nothing new on h100-train-2", "ask", "expired")
            ),
            _stance(NEW, _wanted("cordon", "worker:h100-train-2", "Place nothing new on h100-train-2", "ask")),
            None,
        ),
        (
            925,
            759,
            _stance(OLD, hold="the queue is short"),
            _stance(NEW, burst),
            {
                "horizon_s": 2400.0,
                "draws": 9,
                "idle": _course(252, 9, 26.7),
                "was": _course(252, 9, 26.7),
                "would": _course(96, 1, 31.9),
            },
        ),
        (
            927,
            686,
            _stance(OLD, _wanted("reschedule", "job:job-31", "Set priority of job-31 to 10", "allow", "done")),
            _stance(NEW, hold="core is near its cap, and nothing of it waits"),
            {"horizon_s": 2400.0, "draws": 9, "was": _course(241, 8, 26.2), "would": _course(241, 8, 26.2)},
        ),
    ]


def _late() -> list[Row]:
    serve = _wanted("scale", "pool:a10-serve", "Grow a10-serve from 5 to 6 workers", "allow", "done")
    burst = _wanted("scale", "pool:burst-eu", "Grow burst-eu from 0 to 2 workers", "ask")
    reroute = _wanted("reroute", "route:>l4-batch", "Send up to 4 embed jobs to l4-batch", "allow")
    return [
        (
            930,
            542,
            _stance(OLD, _wanted("scale", "pool:burst-eu", "Shrink burst-eu from 2 to 0 workers", "allow", "done")),
            _stance(NEW, hold="2 workers of burst-eu are idle, and the queue of h100-train grows"),
            {"horizon_s": 2400.0, "draws": 9, "was": _course(252, 9, 26.7), "would": _course(110, 2, 30.4)},
        ),
        (931, 511, _stance(OLD, hold="the queue drains, p95 falls"), _stance(NEW, hold="the queue drains"), None),
        (
            933,
            420,
            _stance(
                OLD,
                _wanted(
                    "reschedule", "job:job-7", "Preempt train-llama-7: it stops and waits again", "ask", "rejected"
                ),
            ),
            _stance(NEW, hold="no job that waits gains more than job-7 would lose"),
            None,
        ),
        (
            935,
            339,
            _stance("gpt-oss-120b", error="no answer within 8 s"),
            _stance(NEW, hold="nothing is over its target"),
            None,
        ),
        (938, 163, _stance(OLD, reroute | {"state": "done"}), _stance(NEW, reroute), None),
        (
            940,
            94,
            _stance(
                "gpt-oss-120b",
                _wanted("scale", "pool:h100-train", "Grow h100-train from 4 to 12 workers", "deny", "denied"),
            ),
            _stance(NEW, burst, _wanted("alert", "alert:h100", "Tell people: h100-train is full", "allow")),
            {"horizon_s": 2400.0, "draws": 9, "was": _course(318, 11, 26.7), "would": _course(131, 3, 32.5)},
        ),
        (941, 0, _stance(OLD, serve), _stance(NEW, serve | {"state": ""}), None),
    ]


def _cycles(now: float) -> list[dict[str, Any]]:
    same = {919, 920, 921, 922, 923, 931, 938, 941}
    return [
        {
            "cycle": cycle,
            "seq": 18_431 - 31 * (941 - cycle),
            "at": now - ago,
            "was": was,
            "would": would,
            "same": cycle in same,
            "predicted": predicted or {},
        }
        for cycle, ago, was, would, predicted in [*_early(), *_late()]
    ]


def _summary() -> list[dict[str, Any]]:
    rows = (
        ("wait_avg_s", "s", 96.0, 94.2, 51.7),
        ("wait_p50_s", "s", 41.0, 40.0, 22.0),
        ("wait_p95_s", "s", 252.0, 249.0, 141.0),
        ("wait_p99_s", "s", 406.0, 398.0, 233.0),
        ("succeeded", "jobs", 71.0, 71.0, 83.0),
        ("failed", "jobs", 2.0, 2.0, 2.0),
        ("cancelled", "jobs", 0.0, 0.0, 0.0),
        ("unfinished", "jobs", 91.0, 91.0, 79.0),
        ("deadlines_missed", "jobs", 9.0, 9.0, 2.0),
        ("preemptions", "jobs", 0.0, 0.0, 0.0),
        ("cost_usd", "usd", 509.7, 508.1, 531.4),
        ("cycles", "cycles", 10.0, 10.0, 10.0),
        ("actions", "proposals", 5.0, 5.0, 4.0),
        ("asked", "proposals", 2.0, 2.0, 3.0),
        ("denied", "proposals", 1.0, 1.0, 0.0),
    )
    return [
        {"measure": name, "unit": unit, "measured": measured, "was": was, "would": would, "difference": would - was}
        for name, unit, measured, was, would in rows
    ]


def _series(now: float) -> dict[str, list[float]]:
    rise = [1 / (1 + math.exp(-(at - 60) / 16)) for at in range(POINTS)]
    rough = [3.0 * math.sin(at * 0.7) * math.sin(at * 0.13) for at in range(POINTS)]
    was = [max(0.0, round(14 + 46 * rise[at] + rough[at])) for at in range(POINTS)]
    would = [max(0.0, round(14 + 46 * rise[at] * math.exp(-max(0, at - 60) / 55) + rough[at])) for at in range(POINTS)]
    running = [round(22 + 6 * math.sin(at * 0.12)) for at in range(POINTS)]
    return {
        "at": [now - 1_130 + 1_130 * at / (POINTS - 1) for at in range(POINTS)],
        "queued_measured": [value + (1 if at % 9 == 0 else 0) for at, value in enumerate(was)],
        "queued_was": was,
        "queued_would": would,
        "running_measured": [float(value) for value in running],
        "running_was": [float(value) for value in running],
        "running_would": [value + 6.0 * rise[at] for at, value in enumerate(running)],
    }
