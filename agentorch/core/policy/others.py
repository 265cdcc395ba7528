"""Problems of jobs, workers and tenants: deadlines, workers that fail again and again, budgets that run out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from agentorch.core.policy.options import OTHER_POOLS, Kind, Option, Problem
from agentorch.core.policy.words import numbers
from agentorch.model.observation import JobFacts, Observation, TenantFacts, WorkerFacts
from agentorch.model.proposals import Alert, Cordon, Reroute, Reschedule

DEADLINE_SLACK_S: Final = 300.0  # a queued job with less time to spare than this is hurried
PRIORITY_STEP: Final = 20
PRIORITY_MAX: Final = 100
HURRIED_PER_CYCLE: Final = 2
BUDGET_NEARLY_USED_PERCENT: Final = 90


# -- jobs


def late_jobs(observation: Observation) -> Iterator[Problem]:
    """Queued jobs that will hardly meet their deadline, the tightest first."""
    tight = []
    for job in observation.queued:
        slack_s = None if job.deadline_in_s is None else job.deadline_in_s - (job.remaining_s or 0.0)
        if slack_s is not None and 0 <= slack_s < DEADLINE_SLACK_S and job.state == "queued":
            tight.append((slack_s, job))
    tight.sort(key=lambda item: (item[0], item[1].id))
    for slack_s, job in [item for item in tight if item[1].priority < PRIORITY_MAX][:HURRIED_PER_CYCLE]:
        yield Problem(
            kind=Kind.waiting,
            options=tuple(_faster(observation, job, slack_s)),
            nothing="do nothing: the deadline is likely missed",
            pool=job.pool,
        )


def _faster(observation: Observation, job: JobFacts, slack_s: float) -> Iterator[Option]:
    """Before others of its tier by some, or by all; or elsewhere."""
    length = "unknown" if job.remaining_s is None else f"{job.remaining_s:.0f} s"
    reason = f"{job.id} must start within {slack_s:.0f} s to meet its deadline; it has waited {job.wait_s:.0f} s."
    facts = f"{job.id}: deadline in {job.deadline_in_s:.0f} s, takes {length}, priority {job.priority}, {job.reason}"
    some = min(PRIORITY_MAX, job.priority + PRIORITY_STEP)
    for priority in dict.fromkeys((some, PRIORITY_MAX)):
        yield Option(
            action=Reschedule(job=job.id, change="priority", priority=priority),
            text=f"raise {job.id} to priority {priority}",
            reason=reason,
            evidence=(facts,),
            blind=priority == some,
        )
    idle = (pool for pool in observation.pools if pool.idle and not pool.paused and not pool.protected)
    others = (pool for pool in idle if pool.name != job.pool and pool.name in job.pools)
    for pool in islice(others, OTHER_POOLS):
        yield Option(
            action=Reroute(pool=pool.name, job=job.id),
            text=f"reroute {job.id} to {pool.name}",
            reason=f"{reason} {pool.name} has {pool.idle} idle workers.",
            evidence=(facts, numbers(pool)),
            blind=False,
        )


# -- workers


def sick_workers(observation: Observation) -> Iterator[Problem]:
    """Cordon what fails again and again; where everything fails the fault is elsewhere, and nothing is cordoned."""
    workers = [worker for worker in observation.workers if worker.state == "up"]
    least = observation.guardrails.worker_failures_cordon
    sick = [worker for worker in workers if worker.failures >= least or worker.health != "ok"]
    if len(sick) == len(workers):
        return
    for worker in sick:
        if not worker.cordoned and worker.failures >= least:
            yield Problem(
                kind=Kind.plain, options=(_cordon(worker),), nothing="do nothing: more attempts would be lost there"
            )


def _cordon(worker: WorkerFacts) -> Option:
    return Option(
        action=Cordon(worker=worker.id),
        text=f"cordon {worker.id}",
        reason=f"{worker.failures} attempts in a row ended on {worker.id} by no fault of the jobs.",
        evidence=(f"{worker.id} of {worker.pool}: {worker.failures} failures in a row, {worker.running} jobs running",),
    )


# -- tenants


def budgets(observation: Observation) -> Iterator[Problem]:
    """Tell once an hour of each budget that is nearly used."""
    for tenant in observation.tenants:
        text = _budget_text(tenant)
        head = text.split(":", 1)[0]
        if text and not any(said.startswith(f"{head}:") for said in observation.alerted):
            counts = f"{tenant.queued} queued, {tenant.running} running, {tenant.budget_blocked} blocked"
            told = Option(
                action=Alert(text=text), text="tell people", reason=text, evidence=(f"{tenant.name}: {counts}",)
            )
            yield Problem(
                kind=Kind.plain,
                options=(told,),
                nothing="do nothing: starts are refused at the cap, and running work is stopped there",
            )


def _budget_text(tenant: TenantFacts) -> str:
    cap = tenant.hard_cap_usd_micros
    if cap is None:
        return ""
    used, burn = tenant.spent_usd_micros + tenant.reserved_usd_micros, tenant.burn_usd_micros_per_hour
    nearly = used * 100 >= cap * BUDGET_NEARLY_USED_PERCENT and (tenant.queued or tenant.running)
    if not nearly and not tenant.budget_blocked and (not burn or (cap - used) >= burn):
        return ""
    return (
        f"Budget of {tenant.name} is nearly used: ${used / 1e6:.2f} of ${cap / 1e6:.2f} spent or reserved, "
        f"${burn / 1e6:.2f} an hour, {tenant.budget_blocked} jobs blocked"
    )
