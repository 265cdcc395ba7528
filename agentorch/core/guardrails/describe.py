"""An action in words for people: one line, and what is there before and after."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.model.proposals import Action, Alert, Cordon, Reroute, Reschedule, Scale, Uncordon

TITLE_MAX_CHARS = 160


def clean(text: str, limit: int) -> str:
    """At most `limit` characters without anything that could fool a reader, a terminal or an encoder."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)


def title(facts: Facts, action: Action | None) -> str:
    """One line: what is wanted."""
    return clean(_title(facts, action).replace("\n", " "), TITLE_MAX_CHARS)


def _title(facts: Facts, action: Action | None) -> str:
    match action:
        case None:
            return "not an action"
        case Scale():
            pool = facts.pools.get(action.pool)
            verb = "Scale" if pool is None else "Grow" if action.workers > pool.target else "Shrink"
            now = "" if pool is None else f" from {pool.target}"
            return f"{verb} {action.pool}{now} to {action.workers} workers"
        case Reschedule():
            return _reschedule(action)
        case Reroute(job=job) if job:
            return f"Send {job} to {action.pool}"
        case Reroute():
            which = [action.tier, "jobs", f"of {action.tenant}" if action.tenant else ""]
            where = f"that wait for {action.from_pool}" if action.from_pool else ""
            words = [f"Send up to {action.at_most}", *which, where, f"to {action.pool}"]
            return " ".join(word for word in words if word)
        case Cordon():
            return f"Place nothing new on {action.worker}"
        case Uncordon():
            return f"Let {action.worker} take work again"
        case Alert():
            return f"Tell people: {action.text}"


def _reschedule(action: Reschedule) -> str:
    match action.change:
        case "priority":
            return f"Set priority of {action.job} to {action.priority}"
        case "start_at":
            return f"Start {action.job} at {action.start_ms} ms"
        case "pause":
            return f"Hold {action.job}"
        case "resume":
            return f"Release {action.job}"
        case "preempt":
            return f"Preempt {action.job}: it stops and waits again"
        case "requeue":
            return f"Stop {action.job} and queue it again"


def before_after(facts: Facts, action: Action | None) -> tuple[str, str]:
    """(what is, what would be); empty where there is nothing to compare."""
    match action:
        case Scale():
            pool = facts.pools.get(action.pool)
            return ("" if pool is None else f"{pool.target} workers"), f"{action.workers} workers"
        case Reschedule():
            return _job_before(facts, action), _job_after(action)
        case Reroute():
            job = facts.jobs.get(action.job)
            return ("" if job is None else job.route_pool or "any allowed pool"), action.pool
        case Cordon() | Uncordon():
            worker = facts.workers.get(action.worker)
            now = "" if worker is None else "cordoned" if worker.cordoned else "takes work"
            return now, "cordoned" if isinstance(action, Cordon) else "takes work"
    return "", ""


def _job_before(facts: Facts, action: Reschedule) -> str:
    job = facts.jobs.get(action.job)
    if job is None:
        return ""
    if action.change == "priority":
        return f"priority {job.priority}"
    if action.change == "start_at":
        return f"not before {job.not_before_ms} ms" if job.not_before_ms else "any time"
    return str(job.state)


def _job_after(action: Reschedule) -> str:
    match action.change:
        case "priority":
            return f"priority {action.priority}"
        case "start_at":
            return f"not before {action.start_ms} ms"
        case "pause":
            return "held"
    return "queued"
