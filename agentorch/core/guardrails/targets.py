"""Whether an action means anything: its target exists and could change as asked. Rule ids `schema` and `target`."""

from __future__ import annotations

from agentorch.core.guardrails.case import Case, deny, seconds
from agentorch.model import limits
from agentorch.model.jobs import FINISHED, Job, JobState, Tier
from agentorch.model.proposals import Alert, Cordon, Note, Reroute, Reschedule, Scale, Uncordon


def schema(case: Case) -> Note | None:
    """The fields of the action go together and are in range."""
    action = case.action
    wrong = ""
    match action:
        case Reschedule():
            wrong = _reschedule_fields(action)
        case Reroute():
            wrong = _reroute_fields(action)
        case Alert() if not 0 < len(action.text.strip()) <= limits.REASON_MAX_CHARS:
            wrong = f"an alert has 1 to {limits.REASON_MAX_CHARS} characters"
    return deny("schema", wrong) if wrong else None


def _reschedule_fields(action: Reschedule) -> str:
    if (action.priority is not None) != (action.change == "priority"):
        return "`priority` belongs to the change `priority`, and only to that"
    if (action.start_ms is not None) != (action.change == "start_at"):
        return "`start_ms` belongs to the change `start_at`, and only to that"
    if action.priority is not None and not 0 <= action.priority <= 100:
        return f"priority is 0 to 100, not {action.priority}"
    return ""


def _reroute_fields(action: Reroute) -> str:
    names = (action.tenant, action.tier, action.from_pool)
    if action.job and (any(names) or action.at_most != 1):
        return "a reroute is of one job or of a class, not of both"
    if not action.job and not any(names):
        return "a class of jobs is named by tenant, tier or the pool they wait for"
    if action.tier and action.tier not in set(Tier):
        return f"there is no tier {action.tier!r}; known: {', '.join(Tier)}"
    if not 1 <= action.at_most <= limits.REROUTE_JOBS_MAX:
        return f"at_most is 1 to {limits.REROUTE_JOBS_MAX}, not {action.at_most}"
    return ""


def target(case: Case) -> Note | None:
    """What is acted on exists, and is not as asked already."""
    action = case.action
    wrong = ""
    match action:
        case Scale():
            wrong = "" if case.pool is not None else f"there is no pool {action.pool!r}"
        case Reschedule():
            wrong = _job(case, action)
        case Reroute():
            wrong = _route(case, action)
        case Cordon() | Uncordon():
            wrong = _worker(case, isinstance(action, Cordon))
    return deny("target", wrong) if wrong else None


def _worker(case: Case, cordons: bool) -> str:
    if case.worker is None:
        return "there is no such worker"
    if case.worker.cordoned is cordons:
        return f"{case.worker.id} is {'cordoned already' if cordons else 'not cordoned'}"
    return ""


def _route(case: Case, action: Reroute) -> str:
    facts = case.facts
    if case.pool is None:
        return f"there is no pool {action.pool!r}"
    if action.job:
        job = case.job
        if job is None:
            return f"there is no job {action.job!r}"
        if job.state is not JobState.queued:
            return f"{job.id} is {job.state}; only queued work is rerouted"
        return f"{job.id} is routed to {action.pool} already" if job.route_pool == action.pool else ""
    if action.from_pool and action.from_pool not in facts.pools:
        return f"there is no pool {action.from_pool!r}"
    if action.from_pool == action.pool:
        return "from a pool to itself"
    return f"there is no tenant {action.tenant!r}" if action.tenant and action.tenant not in facts.tenants else ""


def _job(case: Case, action: Reschedule) -> str:
    job = case.job
    if job is None:
        return f"there is no job {action.job!r}"
    if job.state in FINISHED:
        return f"{job.id} has {job.state}"
    match action.change:
        case "priority" if action.priority == job.priority:
            return f"{job.id} has priority {job.priority} already"
        case "pause" | "start_at" if job.state is not JobState.queued:
            return f"{job.id} is {job.state}; only queued work can wait longer"
        case "resume" if job.state is not JobState.held:
            return f"{job.id} is not held"
        case "start_at":
            return _start(case, job, action.start_ms or 0)
    return ""


def _start(case: Case, job: Job, start_ms: int) -> str:
    if start_ms < case.now_ms:
        return "the start time has passed"
    if start_ms > case.now_ms + limits.START_DELAY_MAX_MS:
        return f"at most {seconds(limits.START_DELAY_MAX_MS)} ahead"
    if start_ms < job.spec.not_before_ms:
        return f"whoever submitted {job.id} named a later start"
    if job.deadline_ms is not None and start_ms + (job.spec.max_duration_ms or 0) > job.deadline_ms:
        return f"{job.id} would miss its deadline"
    return f"{job.id} starts then already" if start_ms == job.not_before_ms else ""
