"""Approvals, decisions and the mode: what people do to the supervisor. A brain has no way in here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request

from agentorch.api.access import Caller, Permission
from agentorch.api.problems import of_refusal
from agentorch.api.services import Services, caller_with, services_of
from agentorch.api.views.supervision import (
    calibration_documents,
    decision_document,
    foreseen_document,
    mode_document,
    proposal_document,
)
from agentorch.core.facts import Facts
from agentorch.core.guardrails.drafts import read_action
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.commands import AnswerApproval, SetMode
from agentorch.model.proposals import MODE_RANK, AnswerKind, Draft, Mode, Proposal, ProposalState
from agentorch.schemas.requests import AnswerRequest, BatchAnswerRequest, ForeseeRequest, ModeRequest
from agentorch.schemas.supervision import (
    AnsweredDocument,
    AnsweredItem,
    DecisionDocument,
    DecisionPage,
    ForeseenDocument,
    ModeDocument,
    ProposalDocument,
    ProposalPage,
)

router = APIRouter(tags=["supervisor"])

Watcher = Annotated[Caller, Depends(caller_with(Permission.supervisor_read))]
Answerer = Annotated[Caller, Depends(caller_with(Permission.supervisor_answer))]
ModeReader = Annotated[Caller, Depends(caller_with(Permission.fleet_read))]
ModeSetter = Annotated[Caller, Depends(caller_with(Permission.mode_lower))]
ProposalId = Annotated[str, Path(alias="proposal", max_length=limits.NAME_MAX_CHARS)]
States = Annotated[str, Query(max_length=limits.NAME_MAX_CHARS)]


@router.get("/v1/approvals")
async def list_approvals(request: Request, caller: Watcher, state: States = "open") -> ProposalPage:
    """Proposals in these states (with commas; `all` for every one kept), the newest last."""
    wanted = set(ProposalState) if state == "all" else set(_proposal_states(state))
    facts = (await services_of(request).source.view()).facts
    found = [proposal for proposal in facts.proposals.values() if proposal.state in wanted]
    shown = found[-limits.PAGE_MAX :]
    return ProposalPage(items=[proposal_document(facts, proposal) for proposal in shown], total=len(found))


def _proposal_states(text: str) -> Iterator[ProposalState]:
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word not in ProposalState.__members__:
            raise Refused("invalid", f"state: {word!r} is none of {', '.join(ProposalState)}, all")
        yield ProposalState(word)


@router.get("/v1/approvals/{proposal}")
async def get_approval(request: Request, proposal_id: ProposalId, caller: Watcher) -> ProposalDocument:
    """One proposal, whatever became of it."""
    return await _document(services_of(request), proposal_id)


@router.post("/v1/approvals/{proposal}/answer")
async def answer_approval(
    request: Request, proposal_id: ProposalId, body: AnswerRequest, caller: Answerer
) -> ProposalDocument:
    """Approve, edit (narrow only) or reject. 409 when it changed or somebody was first, 410 when it expired."""
    services = services_of(request)
    await services.source.ask(_answer(proposal_id, body, caller))
    return await _document(services, proposal_id)


@router.post("/v1/approvals:answer")
async def answer_approvals(request: Request, body: BatchAnswerRequest, caller: Answerer) -> AnsweredDocument:
    """Answer several, each by itself: one that is refused undoes no other."""
    services = services_of(request)
    items = []
    for one in body.answers:
        try:
            await services.source.ask(_answer(one.id, one, caller))
        except Refused as refused:
            answer = of_refusal(refused)
            found: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
            items.append(AnsweredItem(id=one.id, status=answer.status_code, problem=found))
        else:
            items.append(AnsweredItem(id=one.id, status=200, proposal=await _document(services, one.id)))
    return AnsweredDocument(items=items)


def _answer(proposal_id: str, body: AnswerRequest, caller: Caller) -> AnswerApproval:
    if body.edits and body.answer != "edit":
        raise Refused("invalid", "edits: only the answer `edit` takes them")
    return AnswerApproval(
        proposal=proposal_id,
        kind=AnswerKind(body.answer),
        by=caller.by,
        hash=body.proposal_hash,
        reason=body.reason,
        edits=body.edits,
    )


async def _document(services: Services, proposal_id: str) -> ProposalDocument:
    facts = (await services.source.view()).facts
    return proposal_document(facts, _find(facts, proposal_id))


def _find(facts: Facts, proposal_id: str) -> Proposal:
    proposal = facts.proposals.get(proposal_id)
    if proposal is None:
        raise Refused("not_found", f"there is no proposal {proposal_id!r}")
    return proposal


@router.post("/v1/foresee")
async def foresee(request: Request, body: ForeseeRequest, caller: Watcher) -> ForeseenDocument:
    """What would come of an action, and what guardrails would say of it. Nothing is proposed, nothing changes."""
    services = services_of(request)
    draft = Draft(action=body.action)
    action, why = read_action(draft)
    if action is None:
        raise Refused("invalid", f"action: {why}")
    outlook = await services.foresee(draft)
    return foreseen_document(await services.source.view(), action, outlook, services.source.now_ms())


@router.get("/v1/decisions")
async def list_decisions(
    request: Request,
    caller: Watcher,
    cursor: Annotated[str, Query(pattern="^[0-9]{0,15}$")] = "",
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_MAX)] = 50,
) -> DecisionPage:
    """Cycles, newest first, without what each of them saw."""
    facts = (await services_of(request).source.view()).facts
    found = [one for one in reversed(facts.decisions.values()) if not cursor or one.cycle < int(cursor)]
    return DecisionPage(
        items=[decision_document(facts, one) for one in found[:limit]],
        next=str(found[limit - 1].cycle) if len(found) > limit else None,
        total=len(facts.decisions),
        calibration=calibration_documents(facts),
    )


@router.get("/v1/decisions/{cycle}")
async def get_decision(
    request: Request, cycle: Annotated[int, Path(ge=0, le=2**53)], caller: Watcher
) -> DecisionDocument:
    """One cycle whole: what it saw, what was said to and by a model, what came of it."""
    facts = (await services_of(request).source.view()).facts
    if cycle not in facts.decisions:
        raise Refused("not_found", f"there is no decision {cycle}, or it is too old and only in the ledger")
    return decision_document(facts, facts.decisions[cycle], whole=True)


@router.get("/v1/supervisor/mode")
async def get_mode(request: Request, caller: ModeReader) -> ModeDocument:
    services = services_of(request)
    return mode_document((await services.source.view()).facts, services.settings.brain())


@router.post("/v1/supervisor/mode")
async def set_mode(request: Request, body: ModeRequest, caller: ModeSetter) -> ModeDocument:
    """Lower it with role approve, raise it with role admin. `paused` is the kill switch."""
    services = services_of(request)
    mode = Mode(body.mode)
    present = (await services.source.view()).facts.mode
    if MODE_RANK[mode] > MODE_RANK[present]:
        caller.need(Permission.admin)
    await services.source.ask(SetMode(mode=mode, by=caller.by, person=True, reason=body.reason))
    return mode_document((await services.source.view()).facts, services.settings.brain())
