"""What happened around the supervisor: its mode, what it saw, what it wanted, what people answered, what came of it.

Proposals are mutable structs: one that an event carries is copied before it is kept, so that a recorded event never
changes afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from agentorch.core.facts import Acted, Alert, Decision, Facts
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import Pool
from agentorch.model.observation import Observation, PoolFacts
from agentorch.model.proposals import (
    OPEN_STATES,
    AnswerKind,
    Proposal,
    ProposalState,
    calibration_key,
    target_of,
)
from agentorch.model.twin import EDITED, Calibration


def mode_changed(state: State, event: ev.ModeChanged) -> None:
    facts = state.facts
    facts.mode, facts.mode_by, facts.mode_reason = event.mode, event.by, event.reason


def guardrails_configured(state: State, event: ev.GuardrailsConfigured) -> None:
    state.facts.settings = event.settings


def alert_raised(state: State, event: ev.AlertRaised) -> None:
    alerts = state.facts.alerts
    alerts.append(Alert(event.at_ms, event.code, event.text, event.by))
    del alerts[: -limits.ALERTS_KEPT]


# -- cycles


def cycle_observed(state: State, event: ev.CycleObserved) -> None:
    facts = state.facts
    seen = event.observation
    facts.cycle = seen.cycle
    facts.decisions[seen.cycle] = Decision(
        cycle=seen.cycle,
        seq=facts.seq + 1,
        at_ms=event.at_ms,
        observation_sha256=event.sha256,
        observation=seen,
        proposals=[],
    )
    _thin_out(facts)
    facts.history.append(event.history)
    del facts.history[: -limits.HISTORY_POINTS]
    for pool in seen.pools:
        _remember(facts, seen, pool)


def _thin_out(facts: Facts) -> None:
    """Old decisions lose what is big, and older ones go: the ledger has all of it."""
    decisions = facts.decisions
    aged = decisions.get(facts.cycle - limits.OBSERVATIONS_KEPT)
    if aged is not None:
        aged.observation = None
        if aged.report is not None:
            aged.report = msgspec.structs.replace(aged.report, exchanges=())
    while len(decisions) > limits.DECISIONS_KEPT:
        del decisions[next(iter(decisions))]


def _remember(facts: Facts, seen: Observation, seen_pool: PoolFacts) -> None:
    pool = facts.pools.get(seen_pool.name)
    if pool is None:
        return
    if seen_pool.telemetry_age_s is not None:
        pool.telemetry_ms = max(pool.telemetry_ms or 0, seen.at_ms - round(1000 * seen_pool.telemetry_age_s))
    _remember_need(pool, seen.at_ms, seen_pool.need, facts.settings.shrink_window_ms)


def _remember_need(pool: Pool, at_ms: int, need: int, window_ms: int) -> None:
    """The highest need per bucket. One entry from before the window stays: it proves that the window is covered."""
    needs = pool.needs
    if needs and at_ms < needs[-1][0] + window_ms // limits.NEED_BUCKETS:
        needs[-1] = (needs[-1][0], max(need, needs[-1][1]))
    else:
        needs.append((at_ms, need))
    while len(needs) > 1 and needs[1][0] <= at_ms - window_ms:
        del needs[0]


def cycle_decided(state: State, event: ev.CycleDecided) -> None:
    facts = state.facts
    decision = facts.decisions.get(event.cycle)
    if decision is not None:
        decision.report = event.report
    failed = bool(event.report.error or event.report.fallback_from)
    facts.brain_failures = facts.brain_failures + 1 if failed else 0


# -- proposals


def proposal_judged(state: State, event: ev.ProposalJudged) -> None:
    facts = state.facts
    facts.next_proposal += 1
    _keep(facts, event.proposal)
    decision = facts.decisions.get(event.proposal.cycle)
    if decision is not None:
        decision.proposals.append(event.proposal.id)
    while len(facts.proposals) > limits.PROPOSALS_KEPT:
        # The few that are unsettled are never dropped, so this looks past at most that many.
        del facts.proposals[next(name for name in facts.proposals if name not in facts.unsettled)]


def proposal_changed(state: State, event: ev.ProposalChanged) -> None:
    _keep(state.facts, event.proposal)


def _keep(facts: Facts, proposal: Proposal) -> None:
    facts.proposals[proposal.id] = msgspec.structs.replace(proposal)
    if proposal.state in OPEN_STATES:
        facts.unsettled[proposal.id] = None
    else:
        facts.unsettled.pop(proposal.id, None)


def _settle(state: State, name: str, into: ProposalState, at_ms: int, outcome: str = "") -> None:
    proposal = state.facts.proposals[name]
    proposal.state = into
    proposal.ended_ms = at_ms
    proposal.outcome = outcome
    state.facts.unsettled.pop(name, None)


def proposal_superseded(state: State, event: ev.ProposalSuperseded) -> None:
    _settle(state, event.proposal, ProposalState.superseded, event.at_ms, f"superseded by {event.by}")


def approval_answered(state: State, event: ev.ApprovalAnswered) -> None:
    proposal = state.facts.proposals[event.proposal]
    answer = event.answer
    proposal.answer = answer
    if answer.kind is AnswerKind.reject:
        _settle(state, event.proposal, ProposalState.rejected, event.at_ms, answer.reason)
        return
    proposal.state = ProposalState.approved
    if answer.edited is not None:
        proposal.action = answer.edited
        proposal.hash, proposal.title, proposal.after = event.hash, event.title, event.after
        proposal.verdict = event.verdict or proposal.verdict
        proposal.risk = event.risk or proposal.risk
        proposal.impact = proposal.impact and proposal.impact.marked(EDITED)


def approval_expired(state: State, event: ev.ApprovalExpired) -> None:
    _settle(state, event.proposal, ProposalState.expired, event.at_ms, "nobody answered in time; nothing happened")


def proposal_lapsed(state: State, event: ev.ProposalLapsed) -> None:
    _settle(state, event.proposal, ProposalState.lapsed, event.at_ms, event.why)


# -- actions


def action_refused(state: State, event: ev.ActionRefused) -> None:
    _settle(state, event.proposal, ProposalState.denied, event.at_ms, "; ".join(event.notes))


def action_started(state: State, event: ev.ActionStarted) -> None:
    facts = state.facts
    proposal = facts.proposals[event.proposal]
    proposal.state = ProposalState.acting
    proposal.started_ms = event.at_ms
    if event.watched is not None:
        facts.watched[event.proposal] = event.watched
    facts.acted.append(
        Acted(event.at_ms, event.proposal, target_of(event.action), event.disruption, event.disturbs),
    )
    oldest_ms = event.at_ms - limits.HOUR_MS
    while facts.acted[0].at_ms <= oldest_ms:
        del facts.acted[0]


def action_ended(state: State, event: ev.ActionEnded) -> None:
    into = ProposalState.done if event.ok else ProposalState.failed
    _settle(state, event.proposal, into, event.at_ms, event.outcome)


def proposal_foreseen(state: State, event: ev.ProposalForeseen) -> None:
    state.facts.proposals[event.proposal].impact = event.impact


def proposal_scored(state: State, event: ev.ProposalScored) -> None:
    """Also one that was begun, scored and forgotten counts towards its brain's calibration while it is known."""
    facts = state.facts
    facts.watched.pop(event.proposal, None)
    proposal = facts.proposals.get(event.proposal)
    if proposal is None or proposal.action is None:
        return
    proposal.score = event.score
    key = calibration_key(proposal.brain, proposal.action)
    known = facts.calibration.pop(key, Calibration())
    scored = known.scored + len(event.score.measures)
    inside = known.inside + sum(one.inside for one in event.score.measures)
    if scored > limits.CALIBRATION_KEPT:
        scored, inside = scored // 2, inside // 2
    facts.calibration[key] = Calibration(scored, inside)  # the last again: the first is the one seen least lately
    while len(facts.calibration) > limits.CALIBRATIONS_KEPT:
        del facts.calibration[next(iter(facts.calibration))]


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    ev.ModeChanged: mode_changed,
    ev.GuardrailsConfigured: guardrails_configured,
    ev.AlertRaised: alert_raised,
    ev.CycleObserved: cycle_observed,
    ev.CycleDecided: cycle_decided,
    ev.ProposalJudged: proposal_judged,
    ev.ProposalChanged: proposal_changed,
    ev.ProposalSuperseded: proposal_superseded,
    ev.ApprovalAnswered: approval_answered,
    ev.ApprovalExpired: approval_expired,
    ev.ProposalLapsed: proposal_lapsed,
    ev.ActionRefused: action_refused,
    ev.ActionStarted: action_started,
    ev.ActionEnded: action_ended,
    ev.ProposalScored: proposal_scored,
    ev.ProposalForeseen: proposal_foreseen,
}
