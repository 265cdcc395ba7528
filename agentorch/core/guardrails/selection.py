"""Which jobs an action reaches. What is judged is what is shown, and what is shown is what is done."""

from __future__ import annotations

from agentorch.core import fit
from agentorch.core.demand import first_pool
from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.jobs import Job, JobState
from agentorch.model.proposals import Action, Cordon, Reroute, Reschedule, Uncordon


def may_go_to(facts: Facts, job: Job, pool: str) -> bool:
    """Whether a job may ever run in this pool: its constraints, and its size (G9)."""
    return pool in fit.allowed_pools(facts, job) and fit.could_hold(facts.pools[pool].spec, job)


def rerouted_jobs(state: State, action: Reroute) -> list[Job]:
    """The jobs that a reroute moves if carried out now, the longest waiting first. Bounded work."""
    facts = state.facts
    if action.pool not in facts.pools:
        return []
    if action.job:
        job = facts.jobs.get(action.job)
        moves = job is not None and job.state is JobState.queued and job.route_pool != action.pool
        return [job] if job is not None and moves and may_go_to(facts, job, action.pool) else []
    found: list[Job] = []
    at_most = min(action.at_most, limits.REROUTE_JOBS_MAX)
    for job in state.queue.waiting_jobs(limits.OBSERVED_WAITING_SAMPLE):
        if len(found) >= at_most:
            break
        if _in_class(facts, job, action) and may_go_to(facts, job, action.pool):
            found.append(job)
    return found


def _in_class(facts: Facts, job: Job, action: Reroute) -> bool:
    if (action.tenant and job.tenant != action.tenant) or (action.tier and job.spec.tier != action.tier):
        return False
    waits_for = first_pool(facts, job)
    if job.route_pool == action.pool or waits_for == action.pool:
        return False
    return not action.from_pool or waits_for == action.from_pool


def affected_jobs(state: State, action: Action) -> list[str]:
    """Ids of the jobs that an action reaches if it were carried out now."""
    match action:
        case Reschedule(job=name):
            return [name] if name in state.facts.jobs else []
        case Reroute():
            return [job.id for job in rerouted_jobs(state, action)]
        case Cordon(worker=name) | Uncordon(worker=name):
            worker = state.facts.workers.get(name)
            return list(worker.running) if worker is not None else []
    return []
