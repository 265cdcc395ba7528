"""One line of the decision log per event that people care about: who did what, and how it went."""

from __future__ import annotations

from collections.abc import Callable

from agentorch.model import events as ev
from agentorch.model.proposals import AnswerKind, ProposalState
from agentorch.model.units import seconds
from agentorch.schemas.supervision import LogLine

#: Who is not a person, of the names in `by`.
_SYSTEM = frozenset({"config", "clock", "executor", "scheduler", "default", "runtime", "health", "guardrail", ""})
_ANSWERED = {AnswerKind.approve: "approved", AnswerKind.edit: "edited", AnswerKind.reject: "rejected"}
_JUDGED = {
    ProposalState.denied: ("guard", "denied", "denied"),
    ProposalState.open: ("agent", "asks", "pending"),
    ProposalState.allowed: ("agent", "proposed", "ok"),
    ProposalState.observed: ("agent", "observed", "info"),
}

#: All that can become a line: most events are of jobs, and are passed over at the cost of one look.
_SHOWN = frozenset(
    {
        ev.CycleDecided,
        ev.ProposalJudged,
        ev.ProposalChanged,
        ev.ApprovalAnswered,
        ev.ApprovalExpired,
        ev.ProposalLapsed,
        ev.ProposalSuperseded,
        ev.ActionRefused,
        ev.ActionStarted,
        ev.ActionEnded,
        ev.ProposalScored,
        ev.ModeChanged,
        ev.AlertRaised,
        ev.PoolScaled,
        ev.PoolPaused,
        ev.WorkerCordoned,
        ev.WorkerRepaired,
        ev.DeviceJudged,
        ev.DeviceRepaired,
        ev.HealthHalted,
        ev.TenantConfigured,
        ev.KeyAdded,
        ev.KeyRevoked,
        ev.GuardrailsConfigured,
        ev.RuntimeStarted,
        ev.RuntimeClosed,
    }
)

Titles = Callable[[str], str]


def actor_of(by: str) -> str:
    """`by` of an event as the kind of its actor."""
    if by in _SYSTEM:
        return "system"
    return "agent" if by == "supervisor" or by.startswith("prop-") else "human"


def log_line(seq: int, event: ev.Event, title_of: Titles) -> LogLine | None:
    """None for the events of everyday work, which belong to jobs and not to decisions."""
    if type(event) not in _SHOWN:
        return None
    found = _supervision(event, title_of) or _people(event)
    if found is None:
        return None
    actor, verb, text, status, proposal = found
    cycle = event.cycle if isinstance(event, ev.CycleDecided) else None
    return LogLine(
        seq=seq,
        at=seconds(event.at_ms),
        actor=actor,
        verb=verb,
        text=text,
        status=status,
        proposal=proposal,
        cycle=cycle,
    )


_Found = tuple[str, str, str, str, str]


def _supervision(event: ev.Event, title_of: Titles) -> _Found | None:
    match event:
        case ev.CycleDecided(report=report):
            if report.error:
                return "agent", "failed", report.error, "failed", ""
            return None if report.drafts else ("agent", "hold", report.hold, "hold", "")
        case ev.ProposalJudged(proposal=one):
            actor, verb, status = _JUDGED.get(one.state, ("agent", "proposed", "info"))
            return (
                actor,
                verb,
                _with_note(one.title, one.verdict.notes[-1].text if one.verdict.notes else ""),
                status,
                one.id,
            )
        case ev.ProposalChanged(proposal=one):
            return "guard", "changed", f"{one.title}: the world moved, look again", "pending", one.id
        case ev.ApprovalAnswered(proposal=name, answer=answer):
            status = "denied" if answer.kind is AnswerKind.reject else "ok"
            return "human", _ANSWERED[answer.kind], _with_note(title_of(name), answer.reason), status, name
        case ev.ApprovalExpired(proposal=name):
            return "system", "expired", title_of(name), "expired", name
        case ev.ProposalLapsed(proposal=name, why=why):
            return "system", "lapsed", _with_note(title_of(name), why), "expired", name
        case ev.ProposalSuperseded(proposal=name, by=by):
            return "system", "superseded", f"{title_of(name)}, by {by}", "info", name
        case ev.ActionRefused(proposal=name, notes=notes):
            return "guard", "refused", _with_note(title_of(name), "; ".join(notes)), "denied", name
        case ev.ActionStarted(proposal=name):
            return "agent", "acts", title_of(name), "info", name
        case ev.ActionEnded(proposal=name, ok=ok, outcome=outcome):
            return (
                "agent",
                "done" if ok else "failed",
                _with_note(title_of(name), outcome),
                "ok" if ok else "failed",
                name,
            )
        case ev.ProposalScored(proposal=name, score=score):
            inside = sum(one.inside for one in score.measures)
            came = f"{inside} of {len(score.measures)} numbers came out as foreseen"
            note = came if score.measures else "nobody looked at its horizon"
            return "system", "scored", _with_note(title_of(name), note), "info", name
        case _:
            return None


def _with_note(text: str, note: str) -> str:
    return f"{text}: {note}" if note else text


def _people(event: ev.Event) -> _Found | None:
    """What people, the configuration and the runtime itself did."""
    match event:
        case ev.ModeChanged(mode=mode, by=by, reason=reason):
            return actor_of(by), "mode", _with_note(f"{mode}, by {by}", reason), "info", ""
        case ev.AlertRaised(code=code, text=text, by=by):
            return actor_of(by), "alert", f"{code}: {text}", "failed", ""
        case ev.PoolScaled(pool=pool, workers=workers, by=by) if actor_of(by) == "human":
            return "human", "scaled", f"{pool} to {workers}, by {by}", "ok", ""
        case ev.PoolPaused(pool=pool, paused=paused, by=by, reason=reason):
            return actor_of(by), "paused" if paused else "resumed", _with_note(f"{pool}, by {by}", reason), "info", ""
        case ev.WorkerCordoned(worker=worker, cordoned=cordoned, by=by, reason=reason):
            verb = "cordoned" if cordoned else "uncordoned"
            return actor_of(by), verb, _with_note(f"{worker}, by {by}", reason), "info", ""
        case ev.WorkerRepaired(worker=name, by=by) | ev.DeviceRepaired(device=name, by=by):
            return actor_of(by), "repaired", f"{name}, by {by}", "ok", ""
        case ev.DeviceJudged(device=device, state=state, reason=reason, well=False):
            return "system", str(state), _with_note(device, reason if state != "ok" else ""), "info", ""
        case ev.HealthHalted(reason=reason):
            return "system", "halted" if reason else "resumed", _with_note("automatic cordons", reason), "info", ""
        case ev.TenantConfigured(spec=spec):
            return "human", "tenant", f"{spec.name} configured", "info", ""
        case ev.KeyAdded(key=key, by=by):
            return actor_of(by), "key", f"{key.id} added, by {by}", "info", ""
        case ev.KeyRevoked(key=name, by=by):
            return actor_of(by), "key", f"{name} revoked, by {by}", "info", ""
        case ev.GuardrailsConfigured(by=by):
            return actor_of(by), "guardrails", f"configured, by {by}", "info", ""
        case ev.RuntimeStarted(epoch=epoch, version=version):
            return "system", "started", f"version {version}, incarnation {epoch}", "info", ""
        case ev.RuntimeClosed():
            return "system", "closed", "in order", "info", ""
        case _:
            return None


def job_line(event: ev.Event) -> str:
    """What an event did to its job, in words."""
    match event:
        case ev.JobSubmitted(by=by):
            return f"submitted by {by}"
        case ev.JobHeld(by=by, reason=reason):
            return _with_note(f"held by {by}", reason)
        case ev.JobReleased(by=by):
            return f"released by {by}"
        case ev.JobChanged():
            return _changed(event)
        case ev.JobRerouted(pool=pool, by=by):
            return f"routed to {pool or 'any allowed pool'} by {by}"
        case ev.JobStarted(attempt=attempt, worker=worker, ranks=ranks):
            return f"attempt {attempt} ordered on {worker}" + (f" and for {len(ranks)} more ranks" if ranks else "")
        case ev.AttemptRunning(attempt=attempt):
            return f"attempt {attempt} runs"
        case ev.RankRunning(attempt=attempt, rank=rank):
            return f"attempt {attempt}: rank {rank} runs"
        case ev.RankEnded(attempt=attempt, rank=rank):
            return _ended(event, f"attempt {attempt}: rank {rank}")
        case ev.JobStopping(attempt=attempt, cause=cause, by=by):
            return f"attempt {attempt} is being stopped by {by}: {cause}"
        case ev.AttemptEnded(attempt=attempt):
            return _ended(event, f"attempt {attempt}")
        case ev.JobRequeued(cause=cause):
            return f"queued again: {cause}"
        case ev.JobEnded(state=state, cause=cause):
            return f"{state}" if state in ("succeeded", "cancelled") else f"{state}: {cause}"
        case ev.JobProgressed(percent=percent, message=message, checkpointed=saved):
            parts = [f"{percent:g} %" if percent is not None else "", message, "checkpoint saved" if saved else ""]
            return "progress: " + ", ".join(part for part in parts if part)
        case ev.ReservationExtended(attempt=attempt, add_usd_micros=micros):
            return f"attempt {attempt}: ${micros / 1e6:.4f} more reserved"
        case ev.WorkerReserved(worker=worker):
            return f"room on {worker} is kept for it"
        case _:
            return ev.EVENT_NAMES[type(event)].replace("-", " ")


def _changed(event: ev.JobChanged) -> str:
    parts = []
    if event.priority is not None:
        parts.append(f"priority {event.priority}")
    if event.deadline_ms is not None:
        parts.append("deadline")
    if event.not_before_ms is not None:
        parts.append("start time")
    return f"{', '.join(parts) or 'nothing'} changed by {event.by}"


def _ended(event: ev.AttemptEnded | ev.RankEnded, what: str) -> str:
    how = f"exit code {event.exit_code}" if event.exit_code is not None else ""
    if event.signal is not None:
        how = f"signal {event.signal}"
    return _with_note(f"{what} ended: {event.cause}" + (f", {how}" if how else ""), event.message)
