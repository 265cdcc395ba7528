"""Everything that a screen shows but job pages and logs, as of one ledger sequence."""

from __future__ import annotations

import heapq
from typing import Any

from agentorch.api.access import Caller, Permission
from agentorch.api.views.fleet import (
    budget_document,
    device_document,
    pool_document,
    tenant_document,
    worker_document,
)
from agentorch.api.views.jobs import job_document
from agentorch.api.views.supervision import history_document, mode_document, proposal_document
from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.jobs import WAITING, Job
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import OPEN_STATES, Proposal, ProposalState
from agentorch.model.units import seconds, usd
from agentorch.runtime.source import Source
from agentorch.schemas.documents import AlertDocument, PoolDocument
from agentorch.schemas.supervision import HistoryDocument, LogLine, SnapshotDocument

#: A list longer than this is cut, and `truncated` says so.
ROWS_MAX = 500
RECENT_JOBS = 20
DEVICE_HISTORY_POINTS = 60


def snapshot_document(
    state: State, source: Source, caller: Caller, *, brain: str, log: list[LogLine], server: str
) -> SnapshotDocument:
    """What the caller may see of it: a key bound to a tenant gets its own jobs and money, and no supervision."""
    facts = state.facts
    now_ms = source.now_ms()
    watches = caller.may(Permission.supervisor_read)
    pools = [pool_document(state, pool, now_ms) for pool in facts.pools.values()]
    devices = source.devices()
    tenants = [tenant for name, tenant in facts.tenants.items() if caller.sees(name)]
    approvals, decided = _proposals(facts, now_ms) if watches else ([], [])
    budgets = [budget_document(state, tenant, now_ms) for tenant in tenants[:ROWS_MAX]]
    lists: dict[str, int] = {"workers": len(facts.workers), "tenants": len(tenants), "budgets": len(tenants)}
    lists |= {"devices": len(devices), "pools": len(pools)}
    return SnapshotDocument(
        seq=facts.seq,
        at=seconds(facts.at_ms),
        server_time=seconds(now_ms),
        server=server,
        read_only=source.read_only,
        last_seq=max(source.last_seq, facts.seq) if not source.read_only else source.last_seq,
        head_hash=source.head_hash,
        key_roles=[str(role) for role in caller.roles],
        mode=mode_document(facts, brain),
        **_counts(facts, tenants if caller.tenant else None),
        utilization_percent=_utilization(pools),
        gpu_utilization_percent=_gpu_utilization(devices),
        wait_s_p95=max((pool.wait_s_p95 for pool in pools), default=0.0),
        spent_usd=sum(budget.spent_usd for budget in budgets) if caller.tenant else usd(facts.spent_usd_micros),
        burn_usd_per_hour=sum(budget.burn_usd_per_hour for budget in budgets),
        pools=pools[:ROWS_MAX],
        workers=[worker_document(state, worker, caller) for worker in _first(facts.workers, ROWS_MAX)],
        devices=[
            device_document(state, one, now_ms, source.device_history(one.id)[-DEVICE_HISTORY_POINTS:])
            for one in devices[:ROWS_MAX]
        ],
        tenants=[tenant_document(tenant) for tenant in tenants[:ROWS_MAX]],
        budgets=budgets,
        approvals=[proposal_document(facts, proposal) for proposal in approvals],
        decided=[proposal_document(facts, proposal) for proposal in decided],
        log=log if watches else [],
        recent_jobs=[job_document(state, job, now_ms) for job in _recent_jobs(facts, caller)],
        alerts=_alerts(facts) if watches else [],
        history=history_document(facts.history) if watches else HistoryDocument(),
        truncated={name: count for name, count in lists.items() if count > ROWS_MAX},
    )


def _first(table: dict[str, Any], limit: int) -> list[Any]:
    return [value for _, value in zip(range(limit), table.values(), strict=False)]


def _counts(facts: Facts, tenants: list[Any] | None) -> dict[str, Any]:
    """Jobs by where they stand; of some tenants only when given."""
    if tenants is None:
        running, held = len(facts.running), len(facts.held)
        finished = dict(facts.ended_by_state)
        waiting = sum(tenant.queued for tenant in facts.tenants.values())
        return {
            "queued": max(0, waiting - held),
            "running": running,
            "held": held,
            "finished": finished,
            "submitted_total": facts.next_job - 1,
        }
    names = {tenant.spec.name for tenant in tenants}
    held = sum(1 for name in facts.held if facts.jobs[name].tenant in names)
    queued, running = sum(tenant.queued for tenant in tenants), sum(tenant.running for tenant in tenants)
    finished_total = sum(tenant.finished for tenant in tenants)
    return {
        "queued": max(0, queued - held),
        "running": running,
        "held": held,
        "finished": {},
        "submitted_total": queued + running + finished_total,
    }


def _utilization(pools: list[PoolDocument]) -> float:
    """Of all workers, weighted by how many a pool has."""
    workers = sum(pool.available for pool in pools)
    return sum(pool.utilization_percent * pool.available for pool in pools) / workers if workers else 0.0


def _gpu_utilization(devices: tuple[DeviceSample, ...]) -> float | None:
    read = [one.utilization_percent for one in devices if one.kind == "gpu" and one.utilization_percent is not None]
    return sum(read) / len(read) if read else None


def _proposals(facts: Facts, now_ms: int) -> tuple[list[Proposal], list[Proposal]]:
    """(open, soonest expiry first; settled in the last hour, newest first)."""
    unsettled = [facts.proposals[name] for name in facts.unsettled if name in facts.proposals]
    approvals = sorted(
        (one for one in unsettled if one.state is ProposalState.open), key=lambda one: (one.expires_ms, one.id)
    )
    since_ms = now_ms - limits.HOUR_MS
    decided: list[Proposal] = []
    for proposal in reversed(facts.proposals.values()):
        if proposal.created_ms < since_ms - limits.APPROVAL_TTL_MAX_MS or len(decided) >= ROWS_MAX:
            break
        if proposal.state not in OPEN_STATES and (_settled_ms(proposal)) >= since_ms:
            decided.append(proposal)
    return approvals, sorted(decided, key=_settled_ms, reverse=True)


def _settled_ms(proposal: Proposal) -> int:
    if proposal.ended_ms is not None:
        return proposal.ended_ms
    return proposal.answer.at_ms if proposal.answer is not None else proposal.created_ms


def _recent_jobs(facts: Facts, caller: Caller) -> list[Job]:
    """Newest activity first: of the newest started, ended and submitted."""
    found: dict[str, Job] = {}
    for index in (facts.running, facts.finished, facts.jobs):
        taken = 0
        for looked, name in enumerate(reversed(index)):
            job = facts.jobs.get(name)
            if job is not None and caller.sees(job.tenant):
                found[name] = job
                taken += 1
            if taken >= RECENT_JOBS or looked >= 20 * RECENT_JOBS:
                break
    return heapq.nlargest(RECENT_JOBS, found.values(), key=lambda job: (_active_ms(job), job.number))


def _active_ms(job: Job) -> int:
    if job.ended_ms is not None:
        return job.ended_ms
    attempt = job.attempt
    if attempt is not None and job.state not in WAITING:
        return attempt.started_ms or attempt.ordered_ms
    return job.queued_ms


def _alerts(facts: Facts) -> list[AlertDocument]:
    """Newest first."""
    return [
        AlertDocument(at=seconds(one.at_ms), code=one.code, text=one.text, by=one.by) for one in reversed(facts.alerts)
    ]
