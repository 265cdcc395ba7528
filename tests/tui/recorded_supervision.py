"""The supervisor's part of the recording: proposals, their decisions and the log."""

from __future__ import annotations

from typing import Any

from tests.tui.recorded_twin import note, preempt_impact, scale_impact, serve_impact, serve_score

RULES_VERSION = 3
CALIBRATION = [
    {"brain": "rules/v3", "kind": "scale", "scored": 128, "inside": 104},
    {"brain": "gpt-oss-120b", "kind": "scale", "scored": 44, "inside": 23},
    {"brain": "rules/v3", "kind": "reschedule", "scored": 36, "inside": 30},
]


def _proposal(now: float, name: str, **fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": name,
        "cycle": 941,
        "brain": "rules/v3",
        "state": "open",
        "reversible": True,
        "ruling": "ask",
        "proposal_hash": f"hash-of-{name}",
        "rules_version": RULES_VERSION,
        "judged_seq": 18_422,
        "created_at": now - 180,
        "expires_at": now + 184,
        "reason": "",
        "command": f"agentorch approve {name}",
    }
    return base | fields


def proposals(now: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Open ones, soonest expiry first; settled ones, newest first."""
    return [_scale(now), _preempt(now), _cordon(now)], _settled(now)


def _scale(now: float) -> dict[str, Any]:
    return _proposal(
        now,
        "ap-3f9c",
        title="Scale burst-eu from 0 to 2 workers",
        kind="scale",
        target="pool:burst-eu",
        risk="high",
        action={"kind": "scale", "pool": "burst-eu", "workers": 2},
        before="0 workers",
        after="2 workers",
        expires_at=now + 47,
        created_at=now - 73,
        reason=(
            "The p95 wait of h100-train is 4m12s and rising; 9 of its 41 queued jobs will miss their deadline before "
            "15:40. Two workers in burst-eu clear the backlog in about 22 minutes."
        ),
        evidence=[
            "h100-train: p95 wait 252 s, target 180 s",
            "9 deadlines within the next 40 min",
            "burst-eu: 0 of 4 workers",
        ],
        impact=scale_impact(),
        notes=[
            note("G1", "allow", "a step of 2 is within max(2, 50 %)"),
            note("G5", "allow", "5 min since the last action on this target"),
            note("G7", "ask", "the cost rate would rise by $7.8/h, more than $5/h needs a person"),
        ],
        alternatives=[
            "do nothing: 9 deadline misses, $0",
            "preempt 2 jobs of l4-batch: 4 misses, $0",
            "scale by 1: 4 misses, +$3.9/h",
        ],
        affected_jobs=[f"job-{number}" for number in (1, 2, 6, 10, 12, 19, 21, 24, 28)],
        edit_fields={"workers": {"type": "int", "from": 1, "to": 2}},
    )


def _preempt(now: float) -> dict[str, Any]:
    return _proposal(
        now,
        "ap-3f9d",
        title="Preempt eval-suite-5 for sft-qwen-13b-12",
        kind="reschedule",
        target="job:job-5",
        risk="medium",
        action={"kind": "reschedule", "job": "job-5", "change": "preempt"},
        before="running",
        after="queued",
        reason="eval-suite-5 wrote a checkpoint 40 s ago and is preemptible; sft-qwen-13b-12 is due in 35 minutes.",
        evidence=["job-5: checkpoint 40 s old, flex tier"],
        affected_jobs=["job-5", "job-12"],
        impact=preempt_impact(),
        notes=[note("G8", "ask", "mode asks before a preemption"), note("G6", "allow", "1 of 14 jobs disturbed")],
    )


def _cordon(now: float) -> dict[str, Any]:
    return _proposal(
        now,
        "ap-3fa1",
        title="Cordon worker h100-train-3: one GPU is lost",
        kind="cordon",
        target="worker:h100-train-3",
        risk="low",
        action={"kind": "cordon", "worker": "h100-train-3"},
        before="takes work",
        after="takes nothing new",
        expires_at=now + 522,
        created_at=now - 78,
        brain="gpt-oss-120b",
        reason="NVML reports that a GPU of it is lost.",
        notes=[note("G16", "ask", "the pool is small: a person decides")],
    )


def _settled(now: float) -> list[dict[str, Any]]:
    mira = {"kind": "approve", "by": "mira", "at": now - 128}
    return [
        _proposal(
            now,
            "ap-3f88",
            title="Cordon worker a10-serve-1",
            kind="cordon",
            target="worker:a10-serve-1",
            risk="low",
            action={"kind": "cordon", "worker": "a10-serve-1"},
            state="done",
            answer=mira,
            ended_at=now - 127,
            outcome="a10-serve-1 takes nothing new; 1 job on it goes on",
            expires_at=now - 60,
            reason="ECC errors rise.",
        ),
        _proposal(
            now,
            "ap-3f80",
            title="Preempt train-llama-7",
            kind="reschedule",
            target="job:job-7",
            risk="medium",
            action={"kind": "reschedule", "job": "job-7", "change": "preempt"},
            state="rejected",
            ended_at=now - 420,
            answer={"kind": "reject", "by": "mira", "at": now - 420, "reason": "demo today"},
            expires_at=now - 60,
        ),
        _proposal(
            now,
            "ap-3f71",
            title="Scale l4-batch from 4 to 6 workers",
            kind="scale",
            target="pool:l4-batch",
            risk="low",
            action={"kind": "scale", "pool": "l4-batch", "workers": 6},
            state="expired",
            expires_at=now - 759,
        ),
    ]


#  seconds ago, actor, verb, text, status, cycle
_LOG = (
    (0, "agent", "scale", "a10-serve 5→6: p95 wait over target for 3 min", "ok", 941),
    (20, "system", "scored", "Grow a10-serve from 4 to 5 workers: 3 of 4 numbers came out as foreseen", "info", 929),
    (94, "guard", "deny", "scale h100-train 4→12: G1 a step of 8 is over max(2, 50 %)", "denied", 940),
    (128, "human", "approve", "ap-3f88 cordon a10-serve-1 (mira)", "ok", 939),
    (163, "agent", "reroute", "embed jobs → l4-batch: 62 % cheaper, target kept", "ok", 938),
    (261, "agent", "reschedule", "job-479 priority 20→10: tenant over its fair share", "ok", 936),
    (339, "system", "fallback", "brain timeout 8 s → rules/v3", "failed", 935),
    (420, "human", "reject", "ap-3f80 preempt train-llama-7 (mira): “demo today”", "denied", 933),
    (511, "agent", "hold", "no action: the queue drains, p95 falls", "hold", 931),
    (542, "agent", "scale", "burst-eu 2→0: idle for 15 min", "ok", 930),
    (686, "agent", "reschedule", "core at 96 % of its budget: batch jobs later", "ok", 927),
    (759, "system", "expire", "ap-3f71 scale l4-batch: nobody answered, nothing happened", "expired", 925),
    (837, "agent", "cordon", "h100-train-2 proposed: waits for a person", "pending", 923),
    (1130, "system", "start", "runtime started, epoch 12, 3 attempts found again", "info", None),
)


def log(now: float) -> list[dict[str, Any]]:
    rows = []
    for at, (ago, actor, verb, text, status, cycle) in enumerate(_LOG):
        rows.append(
            {
                "seq": 18_431 - 31 * at,
                "at": now - ago,
                "actor": actor,
                "verb": verb,
                "text": text,
                "status": status,
                "cycle": cycle,
            }
        )
    return rows


def decisions(now: float) -> list[dict[str, Any]]:
    observation = {
        "number": 941,
        "at_ms": int(now * 1000),
        "queued": 56,
        "running": 31,
        "wait_s_p95": 252.0,
        "pools": [
            {"name": "h100-train", "workers": 4, "queued": 41, "utilization_percent": 90.0},
            {"name": "a10-serve", "workers": 5, "queued": 3, "utilization_percent": 58.0},
        ],
        "budgets": {"search": {"cap_usd": 400, "spent_usd": 318.4}},
    }
    exchange = {
        "model": "gpt-oss-120b",
        "request": "You supervise a compute cluster.\nThe observation is …",
        "tokens_in": 4_210,
        "response": '{"action": {"kind": "scale", "pool": "a10-serve", "workers": 6}}',
        "tokens_out": 212,
        "took_s": 3.4,
    }
    done = _proposal(
        now,
        "ap-3fa2",
        title="Scale a10-serve from 5 to 6 workers",
        kind="scale",
        target="pool:a10-serve",
        risk="low",
        state="done",
        ruling="allow",
        action={"kind": "scale", "pool": "a10-serve", "workers": 6},
        outcome="6 workers wanted",
        impact=serve_impact(),
        score=serve_score(now),
        reason="The p95 wait is over its target for 3 minutes.",
        notes=[note("G1", "allow", "a step of 1 is within max(2, 50 %)")],
    )
    return [
        {
            "cycle": 941,
            "seq": 18_431,
            "at": now,
            "brain": "gpt-oss-120b",
            "took_s": 3.6,
            "observation_sha256": "5d2e9c41aa07b3f1",
            "observation": observation,
            "exchanges": [exchange],
            "proposals": [done, _scale(now)],
            "calibration": CALIBRATION[:2],
        },
        {
            "cycle": 931,
            "seq": 18_183,
            "at": now - 511,
            "brain": "rules/v3",
            "took_s": 0.02,
            "hold": "the queue drains, p95 falls",
        },
    ]
