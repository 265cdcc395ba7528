"""A cycle's report handed in: each draft is judged and becomes a proposal, whatever it is."""

from __future__ import annotations

from itertools import zip_longest

import msgspec

from agentorch.core.facts import RULES_VERSION, Facts
from agentorch.core.guardrails.binding import fingerprint, proposal_hash
from agentorch.core.guardrails.case import deny
from agentorch.core.guardrails.classes import classify
from agentorch.core.guardrails.describe import before_after, title
from agentorch.core.guardrails.drafts import read_action, recordable, recordable_draft
from agentorch.core.guardrails.judge import (
    changed_ruling,
    earlier_in_cycle,
    malformed,
    rejudge,
    ruling,
    verdict_of,
)
from agentorch.core.state import State
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.proposals import (
    Action,
    BrainReport,
    Draft,
    Mode,
    Proposal,
    ProposalState,
    Risk,
    Ruling,
    Verdict,
    target_of,
)
from agentorch.model.twin import OUTDATED, Impact

#: Drafts beyond `PROPOSALS_PER_CYCLE` that are recorded one by one; what is beyond those is one line.
EXCESS_RECORDED = limits.PROPOSALS_PER_CYCLE


def hand_in(turn: Turn, command: cmd.HandIn) -> list[Proposal]:
    """Judge and record a report; returns copies of the proposals. A brain's error is a decision without proposals."""
    facts = turn.facts
    decision = facts.decisions.get(command.cycle)
    if command.cycle != facts.cycle or decision is None:
        raise Refused("conflict", f"the present cycle is {facts.cycle}, not {command.cycle}; observe again")
    if decision.report is not None:
        raise Refused("conflict", f"cycle {command.cycle} has its report already")
    report, drafts = _kept(command.report)
    turn.emit(ev.CycleDecided(at_ms=turn.now_ms, cycle=command.cycle, report=report))
    if report.error:
        return []
    drafts_read = drafts[: limits.PROPOSALS_PER_CYCLE + EXCESS_RECORDED]
    foreseen = zip_longest(drafts_read, command.impacts[: len(drafts_read)])
    names = [_judged(turn, report.brain, draft, impact) for draft, impact in foreseen]
    excess = len(drafts) - len(names)
    if excess > 0:
        names.append(_summarised(turn, report.brain, excess))
    return [msgspec.structs.replace(facts.proposals[name]) for name in names]


def _kept(report: BrainReport) -> tuple[BrainReport, tuple[Draft, ...]]:
    """The report as it is recorded, and its drafts as they were handed in. What can't be recorded is an error."""
    try:
        kept = recordable(report)
        msgspec.json.encode(kept)
        return kept, tuple(report.drafts)
    except Exception as error:
        return BrainReport(brain="unknown", error=f"the report can't be recorded: {type(error).__name__}"), ()


def _judged(turn: Turn, brain: str, draft: Draft, impact: Impact | None) -> str:
    """Judge one draft on the state of this moment, the drafts before it included. Returns the proposal's id."""
    facts = turn.facts
    action, why = read_action(draft)
    if action is None:
        return _record(turn, brain, draft, None, malformed(why))
    earlier, judged = earlier_in_cycle(facts, facts.cycle)
    verdict = ruling(turn.state, action, turn.now_ms, earlier=earlier, judged=judged, brain=brain)
    if verdict.ruling is Ruling.ask and facts.mode is not Mode.observe:
        _supersede(turn, action)
    return _record(turn, brain, draft, action, verdict, impact)


def _supersede(turn: Turn, action: Action) -> None:
    """A newer question about a target takes the place of the open one. An allowed action never does: the agent can't
    make a question go away by acting."""
    target = target_of(action)
    for name in list(turn.facts.unsettled):
        other = turn.facts.proposals[name]
        if other.state is ProposalState.open and other.action is not None and target_of(other.action) == target:
            turn.emit(ev.ProposalSuperseded(at_ms=turn.now_ms, proposal=name, by=next_id(turn.facts)))


def next_id(facts: Facts) -> str:
    return f"p-{facts.next_proposal:06d}"


def _state_of(facts: Facts, verdict: Verdict) -> ProposalState:
    if verdict.ruling is Ruling.deny:
        return ProposalState.denied
    if facts.mode is Mode.observe:
        return ProposalState.observed
    return ProposalState.open if verdict.ruling is Ruling.ask else ProposalState.allowed


def _record(
    turn: Turn, brain: str, draft: Draft, action: Action | None, verdict: Verdict, impact: Impact | None = None
) -> str:
    proposal = _proposal(turn.facts, turn.now_ms, brain, draft, action, verdict, impact)
    turn.emit(ev.ProposalJudged(at_ms=turn.now_ms, proposal=proposal))
    return proposal.id


def _proposal(
    facts: Facts,
    now_ms: int,
    brain: str,
    draft: Draft,
    action: Action | None,
    verdict: Verdict,
    impact: Impact | None,
) -> Proposal:
    kept = recordable_draft(draft)
    state = _state_of(facts, verdict)
    expires_ms = now_ms
    if state is ProposalState.open:
        expires_ms += facts.settings.approval_ttl_ms
    elif state is ProposalState.allowed:
        expires_ms += limits.ALLOWED_TTL_MS
    entry = None if action is None else classify(facts, action)
    mark = "" if action is None else fingerprint(facts, action)
    before, after = before_after(facts, action)
    return Proposal(
        id=next_id(facts),
        cycle=facts.cycle,
        brain=brain,
        action=action,
        raw=kept.action if action is None else None,
        title=title(facts, action),
        reason=kept.reason,
        evidence=kept.evidence,
        alternatives=kept.alternatives,
        impact=impact,
        verdict=verdict,
        risk=Risk.high if entry is None else entry.risk,
        reversible=entry is not None and entry.reversible,
        hash="" if action is None else proposal_hash(action, mark, expires_ms),
        fingerprint=mark,
        rules_version=RULES_VERSION,
        judged_seq=facts.seq,
        created_ms=now_ms,
        expires_ms=expires_ms,
        before=before,
        after=after,
        state=state,
    )


def _summarised(turn: Turn, brain: str, excess: int) -> str:
    verdict = verdict_of([deny("G5", f"{excess} more proposals in one cycle were not even read")])
    return _record(turn, brain, Draft(action=None), None, verdict)


# -- when the world moves under a proposal


def look_again(turn: Turn, proposal: Proposal) -> None:
    """Judge a proposal again whose facts moved: back to the inbox as changed, or refused. Its expiry stays."""
    verdict = changed_ruling(turn.state, proposal, turn.now_ms)
    if verdict.ruling is Ruling.deny:
        refuse(turn, proposal.id, verdict)
    else:
        changed = _changed(turn.facts, proposal, verdict, turn.now_ms)
        turn.emit(ev.ProposalChanged(at_ms=turn.now_ms, proposal=changed))


def _changed(facts: Facts, proposal: Proposal, verdict: Verdict, now_ms: int) -> Proposal:
    action = proposal.action
    assert action is not None, "only actions wait"
    expires_ms = proposal.expires_ms
    if proposal.state is ProposalState.allowed:  # it was never a question before
        expires_ms = now_ms + facts.settings.approval_ttl_ms
    entry, mark = classify(facts, action), fingerprint(facts, action)
    before, after = before_after(facts, action)
    return msgspec.structs.replace(
        proposal,
        title=title(facts, action),
        verdict=verdict,
        risk=entry.risk,
        reversible=entry.reversible,
        hash=proposal_hash(action, mark, expires_ms),
        fingerprint=mark,
        rules_version=RULES_VERSION,
        judged_seq=facts.seq,
        expires_ms=expires_ms,
        impact=proposal.impact and proposal.impact.marked(OUTDATED),
        changed=proposal.changed + 1,
        before=before,
        after=after,
        state=ProposalState.open,
        answer=None,
    )


def handed_in_again(state: State, event: ev.ProposalJudged | ev.ProposalChanged) -> Proposal | None:
    """What the event must carry, made again from the recorded report on the state just before it; for `verify`.

    Impacts are taken as they are: the twin is asked outside. None for a draft that was no action: it is recorded in a
    cleaned form only, from which its denial can't be made again.
    """
    facts, proposal, now_ms = state.facts, event.proposal, event.at_ms
    verdict = rejudge(state, event)
    if isinstance(event, ev.ProposalChanged):
        return _changed(facts, facts.proposals[proposal.id], verdict, now_ms)
    decision = facts.decisions.get(proposal.cycle)
    if proposal.action is None or decision is None or decision.report is None:
        return None
    report, place = decision.report, len(decision.proposals)
    if place >= len(report.drafts):
        return None
    draft = report.drafts[place]
    return _proposal(facts, now_ms, report.brain, draft, read_action(draft)[0], verdict, proposal.impact)


def renew_impact(turn: Turn, command: cmd.RenewImpact) -> None:
    """A question that is still open gets numbers of its present world; one that moved again waits for the next."""
    proposal = turn.facts.proposals.get(command.proposal)
    if proposal is None or proposal.state is not ProposalState.open or proposal.hash != command.hash:
        return
    turn.emit(ev.ProposalForeseen(at_ms=turn.now_ms, proposal=command.proposal, impact=command.impact))


def refuse(turn: Turn, proposal: str, verdict: Verdict) -> None:
    """Record that it was judged again and denied, with what denied it."""
    notes = tuple(f"{note.rule}: {note.text}" for note in verdict.notes if note.ruling is verdict.ruling)
    turn.emit(ev.ActionRefused(at_ms=turn.now_ms, proposal=proposal, notes=notes))
