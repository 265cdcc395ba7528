"""What the supervisor may never touch: G16 self-protection.

There is no action that changes guardrails, the mode, keys, budgets or the ledger, so what is left to refuse is
protected pools, and undoing without a person what a person did.
"""

from __future__ import annotations

from agentorch.core.guardrails.case import Case, ask, deny
from agentorch.model.health import HEALTH
from agentorch.model.proposals import Note, Reschedule, Uncordon

#: Whom the core writes down as the doer of an action; whoever it names can't answer an approval.
SUPERVISOR = "supervisor"


def is_supervisor(by: str) -> bool:
    """Whether this doer is the supervisor or a part of it."""
    return by.strip().lower().split("/")[0].split(":")[0] == SUPERVISOR


def self_protection(case: Case) -> Note | None:
    """G16: protected pools are out of reach; holds and cordons of people are lifted by people."""
    pools = {case.pool.spec.name} if case.pool is not None else set()
    pools.update(case.source_pools)
    if case.job is not None and case.job.attempt is not None and case.job.id in case.facts.running:
        pools.add(case.job.attempt.pool)
    for name in sorted(pools):
        pool = case.facts.pools.get(name)
        if pool is not None and pool.spec.protected:
            return deny("G16", f"pool {name} is protected")
    action, job, worker = case.action, case.job, case.worker
    resumes = isinstance(action, Reschedule) and action.change == "resume"
    if resumes and job is not None and job.held_by and not is_supervisor(job.held_by):
        return ask("G16", f"{job.held_by} holds {job.id}, and only a person lifts that")
    lifts = isinstance(action, Uncordon) and worker is not None
    if lifts and worker is not None and worker.broken:
        return deny("G16", f"{worker.id} was cordoned too often; only a person's repair brings it back")
    if lifts and worker is not None and worker.cordoned_by == HEALTH:
        return ask("G16", f"{worker.cordon_reason}; whoever lifts that must have looked at it")
    if lifts and worker is not None and not worker.cordon_reason.startswith(f"{SUPERVISOR}:"):
        return ask("G16", f"{worker.id} was not cordoned by the supervisor, and only a person lifts that")
    return None
