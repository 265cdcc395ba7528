"""The rule brain: what a careful operator would want, from the numbers of one observation alone. Deterministic.

It lists what the numbers justify, the most urgent first, leaves out what the guardrails would deny, and otherwise holds
and says why. Like any brain it only proposes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.observation import JobFacts, Observation, PoolFacts, TenantFacts, WorkerFacts
from agentorch.model.proposals import (
    Action,
    Alert,
    BrainReport,
    Cordon,
    Draft,
    Mode,
    Reroute,
    Reschedule,
    Ruling,
    Scale,
    Verdict,
    target_of,
)

BRAIN_ID: Final = "rules/1"

DEADLINE_SLACK_S: Final = 300.0  # a queued job with less time to spare than this is hurried
PRIORITY_STEP: Final = 20
HURRIED_PER_CYCLE: Final = 2
SICK_AFTER_FAILURES: Final = 3  # attempts in a row that ended on a worker by no fault of the job
BUDGET_NEARLY_USED_PERCENT: Final = 90


def decide(observation: Observation) -> BrainReport:
    """What the numbers justify, not yet previewed; or a hold with its reason."""
    drafts = tuple(candidates(observation))
    return BrainReport(brain=BRAIN_ID, drafts=drafts, hold="" if drafts else hold_reason(observation))


class RuleBrain:
    """`decide`, less what the guardrails say they would deny. Fulfils `model.brain.Brain`."""

    id = BRAIN_ID

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        drafts = tuple(candidates(observation))
        if not drafts:
            return BrainReport(brain=self.id, hold=hold_reason(observation))
        return permitted(observation, drafts, await context.preview(drafts))


def permitted(observation: Observation, drafts: tuple[Draft, ...], verdicts: list[Verdict]) -> BrainReport:
    """The report that is left when `verdicts` have been heard."""
    kept = tuple(draft for draft, said in zip(drafts, verdicts, strict=True) if said.ruling is not Ruling.deny)
    if kept:
        return BrainReport(brain=BRAIN_ID, drafts=kept[: limits.ACTIONS_PER_CYCLE])
    said = " ".join(f"{draft.reason} But {_denial(one)}" for draft, one in zip(drafts, verdicts, strict=True))
    return BrainReport(brain=BRAIN_ID, hold=f"{hold_reason(observation)} {said}"[: limits.REASON_MAX_CHARS])


def _denial(verdict: Verdict) -> str:
    note = verdict.notes[-1]
    return f"{note.rule} denies it: {note.text}."


def candidates(observation: Observation) -> Iterator[Draft]:
    """At most `PROPOSALS_PER_CYCLE` drafts, the most urgent first, never for a target that was just dealt with."""
    if observation.mode is Mode.paused:
        return
    busy = {*observation.open_targets, *observation.recent_targets}
    count = 0
    for draft in _wanted(observation):
        if target_of(draft.action) not in busy and count < limits.PROPOSALS_PER_CYCLE:
            busy.add(target_of(draft.action))
            count += 1
            yield msgspec.structs.replace(draft, action=msgspec.to_builtins(draft.action))


def _wanted(observation: Observation) -> Iterator[Draft]:
    yield from _sick_workers(observation)
    for pool in observation.pools:
        if _is_ours(pool) and _waits_too_long(pool):
            yield from _relief(observation, pool)
    yield from _deadlines(observation)
    yield from _budgets(observation)
    for pool in observation.pools:
        if _is_ours(pool):
            yield from _idleness(observation, pool)


def hold_reason(observation: Observation) -> str:
    """Why nothing is to be done, in numbers."""
    if observation.mode is Mode.paused:
        return "The supervisor is paused."
    worst = max(observation.pools, key=lambda pool: pool.wait_s_p95 / max(pool.target_wait_s, 1), default=None)
    wait = f"; the longest wait is in {worst.name}, {_wait(worst)}" if worst is not None else ""
    return f"{observation.queued_total} jobs wait and {observation.running_total} run{wait}."


def _draft(action: Action, reason: str, evidence: list[str], alternatives: list[str]) -> Draft:
    return Draft(action=action, reason=reason, evidence=tuple(evidence), alternatives=tuple(alternatives))


# -- pools


def _is_ours(pool: PoolFacts) -> bool:
    return not pool.paused and not pool.protected


def _wait(pool: PoolFacts) -> str:
    return f"p95 {pool.wait_s_p95:.0f} s of {pool.target_wait_s:.0f} s wanted"


def _numbers(pool: PoolFacts) -> str:
    return (
        f"{pool.name}: {pool.queued} queued, {pool.running} running, {pool.busy} of {pool.available} workers busy, "
        f"{pool.need} needed, {pool.min_workers} to {pool.max_workers} allowed, wait {_wait(pool)}"
    )


def _waits_too_long(pool: PoolFacts) -> bool:
    """Over its target, or about to be: half of it is gone and work for half as many workers again is there."""
    if pool.queued == 0 or pool.need <= pool.target:
        return False
    soon = pool.oldest_wait_s > pool.target_wait_s / 2 and pool.need * 2 >= pool.target * 3
    return pool.wait_s_p95 > pool.target_wait_s or pool.oldest_wait_s > pool.target_wait_s or soon


def _step_up(observation: Observation, pool: PoolFacts) -> int:
    """The biggest step that G1 lets one action grow a pool by."""
    rules = observation.guardrails
    return max(rules.scale_up_step, pool.target * rules.scale_up_share_percent // 100)


def _relief(observation: Observation, pool: PoolFacts) -> Iterator[Draft]:
    step = _step_up(observation, pool)
    workers = min(pool.max_workers, pool.need, pool.target + step)
    elsewhere = _reroute(observation, pool)
    if not pool.provisioning_retry_s and (workers - pool.target) * 100 >= max(
        1, pool.target * observation.guardrails.dead_band_percent
    ):
        other = "no other allowed pool is idle" if elsewhere is None else f"reroute: {elsewhere.reason}"
        yield _draft(
            Scale(pool=pool.name, workers=workers),
            f"{pool.queued} jobs wait in {pool.name}, {_wait(pool)}; it needs {pool.need} workers, has {pool.target}.",
            [_numbers(pool)],
            [f"do nothing: the oldest job has waited {pool.oldest_wait_s:.0f} s", other],
        )
    elif elsewhere is not None:
        yield elsewhere
    else:
        yield from _overflow(observation, pool)


def _overflow(observation: Observation, pool: PoolFacts) -> Iterator[Draft]:
    """Grow another pool that this one's queued jobs may run in, the cheapest first: this one is as big as it may be."""
    mine = [job for job in observation.queued if job.pool == pool.name]
    others = [
        other
        for other in observation.pools
        if other.name != pool.name
        and _is_ours(other)
        and other.target < other.max_workers
        and not other.idle
        and not other.provisioning_retry_s
    ]
    others.sort(key=lambda other: (other.price_usd_micros_per_hour is None, other.price_usd_micros_per_hour or 0))
    for other in others:
        movable = sum(1 for job in mine if other.name in job.pools)
        if not movable:
            continue
        step = _step_up(observation, other)
        workers = min(other.max_workers, other.target + min(step, max(1, pool.need - pool.target)))
        yield _draft(
            Scale(pool=other.name, workers=workers),
            f"{pool.queued} jobs wait in {pool.name}, {_wait(pool)}; it needs {pool.need} workers and {_bound(pool)}. "
            f"{movable} of those looked at may run in {other.name}.",
            [_numbers(pool), _numbers(other)],
            [f"do nothing: the oldest job has waited {pool.oldest_wait_s:.0f} s"],
        )
        return


def _bound(pool: PoolFacts) -> str:
    if pool.provisioning_retry_s:
        return f"gets none for {pool.provisioning_retry_s:.0f} s: {pool.provisioning_error}"
    return f"may have no more than {pool.max_workers}"


def _reroute(observation: Observation, pool: PoolFacts) -> Draft | None:
    """Queued jobs of a full pool to an idle one that they may run in."""
    by_name = {other.name: other for other in observation.pools}
    mine = [job for job in observation.queued if job.pool == pool.name]
    room = {name: other.idle for name, other in by_name.items() if name != pool.name and _is_ours(other) and other.idle}
    best = max(room, key=lambda name: (sum(1 for job in mine if name in job.pools), room[name]), default="")
    movable = [job for job in mine if best in job.pools]
    if not movable:
        return None
    blast = max(1, (pool.queued + pool.running) * observation.guardrails.blast_radius_percent // 100)
    count = min(len(movable), room[best], blast, limits.REROUTE_JOBS_MAX)
    return _draft(
        Reroute(pool=best, from_pool=pool.name, at_most=count),
        f"{len(movable)} jobs that wait for {pool.name}, {_wait(pool)}, may run in {best}: {room[best]} idle workers.",
        [_numbers(pool), _numbers(by_name[best])],
        [f"grow {pool.name}: it has {pool.target} of at most {pool.max_workers} workers"],
    )


def _idleness(observation: Observation, pool: PoolFacts) -> Iterator[Draft]:
    """Give back what is not needed. How long it has not been needed is the guardrails' memory (G2)."""
    rules = observation.guardrails
    step = max(rules.scale_down_step, pool.target * rules.scale_down_share_percent // 100)
    workers = max(pool.min_workers, pool.need, pool.target - step)
    too_small = (pool.target - pool.need) * 100 < pool.target * rules.dead_band_percent
    if pool.queued or workers >= pool.target or pool.idle < pool.target - workers or too_small:
        return
    yield _draft(
        Scale(pool=pool.name, workers=workers),
        f"{pool.need} of {pool.target} workers of {pool.name} are needed, nothing waits and {pool.idle} idle.",
        [_numbers(pool)],
        [f"keep {pool.target}: {pool.idle} workers would go on idling"],
    )


# -- jobs, workers, tenants


def _deadlines(observation: Observation) -> Iterator[Draft]:
    risky = []
    for job in observation.queued:
        slack_s = None if job.deadline_in_s is None else job.deadline_in_s - (job.remaining_s or 0.0)
        if slack_s is not None and 0 <= slack_s < DEADLINE_SLACK_S and job.state == "queued" and job.priority < 100:
            risky.append((slack_s, job))
    risky.sort(key=lambda item: (item[0], item[1].id))
    for slack_s, job in risky[:HURRIED_PER_CYCLE]:
        yield _hurry(job, slack_s)


def _hurry(job: JobFacts, slack_s: float) -> Draft:
    priority = min(100, job.priority + PRIORITY_STEP)
    length = "unknown" if job.remaining_s is None else f"{job.remaining_s:.0f} s"
    return _draft(
        Reschedule(job=job.id, change="priority", priority=priority),
        f"{job.id} must start within {slack_s:.0f} s to meet its deadline; it has waited {job.wait_s:.0f} s.",
        [f"{job.id}: deadline in {job.deadline_in_s:.0f} s, takes {length}, priority {job.priority}, {job.reason}"],
        ["preempt other work: loses what it has done", "do nothing: the deadline is likely missed"],
    )


def _sick_workers(observation: Observation) -> Iterator[Draft]:
    """Cordon what fails again and again; where everything fails the fault is elsewhere, and nothing is cordoned."""
    workers = [worker for worker in observation.workers if worker.state == "up"]
    sick = [worker for worker in workers if worker.failures >= SICK_AFTER_FAILURES or worker.health != "ok"]
    if len(sick) == len(workers):
        return
    for worker in sick:
        if not worker.cordoned and worker.failures >= SICK_AFTER_FAILURES:
            yield _cordon(worker)


def _cordon(worker: WorkerFacts) -> Draft:
    return _draft(
        Cordon(worker=worker.id),
        f"{worker.failures} attempts in a row ended on {worker.id} by no fault of the jobs.",
        [f"{worker.id} of {worker.pool}: {worker.failures} failures in a row, {worker.running} jobs running"],
        ["do nothing: more attempts would be lost there", f"shrink {worker.pool}: may take a healthy worker"],
    )


def _budgets(observation: Observation) -> Iterator[Draft]:
    for tenant in observation.tenants:
        text = _budget_text(tenant)
        head = text.split(":", 1)[0]
        if text and not any(said.startswith(f"{head}:") for said in observation.alerted):
            yield _draft(
                Alert(text=text),
                text,
                [f"{tenant.name}: {tenant.queued} queued, {tenant.running} running, {tenant.budget_blocked} blocked"],
                ["do nothing: starts are refused at the cap, and running work is stopped there"],
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
