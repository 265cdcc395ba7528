"""Job documents: state, one ranked reason, attempts, explanation, plan."""

from __future__ import annotations

from typing import Any

import msgspec

from agentorch.core import fit
from agentorch.core.explain import Check, explain, reason
from agentorch.core.plan import Offer
from agentorch.core.prospect import Prospect, prospect
from agentorch.core.state import State
from agentorch.model.jobs import WAITING, Attempt, Constraints, EntryPoint, Job, JobSpec, Rank, Resources
from agentorch.model.units import seconds, seconds_or_none, usd, usd_or_none
from agentorch.schemas.documents import (
    AttemptDocument,
    ExplainDocument,
    JobDocument,
    OfferDocument,
    PlanDocument,
    PoolExplanation,
    PredicateDocument,
    RankDocument,
    ReasonDocument,
)


def job_document(state: State, job: Job, now_ms: int, *, whole: bool = False) -> JobDocument:
    """`whole` adds the full specification, what an entry point returned, and what is to be expected of it."""
    found = reason(state, job, now_ms)
    ahead = (prospect(state, job, now_ms) if whole else None) or _NOTHING
    attempt = job.attempt
    return JobDocument(
        id=job.id,
        name=job.spec.name,
        tenant=job.tenant,
        tier=job.spec.tier,
        state=job.state,
        reason=None if found is None else ReasonDocument(code=found[0], text=found[1]),
        priority=job.priority,
        command=list(job.spec.command),
        entry=entry_document(job.spec.entry),
        workers=job.spec.gang,
        pool=_pool(state, job),
        worker=attempt.worker if attempt is not None and job.state not in WAITING else None,
        attempt=job.attempts_made,
        attempts=[attempt_document(one) for one in job.attempts],
        exit_code=None if attempt is None else attempt.exit_code,
        cause=None if job.cause is None else str(job.cause),
        submitted_at=seconds(job.submitted_ms),
        started_at=seconds_or_none(job.started_ms),
        ended_at=seconds_or_none(job.ended_ms),
        deadline_at=seconds_or_none(job.deadline_ms),
        not_before_at=seconds(job.not_before_ms) if job.not_before_ms else None,
        wait_s=seconds(_wait_ms(job, now_ms)),
        run_s=seconds(_run_ms(job, now_ms)),
        cost_usd=usd(job.cost_usd_micros),
        cost_known=all(one.price_usd_micros_per_hour is not None for one in job.attempts),
        energy_j=_energy_j(job),
        progress_percent=job.progress_percent,
        progress_message=job.progress_message,
        checkpoint_at=seconds_or_none(job.checkpoint_ms),
        preemptible=job.spec.preemptible,
        resources=resources_document(job.resources),
        constraints=constraints_document(job.spec.constraints),
        labels=job.spec.labels,
        depends_on=list(job.spec.depends_on),
        predicted_start_p50_s=seconds_or_none(ahead.start_p50_ms),
        predicted_start_p90_s=seconds_or_none(ahead.start_p90_ms),
        predicted_end_p50_s=seconds_or_none(ahead.end_p50_ms),
        predicted_end_p90_s=seconds_or_none(ahead.end_p90_ms),
        predicted_duration_p50_s=seconds_or_none(ahead.duration_p50_ms),
        predicted_duration_p90_s=seconds_or_none(ahead.duration_p90_ms),
        predicted_text=forecast_text(ahead),
        result=msgspec.json.decode(attempt.result) if whole and attempt is not None and attempt.result else None,
        spec=msgspec.to_builtins(job.spec) if whole else None,
    )


#: Of a job that has ended nothing is to be expected.
_NOTHING = Prospect(None, None, "")


def forecast_text(ahead: Prospect) -> str:
    """What a forecast rests on, or why there is none: of the start, then of the run time."""
    parts = (("start", ahead.start_text), ("run time", ahead.duration_text))
    return "; ".join(f"{name}: {text}" for name, text in parts if text)


def submitted_document(job_id: str, tenant: str, spec: JobSpec, now_ms: int) -> dict[str, Any]:
    """The answer to a submit: a JobDocument as of the submit's own event, without a look at the state."""
    return {
        "id": job_id,
        "name": spec.name,
        "tenant": tenant,
        "kind": "task",
        "tier": spec.tier,
        "state": "queued",
        "reason": None,
        "priority": spec.priority,
        "command": spec.command,
        "entry": entry_document(spec.entry),
        "workers": spec.gang,
        "attempt": 0,
        "attempts": [],
        "submitted_at": now_ms / 1000,
        "deadline_at": seconds_or_none(spec.deadline_ms),
        "not_before_at": seconds(spec.not_before_ms) if spec.not_before_ms else None,
        "preemptible": spec.preemptible,
        "resources": resources_document(spec.resources),
        "constraints": constraints_document(spec.constraints),
        "labels": spec.labels,
        "depends_on": spec.depends_on,
    }


def attempt_document(attempt: Attempt) -> AttemptDocument:
    return AttemptDocument(
        number=attempt.number,
        worker=attempt.worker,
        node=attempt.node,
        pool=attempt.pool,
        borrowed=attempt.borrowed,
        ranks=[_rank(rank) for rank in attempt.ranks],
        failed_rank=attempt.failed_rank,
        devices=list(attempt.devices),
        started_at=seconds_or_none(attempt.started_ms),
        ended_at=seconds_or_none(attempt.ended_ms),
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        cause=None if attempt.cause is None else str(attempt.cause),
        message=attempt.message,
        cpu_s=seconds(attempt.usage.cpu_ms),
        memory_peak_bytes=attempt.usage.memory_peak_bytes,
        cost_usd=usd(attempt.cost_usd_micros),
        cost_known=attempt.price_usd_micros_per_hour is not None,
        energy_j=None if attempt.usage.energy_mj is None else attempt.usage.energy_mj / 1000,
    )


def _rank(rank: Rank) -> RankDocument:
    return RankDocument(
        worker=rank.worker,
        node=rank.node,
        devices=list(rank.devices),
        started_at=seconds_or_none(rank.started_ms),
        ended_at=seconds_or_none(rank.ended_ms),
        exit_code=rank.exit_code,
        signal=rank.signal,
        cause=None if rank.cause is None else str(rank.cause),
        message=rank.message,
        cpu_s=seconds(rank.usage.cpu_ms),
        memory_peak_bytes=rank.usage.memory_peak_bytes,
    )


def entry_document(entry: EntryPoint | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {"call": entry.call, "args": entry.args, "kwargs": entry.kwargs, "python": entry.python}


def resources_document(resources: Resources) -> dict[str, Any]:
    return {
        "cpus": resources.cpu_milli / 1000,
        "memory_bytes": resources.memory_bytes,
        "gpus": resources.gpus,
        "gpu_memory_bytes": resources.gpu_memory_bytes,
        "gpu_model": resources.gpu_model,
    }


def constraints_document(constraints: Constraints) -> dict[str, Any]:
    return {
        "pools": constraints.pools,
        "regions": constraints.regions,
        "labels": dict(constraints.labels),
        "spot_ok": constraints.spot_ok,
        "borrow": constraints.borrow,
    }


def _pool(state: State, job: Job) -> str | None:
    """Where it runs or ran, or the pool it waits for first."""
    if job.state in WAITING:
        return next(iter(fit.candidate_pools(state.facts, job)), None)
    return None if job.attempt is None else job.attempt.pool


def _wait_ms(job: Job, now_ms: int) -> int:
    """All the time it stood in the queue until its newest start, or until now."""
    waited, since_ms = 0, job.submitted_ms
    for attempt in job.attempts:
        waited += max(0, attempt.ordered_ms - since_ms)
        if attempt.ended_ms is None:
            return waited
        since_ms = attempt.ended_ms
    if job.state in WAITING:
        return waited + max(0, now_ms - since_ms)
    return waited if job.attempts or job.ended_ms is None else job.ended_ms - job.submitted_ms


def _run_ms(job: Job, now_ms: int) -> int:
    """All the time its processes ran."""
    ran = 0
    for attempt in job.attempts:
        if attempt.started_ms is not None:
            ran += max(0, (now_ms if attempt.ended_ms is None else attempt.ended_ms) - attempt.started_ms)
    return ran


def _energy_j(job: Job) -> float | None:
    """Of all ended attempts; unknown if it is for one of them."""
    ended = [one.usage.energy_mj for one in job.attempts if one.ended_ms is not None and one.started_ms is not None]
    known = [energy for energy in ended if energy is not None]
    return sum(known) / 1000 if known and len(known) == len(ended) else None


def _predicates(checks: list[Check]) -> list[PredicateDocument]:
    return [PredicateDocument(code=check.code, ok=check.ok, text=check.text) for check in checks]


def explain_document(state: State, job: Job, now_ms: int) -> ExplainDocument:
    found = explain(state, job, now_ms)
    ahead = (prospect(state, job, now_ms) if job.state in WAITING else None) or _NOTHING
    return ExplainDocument(
        job=job.id,
        state=job.state,
        reason=None if found.reason is None else ReasonDocument(code=found.reason[0], text=found.reason[1]),
        position=found.position,
        start_p50_s=seconds_or_none(ahead.start_p50_ms),
        start_p90_s=seconds_or_none(ahead.start_p90_ms),
        start_text=ahead.start_text,
        predicates=_predicates(found.checks),
        pools=[
            PoolExplanation(pool=name, ok=all(check.ok for check in checks), predicates=_predicates(checks))
            for name, checks in found.pools.items()
        ],
    )


def plan_document(seq: int, offers: list[Offer], ahead: Prospect | None) -> PlanDocument:
    ahead = ahead or _NOTHING
    feasible = [offer for offer in offers if offer.feasible]
    if not offers:
        text = "there is no pool"
    elif not feasible:
        text = f"no pool can take it: {offers[0].text}"
    else:
        best = feasible[0]
        text = f"{best.pool}: {best.text}"
    return PlanDocument(
        seq=seq,
        feasible=bool(feasible),
        text=text,
        start_p50_s=seconds_or_none(ahead.start_p50_ms),
        start_p90_s=seconds_or_none(ahead.start_p90_ms),
        end_p50_s=seconds_or_none(ahead.end_p50_ms),
        end_p90_s=seconds_or_none(ahead.end_p90_ms),
        duration_p50_s=seconds_or_none(ahead.duration_p50_ms),
        duration_p90_s=seconds_or_none(ahead.duration_p90_ms),
        forecast_text=forecast_text(ahead),
        offers=[
            OfferDocument(
                pool=offer.pool,
                feasible=offer.feasible,
                text=offer.text,
                price_usd_per_hour=usd_or_none(offer.price_usd_micros_per_hour),
                max_cost_usd=usd_or_none(offer.max_cost_usd_micros),
                free_now=offer.free_now,
                position=offer.position,
                start_p50_s=seconds_or_none(offer.start_p50_ms),
                start_p90_s=seconds_or_none(offer.start_p90_ms),
                predicates=_predicates(offer.checks),
            )
            for offer in offers
        ],
    )
