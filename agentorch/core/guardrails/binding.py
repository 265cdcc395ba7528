"""G17 fresh state: what an answer is bound to. A hash of the action, of the facts about its target that the judgement
rested on, of the rules' version and of the expiry.

Volatile numbers (waits, queue lengths, telemetry) are left out on purpose: an approval would never stay valid. The
guardrails look at those again at execution.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from agentorch.core.canonical import canonical
from agentorch.core.demand import standing_workers
from agentorch.core.facts import RULES_VERSION, Facts
from agentorch.model.proposals import Action, Alert, Cordon, Reroute, Reschedule, Scale, Uncordon


def fingerprint(facts: Facts, action: Action) -> str:
    """Of the facts about the target, as hex."""
    return _digest(_basis(facts, action))


def proposal_hash(action: Action, fingerprint: str, expires_ms: int) -> str:
    """What a person says yes to, as hex."""
    return _digest([msgspec.to_builtins(canonical(action)), fingerprint, RULES_VERSION, expires_ms])


def _digest(value: Any) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _basis(facts: Facts, action: Action) -> list[Any]:
    match action:
        case Scale():
            return [_pool(facts, action.pool)]
        case Reschedule():
            return [_job(facts, action.job)]
        case Reroute():
            about = _job(facts, action.job) if action.job else _pool(facts, action.from_pool)
            return [about, _pool(facts, action.pool)]
        case Cordon() | Uncordon():
            return [_worker(facts, action.worker)]
        case Alert():
            return []


def _pool(facts: Facts, name: str) -> list[Any] | None:
    pool = facts.pools.get(name)
    if pool is None:
        return None
    spec = pool.spec
    bounds = [spec.min_workers, spec.max_workers, spec.price_usd_micros_per_hour, spec.protected]
    return [name, len(standing_workers(facts, pool)), pool.target, pool.paused, *bounds]


def _job(facts: Facts, name: str) -> list[Any] | None:
    job = facts.jobs.get(name)
    if job is None:
        return None
    place = [job.route_pool, job.attempts_made, job.held_by, job.not_before_ms]
    return [name, job.state, job.priority, *place]


def _worker(facts: Facts, name: str) -> list[Any] | None:
    worker = facts.workers.get(name)
    return (
        None
        if worker is None
        else [name, worker.pool, worker.state, worker.cordoned, worker.cordon_reason, worker.broken]
    )
