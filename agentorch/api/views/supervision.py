"""Proposals, decisions, mode, history: what the supervisor wanted, what guardrails said, what people answered."""

from __future__ import annotations

from typing import Any

import msgspec

from agentorch.core.facts import Decision, Facts
from agentorch.core.guardrails import edit_fields, preview
from agentorch.core.guardrails.describe import before_after, title
from agentorch.core.observe import calibrated
from agentorch.core.state import State
from agentorch.model.observation import HistoryPoint
from agentorch.model.proposals import (
    Action,
    Answer,
    Draft,
    Proposal,
    ProposalState,
    Reroute,
    Reschedule,
    Verdict,
    target_of,
)
from agentorch.model.twin import Impact, Outlook
from agentorch.model.units import seconds, seconds_or_none, usd
from agentorch.schemas.supervision import (
    AnswerDocument,
    DecisionDocument,
    ExchangeDocument,
    ForeseenDocument,
    HistoryDocument,
    ModeDocument,
    NoteDocument,
    ProposalDocument,
)
from agentorch.schemas.twin import CalibrationDocument, ImpactDocument, ScoreDocument


def proposal_document(facts: Facts, proposal: Proposal) -> ProposalDocument:
    action = proposal.action
    is_open = proposal.state is ProposalState.open
    return ProposalDocument(
        id=proposal.id,
        cycle=proposal.cycle,
        brain=proposal.brain,
        title=proposal.title,
        action=None if action is None else msgspec.to_builtins(action),
        kind=kind_of(action),
        target="" if action is None else target_of(action),
        state=proposal.state,
        risk=proposal.risk,
        reversible=proposal.reversible,
        reason=proposal.reason,
        evidence=list(proposal.evidence),
        alternatives=list(proposal.alternatives),
        impact=None if proposal.impact is None else _impact(proposal.impact),
        score=None if proposal.score is None else ScoreDocument.model_validate(msgspec.to_builtins(proposal.score)),
        ruling=proposal.verdict.ruling,
        notes=_notes(proposal.verdict),
        before=proposal.before,
        after=proposal.after,
        affected_jobs=affected_jobs(action),
        proposal_hash=proposal.hash,
        rules_version=proposal.rules_version,
        judged_seq=proposal.judged_seq,
        created_at=seconds(proposal.created_ms),
        expires_at=seconds(proposal.expires_ms),
        changed=proposal.changed,
        answer=None if proposal.answer is None else answer_document(proposal.answer),
        started_at=seconds_or_none(proposal.started_ms),
        ended_at=seconds_or_none(proposal.ended_ms),
        outcome=proposal.outcome,
        edit_fields=edit_fields(facts, proposal) if is_open else {},
        command=f"agentorch approve {proposal.id}" if is_open else "",
    )


def foreseen_document(state: State, action: Action, outlook: Outlook, now_ms: int) -> ForeseenDocument:
    facts = state.facts
    verdict = preview(state, (Draft(action=msgspec.to_builtins(action)),), now_ms)[0]
    before, after = before_after(facts, action)
    return ForeseenDocument(
        action=msgspec.to_builtins(action),
        kind=kind_of(action),
        target=target_of(action),
        title=title(facts, action),
        before=before,
        after=after,
        seq=facts.seq,
        at=seconds(now_ms),
        ruling=verdict.ruling,
        notes=_notes(verdict),
        impact=_impact(outlook.impacts[0]),
        rests_on=outlook.text,
    )


def _notes(verdict: Verdict) -> list[NoteDocument]:
    return [NoteDocument(rule=note.rule, ruling=note.ruling, text=note.text) for note in verdict.notes]


def _impact(impact: Impact) -> ImpactDocument:
    return ImpactDocument.model_validate(msgspec.to_builtins(impact))


def kind_of(action: Action | None) -> str:
    return "malformed" if action is None else str(action.__struct_config__.tag)


def affected_jobs(action: Action | None) -> list[str]:
    """The jobs that an action names; a class of jobs is known only when it is carried out."""
    match action:
        case Reschedule(job=job):
            return [job]
        case Reroute(job=job) if job:
            return [job]
        case _:
            return []


def answer_document(answer: Answer) -> AnswerDocument:
    previous = None if answer.previous is None else msgspec.to_builtins(answer.previous)
    return AnswerDocument(
        kind=answer.kind, by=answer.by, at=seconds(answer.at_ms), reason=answer.reason, previous=previous
    )


def decision_document(facts: Facts, decision: Decision, *, whole: bool = False) -> DecisionDocument:
    """`whole` adds the observation and what was exchanged with a model."""
    report = decision.report
    observation: dict[str, Any] | None = None
    exchanges: list[ExchangeDocument] = []
    if whole and decision.observation is not None:
        observation = msgspec.to_builtins(decision.observation)
    if whole and report is not None:
        exchanges = [
            ExchangeDocument(
                model=one.model,
                request=one.request,
                response=one.response,
                tokens_in=one.tokens_in,
                tokens_out=one.tokens_out,
                took_s=seconds(one.took_ms),
                status=one.status,
                fault=one.fault,
            )
            for one in report.exchanges
        ]
    proposals = [facts.proposals[name] for name in decision.proposals if name in facts.proposals]
    return DecisionDocument(
        cycle=decision.cycle,
        seq=decision.seq,
        at=seconds(decision.at_ms),
        brain="" if report is None else report.brain,
        hold="" if report is None else report.hold,
        error="" if report is None else report.error,
        fallback_from="" if report is None else report.fallback_from,
        took_s=0.0 if report is None else seconds(report.took_ms),
        observation_sha256=decision.observation_sha256,
        observation=observation,
        exchanges=exchanges,
        proposals=[proposal_document(facts, proposal) for proposal in proposals],
        calibration=_of_decision(facts, proposals),
    )


def calibration_documents(facts: Facts) -> list[CalibrationDocument]:
    """Of every brain and kind of action."""
    return [
        CalibrationDocument(brain=one.brain, kind=one.kind, scored=one.scored, inside=one.inside)
        for one in calibrated(facts)
    ]


def _of_decision(facts: Facts, proposals: list[Proposal]) -> list[CalibrationDocument]:
    kinds = {(proposal.brain, kind_of(proposal.action)) for proposal in proposals}
    return [one for one in calibration_documents(facts) if (one.brain, one.kind) in kinds]


def mode_document(facts: Facts, brain: str) -> ModeDocument:
    return ModeDocument(
        mode=facts.mode,
        by=facts.mode_by,
        reason=facts.mode_reason,
        brain=brain,
        brain_failures=facts.brain_failures,
    )


def history_document(points: list[HistoryPoint]) -> HistoryDocument:
    pools = list(dict.fromkeys(name for point in points for name in point.pools))
    return HistoryDocument(
        at=[seconds(point.at_ms) for point in points],
        queued=[point.queued for point in points],
        running=[point.running for point in points],
        wait_s_p95=[point.wait_s_p95 for point in points],
        utilization_percent=[point.utilization_percent for point in points],
        spent_usd=[usd(point.spent_usd_micros) for point in points],
        burn_usd_per_hour=[usd(point.burn_usd_micros_per_hour) for point in points],
        pool_wait_s_p95={
            name: [point.pools[name][0] if name in point.pools else None for point in points] for name in pools
        },
    )
