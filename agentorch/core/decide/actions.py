"""Carrying out what may be: judged again on the state of this moment, done at most once, followed until it is there."""

from __future__ import annotations

import msgspec

from agentorch.core.decide import fleet, jobs, scoring
from agentorch.core.decide.approvals import find, is_late, lapse, refuse_settled
from agentorch.core.decide.proposals import look_again, refuse
from agentorch.core.demand import standing_workers
from agentorch.core.guardrails.blast import disturbance
from agentorch.core.guardrails.case import Case, deny
from agentorch.core.guardrails.judge import is_stale, judge, verdict_of
from agentorch.core.guardrails.protection import SUPERVISOR
from agentorch.core.guardrails.selection import rerouted_jobs
from agentorch.core.nodes import group_of
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import ON_WORKER, Cause
from agentorch.model.proposals import (
    Action,
    Alert,
    Cordon,
    Mode,
    Proposal,
    ProposalState,
    Reroute,
    Reschedule,
    Ruling,
    Scale,
    Uncordon,
)

_OVER = frozenset({ProposalState.done, ProposalState.failed, ProposalState.acting})


def carry_out(turn: Turn, command: cmd.CarryOut) -> Proposal:
    """Carry out an allowed or approved proposal; one that is under way or over is left as it is. Returns a copy.

    What is denied by now, came too late, or must be looked at again comes back in that state: it is not carried out.
    """
    proposal = find(turn.facts, command.proposal)
    if proposal.state not in _OVER:
        _attempt(turn, proposal)
    return msgspec.structs.replace(turn.facts.proposals[command.proposal])


def _attempt(turn: Turn, proposal: Proposal) -> None:
    if proposal.state is ProposalState.expired:
        raise Refused("expired", f"{proposal.id} expired; nothing happened", state="expired")
    if proposal.state is ProposalState.open:
        raise Refused("conflict", f"{proposal.id} waits for an answer", state="open")
    if proposal.state not in (ProposalState.allowed, ProposalState.approved):
        refuse_settled(proposal)
    approved = proposal.state is ProposalState.approved
    mode = turn.facts.mode
    if is_late(proposal, turn.now_ms):
        lapse(turn, proposal)
    elif mode in (Mode.paused, Mode.observe) or (mode is Mode.approve and not approved):
        refuse(turn, proposal.id, verdict_of([deny("mode", f"the mode is {mode} by now")]))
    elif approved and is_stale(turn.facts, proposal):
        look_again(turn, proposal)
    else:
        _judge_and_act(turn, proposal, approved)


def _judge_and_act(turn: Turn, proposal: Proposal, approved: bool) -> None:
    action = proposal.action
    assert action is not None, "only an action is ever allowed"
    verdict = judge(turn.state, action, turn.now_ms, approved=approved, cycle=proposal.cycle)
    if verdict.ruling is Ruling.deny:
        refuse(turn, proposal.id, verdict)
    elif verdict.ruling is Ruling.ask:
        _ask_after_all(turn, proposal)
    else:
        _act(turn, proposal.id, action)


def _ask_after_all(turn: Turn, proposal: Proposal) -> None:
    """It was allowed, and must be asked by now: to the inbox, if there is room."""
    facts = turn.facts
    waiting = sum(1 for name in facts.unsettled if facts.proposals[name].state is ProposalState.open)
    if waiting >= facts.settings.pending_approvals_max:
        refuse(turn, proposal.id, verdict_of([deny("pending-cap", f"{waiting} approvals wait already")]))
    else:
        look_again(turn, proposal)


def _act(turn: Turn, name: str, action: Action) -> None:
    kind, disturbs = disturbance(Case(turn.state, action, turn.now_ms))
    turn.emit(
        ev.ActionStarted(
            at_ms=turn.now_ms,
            proposal=name,
            action=action,
            disruption=kind,
            disturbs=disturbs,
            watched=scoring.begin(turn, turn.facts.proposals[name]),
        ),
    )
    text = perform(turn, name, action)
    if _is_immediate(action):
        turn.emit(ev.ActionEnded(at_ms=turn.now_ms, proposal=name, ok=True, outcome=text))
    else:
        follow(turn, turn.facts.proposals[name])


def _is_immediate(action: Action) -> bool:
    if isinstance(action, Reschedule):
        return action.change not in ("preempt", "requeue")
    return not isinstance(action, Scale)


def perform(turn: Turn, name: str, action: Action) -> str:
    """The effects, as events of this commit; whether they may be is not asked. Returns what happened, in words."""
    match action:
        case Scale():
            fleet.scale(turn, action.pool, action.workers, SUPERVISOR)
        case Reschedule():
            _reschedule(turn, name, action)
        case Reroute():
            found = rerouted_jobs(turn.state, action)
            for job in found:
                jobs.reroute(turn, job.id, action.pool, SUPERVISOR)
            return f"{len(found)} jobs sent to {action.pool}"
        case Cordon():
            fleet.cordon(turn, action.worker, True, SUPERVISOR, f"{SUPERVISOR}: {name}")
        case Uncordon():
            fleet.cordon(turn, action.worker, False, SUPERVISOR, name)
        case Alert():
            turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="supervisor", text=action.text, by=SUPERVISOR))
    return "done"


def _reschedule(turn: Turn, name: str, action: Reschedule) -> None:
    match action.change:
        case "priority":
            jobs.change(turn, action.job, SUPERVISOR, priority=action.priority)
        case "start_at":
            jobs.change(turn, action.job, SUPERVISOR, not_before_ms=action.start_ms)
        case "pause":
            jobs.hold(turn, action.job, SUPERVISOR, name)
        case "resume":
            jobs.release(turn, action.job, SUPERVISOR)
        case "preempt":
            jobs.stop(turn, action.job, Cause.preempted, SUPERVISOR)
        case "requeue":
            jobs.stop(turn, action.job, Cause.requeued, SUPERVISOR)


def follow(turn: Turn, proposal: Proposal) -> None:
    """End an action that has reached its goal, can't reach it any more, or took too long."""
    ended = _how_it_ended(turn, proposal)
    started_ms = turn.now_ms if proposal.started_ms is None else proposal.started_ms
    if ended is None and turn.now_ms >= started_ms + limits.ACTING_TTL_MS:
        ended = (False, f"not there after {limits.ACTING_TTL_MS // limits.MINUTE_MS} minutes")
    if ended is not None:
        turn.emit(ev.ActionEnded(at_ms=turn.now_ms, proposal=proposal.id, ok=ended[0], outcome=ended[1]))


def _how_it_ended(turn: Turn, proposal: Proposal) -> tuple[bool, str] | None:
    facts, action = turn.facts, proposal.action
    if isinstance(action, Scale):
        pool = facts.pools.get(action.pool)
        if pool is None:
            return False, "the pool is gone"
        if pool.target != action.workers:
            group = group_of(facts, pool.spec)
            why = f": {group.error}" if group is not None and group.failures else ""
            return False, f"it was set to {pool.target} workers since{why}"
        standing = len(standing_workers(facts, pool))
        there = standing == pool.target and len(pool.workers) == standing
        return (True, f"{standing} workers") if there else None
    if isinstance(action, Reschedule):
        job = facts.jobs.get(action.job)
        if job is None:
            return True, "the job is over"
        return (True, f"it left its worker and is {job.state}") if job.state not in ON_WORKER else None
    return True, "done"
