"""How much may be disturbed at a time: G6 blast-radius, G11 unhealthy halt, G15 reversible first."""

from __future__ import annotations

from agentorch.core import fit
from agentorch.core.displace import gave_way
from agentorch.core.facts import Acted
from agentorch.core.guardrails.case import Case, allow, ask, deny
from agentorch.core.guardrails.classes import classify
from agentorch.core.health import halt_reason, is_unhealthy, unhealthy, why_unhealthy
from agentorch.model import limits
from agentorch.model.proposals import Action, Alert, Cordon, Note, ProposalState, Scale, Uncordon

Disturbs = tuple[tuple[str, int], ...]


def disturbance(case: Case) -> tuple[str, Disturbs]:
    """In which way the action disturbs what, as (kind, ((pool, jobs or workers), ...)); ("", ()) when it does not."""
    if case.shrinks_by and case.pool is not None:
        return "shrink", ((case.pool.spec.name, case.shrinks_by),)
    if isinstance(case.action, Cordon) and case.worker is not None:
        return "cordon", ((case.worker.pool, 1),)
    if case.stops_work and case.job is not None and case.job.attempt is not None:
        return "preemption", ((case.job.attempt.pool, 1),)
    if case.moved:
        return "reroute", tuple(sorted(case.moved_from.items()))
    return "", ()


def blast_radius(case: Case) -> Note | None:
    """G6: a small share of a pool's workers or jobs at a time, at least one; and one kind of disruption at once.

    What borrowers give back counts here, but is not held up by it: it is promised to the owners (`core.lending`).
    """
    kind, disturbs = disturbance(case)
    if not kind:
        return None
    under_way = _under_way(case)
    other = next((one for one, _ in under_way if one != kind), "")
    if other:
        return deny("G6", f"a {other} is under way; one kind of disruption at once")
    texts = []
    for pool, count in disturbs:
        if kind == "shrink" and count <= _cordoned(case, pool):
            continue  # cordoned workers go first, and nothing new runs there anyway
        size = _size(case, kind, pool)
        most = max(1, size * case.settings.blast_radius_percent // 100)
        already = sum(dict(parts).get(pool, 0) for _, parts in under_way)
        if kind == "preemption":  # the scheduler stops work as well
            already += gave_way(case.facts.pools[pool], case.now_ms)
        if kind in ("shrink", "cordon"):
            out = sum(1 for name in case.facts.pools[pool].workers if not fit.takes_work(case.facts.workers[name]))
            already = max(already, out + _planned(case, kind, pool))
        what = "jobs" if kind in ("preemption", "reroute") else "workers"
        if already + count > most:
            return deny("G6", f"{kind} of {count} of {size} {what} of {pool} with {already} disturbed; at most {most}")
        texts.append(f"{already + count} of at most {most} {what} of {pool} disturbed at a time")
    return allow("G6", "; ".join(texts) or "only workers that take no work anyway go")


def _cordoned(case: Case, pool: str) -> int:
    return sum(1 for worker in case.workers_of(case.facts.pools[pool]) if worker.cordoned)


def _under_way(case: Case) -> list[tuple[str, Disturbs]]:
    """Disruptions that were begun a moment ago, are not over yet, or are planned earlier in this cycle."""
    facts, since_ms = case.facts, case.now_ms - limits.BLAST_WINDOW_MS
    begun = [
        (one.disruption, one.disturbs)
        for one in facts.acted
        if one.disruption and (one.at_ms > since_ms or _is_acting(case, one))
    ]
    return begun + _earlier(case)


def _is_acting(case: Case, one: Acted) -> bool:
    proposal = case.facts.proposals.get(one.proposal)
    return proposal is not None and proposal.state is ProposalState.acting


def _earlier(case: Case) -> list[tuple[str, Disturbs]]:
    planned = (disturbance(_case_of(case, action)) for action in case.earlier)
    return [(kind, disturbs) for kind, disturbs in planned if kind]


def _planned(case: Case, kind: str, pool: str) -> int:
    return sum(dict(disturbs).get(pool, 0) for other, disturbs in _earlier(case) if other == kind)


def _case_of(case: Case, action: Action) -> Case:
    return Case(case.state, action, case.now_ms, cycle=case.cycle)


def _size(case: Case, kind: str, pool: str) -> int:
    """Workers, running jobs, or jobs that wait for the pool or run there."""
    facts = case.facts
    if kind in ("shrink", "cordon"):
        return len(case.workers_of(facts.pools[pool]))
    running = len({job for name in facts.pools[pool].workers for job in facts.workers[name].running})
    return running + case.demand.queued.get(pool, 0) if kind == "reroute" else running


# -- health


def unhealthy_halt(case: Case) -> Note | None:
    """G11: when much is unhealthy nothing is scaled or preempted; when all is, the fault is likely our own: hold."""
    if isinstance(case.action, Alert):
        return None
    sick, total = unhealthy(case.facts)
    if total and sick == total:
        return deny("G11", f"all {sick} workers look unhealthy: the fault may be our own, so nothing is done")
    if (isinstance(case.action, Scale) or case.stops_work) and halt_reason(case.facts):
        return deny("G11", f"{sick} of {total} workers are unhealthy: no scaling and no preemption until then")
    return None


# -- reversibility


def reversible_first(case: Case) -> Note | None:
    """G15: what an action risks is read from a table in code; what can't be undone is asked."""
    entry = classify(case.facts, case.action)
    text = f"{entry.name}: {entry.risk} risk, {'reversible' if entry.reversible else 'not reversible'}"
    kind = str(case.action.__struct_config__.tag)
    if kind in case.settings.always_ask:
        return ask("G15", f"{text}; {kind} is always asked here")
    if entry.asks or not entry.reversible:
        return ask("G15", f"{text}; a person decides")
    if case.shrinks_by and case.pool is not None:
        empty = sum(1 for worker in case.workers_of(case.pool) if not worker.running)
        if empty < case.shrinks_by:
            return ask("G15", f"{text}; only {empty} workers are empty, so busy ones would be drained")
    if isinstance(case.action, Uncordon) and case.worker is not None and is_unhealthy(case.facts, case.worker):
        return ask("G15", f"{text}; {why_unhealthy(case.facts, case.worker)}")
    return allow("G15", text)
