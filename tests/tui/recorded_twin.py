"""What the twin said, in the recording: of proposals, of what people ask, and how it came out."""

from __future__ import annotations

from typing import Any

import msgspec

from agentorch.model.twin import Course, Impact, Measured, Range, Score


def note(rule: str, ruling: str, text: str) -> dict[str, str]:
    return {"rule": rule, "ruling": ruling, "text": text}


def _document(impact: Impact) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(impact)
    return built


def _exactly(value: float) -> Range:
    return Range(value, value, value)


def scale_impact() -> dict[str, Any]:
    rising = tuple(252 + 3.2 * at for at in range(40))
    falling = tuple(max(30.0, 252 - 5.4 * at) for at in range(40))
    idle = Course(
        wait_p95_s=Range(281.0, 341.0, 434.0),
        wait_p50_s=Range(96.0, 128.0, 171.0),
        queued=Range(38.0, 52.0, 67.0),
        ended=Range(71.0, 80.0, 92.0),
        misses=Range(7.0, 9.0, 12.0),
        cost_usd_micros=Range(25.9e6, 26.7e6, 27.4e6),
        utilization_percent=Range(88.0, 91.0, 94.0),
        waited_s=rising,
        pool_waited_s={"h100-train": rising},
    )
    acted = Course(
        wait_p95_s=Range(62.0, 96.0, 160.0),
        wait_p50_s=Range(11.0, 21.0, 44.0),
        queued=Range(4.0, 9.0, 19.0),
        ended=Range(102.0, 117.0, 131.0),
        misses=Range(0.0, 1.0, 3.0),
        cost_usd_micros=Range(30.8e6, 31.9e6, 32.7e6),
        utilization_percent=Range(84.0, 89.0, 93.0),
        waited_s=falling,
        pool_waited_s={"h100-train": falling},
    )
    gain = Range(5_840.0, 9_120.0, 13_400.0)
    return _document(Impact(horizon_s=2400.0, draws=32, steps=18_640, idle=idle, acted=acted, gain_s=gain))


def preempt_impact() -> dict[str, Any]:
    flat = tuple(252 + 1.1 * at for at in range(40))
    idle = Course(
        wait_p95_s=Range(281.0, 341.0, 434.0),
        misses=Range(7.0, 9.0, 12.0),
        waited_s=flat,
        queued=Range(38.0, 52.0, 67.0),
    )
    acted = Course(
        wait_p95_s=Range(279.0, 338.0, 436.0),
        misses=Range(6.0, 8.0, 11.0),
        queued=Range(38.0, 52.0, 67.0),
        preempted=_exactly(1.0),
        lost_s=_exactly(40.0),
        waited_s=tuple(value - 3 for value in flat),
    )
    gain = Range(-1_260.0, 118.0, 1_390.0)
    return _document(
        Impact(horizon_s=2400.0, draws=11, steps=20_000, stopped_early=True, idle=idle, acted=acted, gain_s=gain)
    )


def foreseen(now: float) -> list[dict[str, Any]]:
    """What the twin answers about actions that a person thinks of."""
    return [_foreseen_scale(now, workers) for workers in (1, 2, 3)] + [
        _foreseen(
            now,
            {"kind": "cordon", "worker": "a10-serve-0"},
            "worker:a10-serve-0",
            "Place nothing new on a10-serve-0",
            ("takes work", "cordoned"),
            _document(_small_cost()),
            [note("G16", "ask", "the pool is small: a person decides")],
        ),
        _foreseen(
            now,
            {"kind": "scale", "pool": "l4-batch", "workers": 4},
            "pool:l4-batch",
            "Shrink l4-batch from 4 to 4 workers",
            ("4 workers", "4 workers"),
            _document(Impact(text="l4-batch has 4 workers already")),
            [note("target", "deny", "l4-batch has 4 workers already")],
        ),
    ]


def _foreseen(
    now: float,
    action: dict[str, Any],
    target: str,
    title: str,
    change: tuple[str, str],
    impact: dict[str, Any],
    notes: list[dict[str, str]],
) -> dict[str, Any]:
    return {
        "action": action,
        "kind": action["kind"],
        "target": target,
        "title": title,
        "before": change[0],
        "after": change[1],
        "seq": 18_431,
        "at": now,
        "ruling": max((note["ruling"] for note in notes), key=("allow", "ask", "deny").index),
        "notes": notes,
        "impact": impact,
        "rests_on": "of 12 jobs nothing is known to tell how long they run: any length is drawn",
    }


def _foreseen_scale(now: float, workers: int) -> dict[str, Any]:
    impact = scale_impact()
    lasting = [max(30.0, 252 - 2.7 * workers * at) for at in range(12)]
    impact["acted"] |= {"waited_s": lasting, "pool_waited_s": {"h100-train": lasting}}
    impact["idle"] |= {"waited_s": impact["idle"]["waited_s"][:36:3]}
    impact["idle"]["pool_waited_s"] = {"h100-train": impact["idle"]["waited_s"]}
    return _foreseen(
        now,
        {"kind": "scale", "pool": "burst-eu", "workers": workers},
        "pool:burst-eu",
        f"Grow burst-eu from 0 to {workers} workers",
        ("0 workers", f"{workers} workers"),
        impact,
        [
            note("G1", "allow" if workers < 3 else "deny", f"a step of {workers}; at most max(2, 50 %)"),
            note("G7", "ask" if workers > 1 else "allow", f"the cost rate would rise by ${3.9 * workers:.1f}/h"),
        ],
    )


def _small_cost() -> Impact:
    idle = Course(wait_p95_s=Range(2.0, 9.0, 21.0), ended=Range(71.0, 80.0, 92.0), waited_s=(9.0,) * 12)
    acted = Course(wait_p95_s=Range(3.0, 11.0, 26.0), ended=Range(71.0, 80.0, 91.0), waited_s=(11.0,) * 12)
    return Impact(horizon_s=2400.0, draws=9, steps=9_210, idle=idle, acted=acted, gain_s=Range(-180.0, -31.0, 12.0))


def serve_impact() -> dict[str, Any]:
    idle = Course(wait_p95_s=Range(64.0, 80.0, 101.0), queued=Range(2.0, 4.0, 8.0), cost_usd_micros=_exactly(1.1e6))
    acted = Course(wait_p95_s=Range(8.0, 14.0, 31.0), queued=Range(0.0, 1.0, 3.0), cost_usd_micros=_exactly(1.3e6))
    gain = Range(410.0, 905.0, 1_600.0)
    return _document(Impact(horizon_s=600.0, draws=64, steps=9_112, idle=idle, acted=acted, gain_s=gain))


def serve_score(now: float) -> dict[str, Any]:
    measures = (
        Measured(measure="wait_p95_s", predicted=Range(8.0, 14.0, 31.0), measured=12.0),
        Measured(measure="queued", predicted=Range(0.0, 1.0, 3.0), measured=2.0),
        Measured(measure="cost_usd_micros", predicted=_exactly(1.3e6), measured=1.3e6),
        Measured(measure="ended", predicted=Range(31.0, 36.0, 42.0), measured=47.0),
    )
    built: dict[str, Any] = msgspec.to_builtins(Score(at_ms=int((now - 20) * 1000), measures=measures))
    return built
