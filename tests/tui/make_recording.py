"""Writes `data/recording.json`, the busy moment of pictures and goldens: `python -m tests.tui.make_recording`.

Everything in it is invented and computed without chance, and checked against the wire documents when it is written.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from agentorch.schemas.documents import JobDocument
from agentorch.schemas.supervision import DecisionDocument, ForeseenDocument, SnapshotDocument
from tests.tui.recorded_branch import branches
from tests.tui.recorded_supervision import CALIBRATION, decisions, log, proposals
from tests.tui.recorded_twin import foreseen

NOW = 1_772_808_761.0  # 2026-03-06 14:52:41 UTC
FILE = Path(__file__).parent / "data" / "recording.json"
GB = 1_000_000_000
POINTS = 120

#        name        gpus workers max  running queued util p50  p95 price region  executor
POOLS = (
    ("h100-train", 8, 4, 4, 14, 41, 90.0, 96.0, 252.0, 31.2, "eu-west", "ray"),
    ("a10-serve", 1, 6, 8, 6, 3, 58.0, 2.0, 9.0, 1.1, "eu-west", "ray"),
    ("l4-batch", 1, 4, 8, 2, 0, 22.0, 0.0, 4.0, 0.7, "eu-west", "ray"),
    ("cpu-local", 0, 2, 2, 9, 12, 46.0, 8.0, 31.0, 0.0, "here", "local"),
    ("burst-eu", 8, 0, 4, 0, 0, 0.0, 0.0, 0.0, None, "eu-north", "ray"),
)
NAMES = ("embed-docs", "infer-batch", "ocr-sweep", "rlhf-ppo", "train-llama", "eval-suite", "sft-qwen-13b")
TENANTS = ("ads", "search", "vision", "core")
CAUSES = (
    ("no_capacity", "no room: waits for 2 gpus in h100-train"),
    ("priority", "14 jobs of search go first"),
    ("quota", "tenant search runs 8 of 8"),
    ("budget", "budget: core has $2.10 left, it needs $6.24"),
)


def wave(index: int, speed: float, phase: float = 0.0) -> float:
    """Between 0 and 1, rough enough to look measured."""
    smooth = 0.5 + 0.5 * math.sin(index * speed + phase)
    return 0.85 * smooth + 0.15 * (0.5 + 0.5 * math.sin(index * 2.7 + phase * 3))


def pools() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "executor": executor,
            "workers": workers,
            "available": max(0, workers - (name == "a10-serve")),
            "busy": min(running, workers),
            "target": workers + (name == "a10-serve"),
            "min_workers": 0,
            "max_workers": largest,
            "cpus": 96.0 if gpus == 8 else 32.0,
            "memory_bytes": (960 if gpus == 8 else 128) * GB,
            "gpus": gpus,
            "price_usd_per_hour": price,
            "region": region,
            "spot": name == "l4-batch",
            "queued": queued,
            "running": running,
            "utilization_percent": util,
            "wait_s_p50": p50,
            "wait_s_p95": p95,
            "telemetry_age_s": 1.5,
            "target_wait_s": 180.0 if gpus == 8 else 60.0,
        }
        for name, gpus, workers, largest, running, queued, util, p50, p95, price, region, executor in POOLS
    ]


def workers() -> list[dict[str, Any]]:
    made = []
    for pool in pools():
        for number in range(pool["workers"]):
            name = f"{pool['name']}-{number}"
            busy = number * 2 < pool["running"]
            made.append(
                {
                    "id": name,
                    "pool": pool["name"],
                    "node": f"node-{len(made)}",
                    "state": "up",
                    "cpus": pool["cpus"],
                    "memory_bytes": pool["memory_bytes"],
                    "gpus": pool["gpus"],
                    "devices": devices_of(name, pool["gpus"]),
                    "free_cpus": pool["cpus"] * (0.125 if busy else 1.0),
                    "free_gpus": pool["gpus"] // (8 if busy else 1),
                    "free_memory_bytes": pool["memory_bytes"] // (4 if busy else 1),
                    "jobs": [f"job-{20 + len(made)}"] if busy else [],
                }
            )
    made[5] |= {"cordoned": True, "cordon_reason": "ECC errors, mira looks at it"}
    made[9]["state"] = "down"
    return made


def devices_of(worker: str, gpus: int) -> list[str]:
    return [f"{worker}/gpu{index}" for index in range(gpus)] or [f"{worker}/cpu"]


def devices() -> list[dict[str, Any]]:
    made = []
    for worker in workers():
        for index, name in enumerate(worker["devices"]):
            load = 100 * wave(index * 7 + len(made), 0.3)
            gpu = worker["gpus"] > 0
            made.append(
                {
                    "id": name,
                    "kind": "gpu" if gpu else "cpu",
                    "node": worker["node"],
                    "age_s": 1.5,
                    "name": ("H100 80GB" if worker["gpus"] == 8 else "A10 24GB") if gpu else "32 cores",
                    "utilization_percent": load,
                    "memory_used_bytes": int(load * 0.7) * GB,
                    "memory_total_bytes": 80 * GB,
                    "temperature_c": 41 + load * 0.44 if gpu else None,
                    "power_watts": 90 + load * 5.5 if gpu else None,
                    "power_limit_watts": 700.0 if gpu else None,
                    "history": [[NOW - 60 + 3 * at, 100 * wave(at + index * 5, 0.35)] for at in range(20)],
                }
            )
    made[3] |= {"utilization_percent": None, "memory_used_bytes": None, "age_s": None, "error": "NVML: GPU is lost"}
    return made


def jobs() -> list[dict[str, Any]]:
    made = []
    for index in range(320):
        state = ("running", "queued", "queued", "running", "held", "succeeded", "queued", "failed", "running")[
            index * 5 % 9
        ]
        waiting = state in ("queued", "held")
        cause, text = CAUSES[index % 3 if state == "queued" else 3]
        pool = POOLS[index * 3 % 4][0]
        worker = f"{pool}-{index % 2}"
        started = None if waiting else NOW - 900 - 13 * (index % 40)
        ended = started + 400 + index if started is not None and state in ("succeeded", "failed") else None
        run_s = (ended or NOW) - started if started is not None else 0.0
        cost = round((index * 37 % 390) / 10 + 0.53, 2) if not waiting else 0.0
        job: dict[str, Any] = {
            "id": f"job-{index}",
            "name": f"{NAMES[index * 5 % 7]}-{index}",
            "tenant": TENANTS[index * 3 % 4],
            "tier": ("standard", "batch", "flex")[index % 3],
            "state": state,
            "priority": index * 10 % 100,
            "command": ["python", "train.py", "--config", f"configs/{index}.yaml", "--resume"],
            "pool": None if waiting and index % 2 else pool,
            "worker": None if waiting else worker,
            "reason": {"code": cause, "text": text} if waiting else None,
            "attempt": 0 if waiting else 1 + index % 2,
            "submitted_at": NOW - 1500 - 17 * index,
            "started_at": started,
            "ended_at": ended,
            "run_s": run_s,
            "wait_s": float(index * 29 % 600) if waiting else float(index % 50),
            "cost_usd": cost,
            "progress_percent": float(index * 37 % 100) if state == "running" else None,
            "progress_message": f"step {index * 37 % 100}00 of 10000" if state == "running" else "",
            "resources": {"gpus": (2, 4, 0, 1, 8)[index % 5], "cpus": 8.0, "memory_bytes": 64 * GB},
            "labels": {"team": TENANTS[index % 4]},
        }
        if state in ("succeeded", "failed"):
            job |= {"exit_code": 0 if state == "succeeded" else 1, "cause": "done" if state == "succeeded" else "error"}
        if not waiting:
            job["attempts"] = attempts(job)
        made.append(job)
    return made


def attempts(job: dict[str, Any]) -> list[dict[str, Any]]:
    last = {
        "number": job["attempt"],
        "worker": job["worker"],
        "pool": job["pool"],
        "devices": ["gpu0", "gpu1"],
        "started_at": job["started_at"],
        "ended_at": job["ended_at"],
        "exit_code": job.get("exit_code"),
        "cause": job.get("cause"),
        "cpu_s": 1234.0,
        "memory_peak_bytes": 21 * GB,
        "cost_usd": job["cost_usd"] / 2,
    }
    if job["attempt"] == 1:
        return [last]
    first = last | {
        "number": 1,
        "started_at": job["started_at"] - 700,
        "ended_at": job["started_at"] - 60,
        "exit_code": None,
        "signal": 9,
        "cause": "oom",
        "message": "the kernel ended it: 64 GB were not enough, next try with 96 GB",
    }
    return [first, last]


def history() -> dict[str, Any]:
    at = [NOW - 5.0 * (POINTS - 1 - index) for index in range(POINTS)]
    rise = [1 / (1 + math.exp(-(index - 45) / 14)) for index in range(POINTS)]
    h100 = [40 + 215 * rise[index] + 22 * wave(index, 0.5) - (30 if index > 110 else 0) for index in range(POINTS)]
    spent = [402 + 108 * index / POINTS for index in range(POINTS)]
    return {
        "at": at,
        "queued": [int(18 + 42 * rise[index] + 6 * wave(index, 0.6)) for index in range(POINTS)],
        "running": [int(22 + 8 * wave(index, 0.12)) for index in range(POINTS)],
        "wait_s_p95": h100,
        "utilization_percent": [52 + 30 * wave(index, 0.08, 1.0) for index in range(POINTS)],
        "spent_usd": spent,
        "burn_usd_per_hour": [30 + 10 * rise[index] + 2 * wave(index, 0.3) for index in range(POINTS)],
        "pool_wait_s_p95": {
            "h100-train": h100,
            "a10-serve": [6 + 8 * wave(index, 0.2, 2.0) for index in range(POINTS)],
            "l4-batch": [4 * wave(index, 0.15, 1.0) for index in range(POINTS)],
            "cpu-local": [20 + 24 * wave(index, 0.1, 3.0) for index in range(POINTS)],
            "burst-eu": [None] * POINTS,
        },
    }


BUDGETS = (
    ("search", 400.0, 318.4, 22.0, 14.3, 20_500.0, 0),
    ("vision", 300.0, 121.0, 8.0, 9.1, 70_300.0, 0),
    ("core", 60.0, 57.9, 0.0, 3.2, 2_360.0, 6),
    ("ads", 100.0, 12.4, 1.5, 0.4, None, 0),
)


def snapshot(all_jobs: list[dict[str, Any]]) -> dict[str, Any]:
    waiting, settled = proposals(NOW)
    return {
        "seq": 18_431,
        "at": NOW - 0.4,
        "server_time": NOW,
        "server": "agentorch 0.1.0",
        "read_only": False,
        "last_seq": 18_431,
        "head_hash": "9f2c4b81d07e55aa31c6e0f4",
        "key_roles": ["submit", "view", "approve", "admin"],
        "mode": {"mode": "guarded", "by": "mira", "brain": "rules/v3"},
        "queued": 56,
        "running": 31,
        "held": 4,
        "finished": {"succeeded": 812, "failed": 9, "cancelled": 3},
        "utilization_percent": 74.0,
        "gpu_utilization_percent": 62.0,
        "wait_s_p95": 252.0,
        "spent_usd": 509.7,
        "burn_usd_per_hour": 40.1,
        "submitted_total": 915,
        "pools": pools(),
        "workers": workers(),
        "devices": devices(),
        "tenants": [{"name": name, "weight": 100} for name in TENANTS],
        "budgets": [
            {
                "tenant": tenant,
                "hard_cap_usd": cap,
                "spent_usd": spent,
                "reserved_usd": reserved,
                "burn_usd_per_hour": burn,
                "exhausted_in_s": left,
                "blocked_jobs": blocked,
            }
            for tenant, cap, spent, reserved, burn, left, blocked in BUDGETS
        ],
        "approvals": waiting,
        "decided": settled,
        "log": log(NOW),
        "recent_jobs": all_jobs[:14],
        "history": history(),
        "alerts": [{"at": NOW - 300, "code": "brain", "text": "the brain timed out", "by": "system"}],
        "truncated": {"log": 5_812},
    }


def explanation() -> dict[str, Any]:
    return {
        "job": "job-1",
        "state": "queued",
        "reason": {"code": "no_capacity", "text": CAUSES[0][1]},
        "position": 14,
        "predicates": [
            {"code": "not_before", "ok": True, "text": "it may start now"},
            {"code": "budget", "ok": True, "text": "the budget of search covers $12.48"},
        ],
        "pools": [
            {
                "pool": "h100-train",
                "ok": False,
                "predicates": [
                    {"code": "region", "ok": True, "text": "region eu-west is allowed"},
                    {"code": "room", "ok": False, "text": "no worker has 4 free gpus: the best has 1"},
                ],
            },
            {
                "pool": "cpu-local",
                "ok": False,
                "predicates": [{"code": "gpus", "ok": False, "text": "its workers have no gpu"}],
            },
        ],
    }


def timeline() -> list[dict[str, Any]]:
    rows = (
        (17_022, -1500, "job-submitted", "submitted by key search-ci"),
        (17_310, -1210, "job-started", "attempt 1 ordered on h100-train-0"),
        (17_313, -1208, "attempt-running", "attempt 1 runs"),
        (17_790, -960, "attempt-ended", "attempt 1 ended: signal 9, out of memory"),
        (17_791, -960, "job-requeued", "queued again with 96 GB"),
        (17_802, -913, "job-started", "attempt 2 ordered on h100-train-0"),
    )
    return [{"seq": seq, "at": NOW + ago, "event": event, "text": text} for seq, ago, event, text in rows]


def logs() -> str:
    rows = ["loading shards 128/128", "model 13.0 B parameters, bf16, 2 x H100"]
    rows += [
        f"step {step:>6}  loss {4.2 / (1 + step / 900):.4f}  lr 3.0e-05  {2870 + step % 37} tok/s"
        for step in range(0, 3700, 20)
    ]
    return "\n".join([*rows, "checkpoint written: ckpt-003700", ""])


def recording() -> dict[str, Any]:
    all_jobs = jobs()
    detailed = {"job-9", "job-1"}
    for job in all_jobs:
        if job["id"] in detailed:
            job["spec"] = {
                "name": job["name"],
                "workdir": "/srv/llm",
                "env": {"NCCL_DEBUG": "WARN"},
                "resources": job["resources"],
                "max_duration": "6h",
                "retry": {"on": ["oom"], "attempts": 3},
                "checkpoint": {"path": "ckpt", "every": "10m"},
            }
    made = {
        "snapshot": snapshot(all_jobs),
        "jobs": all_jobs,
        "explain": {"job-1": explanation()},
        "logs": {job["id"]: logs() for job in all_jobs if job["id"] in detailed or job["id"] == "job-0"},
        "job_events": {name: timeline() for name in detailed},
        "decisions": decisions(NOW),
        "calibration": CALIBRATION,
        "foreseen": foreseen(NOW),
        "branches": branches(NOW),
    }
    SnapshotDocument.model_validate(made["snapshot"])
    for job in all_jobs:
        JobDocument.model_validate(job)
    for one in made["foreseen"]:
        ForeseenDocument.model_validate(one)
    for decision in made["decisions"]:
        DecisionDocument.model_validate(decision)
    return made


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(recording(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
