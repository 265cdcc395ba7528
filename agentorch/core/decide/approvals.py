"""What people answer, and what time does to what nobody answered. Silence is a no, and not a person's."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from agentorch.core.decide.proposals import look_again
from agentorch.core.facts import Facts
from agentorch.core.guardrails.binding import fingerprint, proposal_hash
from agentorch.core.guardrails.classes import classify
from agentorch.core.guardrails.describe import before_after, clean, title
from agentorch.core.guardrails.edits import narrowed
from agentorch.core.guardrails.judge import is_stale, judge
from agentorch.core.guardrails.protection import is_supervisor
from agentorch.core.turn import Turn
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.proposals import Action, Answer, AnswerKind, Mode, Proposal, ProposalState, Ruling


def find(facts: Facts, name: str) -> Proposal:
    proposal = facts.proposals.get(name)
    if proposal is None:
        raise Refused("not_found", f"there is no proposal {name!r}")
    return proposal


def answer(turn: Turn, command: cmd.AnswerApproval) -> Proposal:
    """Record a person's answer; the first wins. Carrying out is a command of its own. Returns a copy."""
    facts = turn.facts
    proposal = find(facts, command.proposal)
    _check_open(proposal, turn.now_ms)
    if is_supervisor(command.by):
        raise Refused("forbidden", "G16: the supervisor can't answer an approval", rule="G16")
    given = Answer(
        kind=command.kind, by=command.by, at_ms=turn.now_ms, reason=clean(command.reason, limits.REASON_MAX_CHARS)
    )
    if command.kind is AnswerKind.reject:
        turn.emit(ev.ApprovalAnswered(at_ms=turn.now_ms, proposal=proposal.id, answer=given))
        return msgspec.structs.replace(proposal)
    if command.kind is AnswerKind.approve and command.edits:
        raise Refused("invalid", "an approval takes no edits; answer with edit")
    _check_fresh(turn, proposal, command.hash)
    if command.kind is AnswerKind.edit:
        turn.emit(_edited(turn, proposal, given, narrowed(facts, proposal, command.edits)))
    else:
        turn.emit(ev.ApprovalAnswered(at_ms=turn.now_ms, proposal=proposal.id, answer=given))
    return msgspec.structs.replace(proposal)


def _check_open(proposal: Proposal, now_ms: int) -> None:
    if proposal.state is ProposalState.open and now_ms < proposal.expires_ms:
        return
    if proposal.state in (ProposalState.open, ProposalState.expired):
        raise Refused("expired", f"{proposal.id} expired; nothing happened", state="expired")
    refuse_settled(proposal)


def refuse_settled(proposal: Proposal) -> NoReturn:
    by = f" by {proposal.answer.by}" if proposal.answer is not None else ""
    raise Refused("already_answered", f"{proposal.id} is {proposal.state}{by}", state=str(proposal.state))


def _check_fresh(turn: Turn, proposal: Proposal, given_hash: str) -> None:
    """G17: the yes is to exactly what was looked at, and that is still so."""
    if turn.facts.mode in (Mode.paused, Mode.observe):
        raise Refused("paused", f"the supervisor is in mode {turn.facts.mode}: nothing is carried out")
    if not given_hash:
        raise Refused("invalid", "an approval names the proposal_hash that was looked at")
    if given_hash != proposal.hash:
        raise Refused("changed", f"{proposal.id} is not what was looked at; look again", hash=proposal.hash)
    if is_stale(turn.facts, proposal):
        raise Refused("changed", f"the world moved under {proposal.id}; look again in a moment")


def _edited(turn: Turn, proposal: Proposal, given: Answer, action: Action) -> ev.ApprovalAnswered:
    facts = turn.facts
    verdict = judge(turn.state, action, turn.now_ms, approved=True, cycle=proposal.cycle)
    if verdict.ruling is Ruling.deny:
        note = verdict.notes[-1]
        raise Refused("guardrail", f"{note.rule}: {note.text}", rule=note.rule)
    return ev.ApprovalAnswered(
        at_ms=turn.now_ms,
        proposal=proposal.id,
        answer=msgspec.structs.replace(given, edited=action, previous=proposal.action),
        hash=proposal_hash(action, fingerprint(facts, action), proposal.expires_ms),
        title=title(facts, action),
        after=before_after(facts, action)[1],
        verdict=verdict,
        risk=classify(facts, action).risk,
    )


def age(turn: Turn, proposal: Proposal) -> None:
    """What time and a moving world do to a proposal that nobody has carried out."""
    now_ms = turn.now_ms
    if proposal.state is ProposalState.open:
        if now_ms >= proposal.expires_ms:
            turn.emit(ev.ApprovalExpired(at_ms=now_ms, proposal=proposal.id))
        elif is_stale(turn.facts, proposal):
            look_again(turn, proposal)
    elif is_late(proposal, now_ms):
        lapse(turn, proposal)


def is_late(proposal: Proposal, now_ms: int) -> bool:
    """Whether it may not be carried out any more, because it was not in time."""
    if proposal.state is ProposalState.allowed:
        return now_ms >= proposal.expires_ms
    if proposal.state is ProposalState.approved:
        assert proposal.answer is not None, "an approved proposal has an answer"
        return now_ms >= proposal.answer.at_ms + limits.APPROVED_TTL_MS
    return False


def lapse(turn: Turn, proposal: Proposal) -> None:
    why = f"{proposal.state}, and not carried out in time"
    turn.emit(ev.ProposalLapsed(at_ms=turn.now_ms, proposal=proposal.id, why=why))
