"""Replaying a part of a recording with another brain or other settings. Only where a ledger file is looked at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from agentorch.api.access import Caller, Permission
from agentorch.api.services import caller_with, services_of
from agentorch.errors import Refused
from agentorch.schemas.replay import BranchDocument, BranchRequest

router = APIRouter(tags=["replay"])

Watcher = Annotated[Caller, Depends(caller_with(Permission.supervisor_read))]


@router.post("/v1/replay/branch")
async def branch(request: Request, body: BranchRequest, caller: Watcher) -> BranchDocument:
    """What another brain would have done from there on. Answers within `wait_s`; ask again until it has ended.

    409 on a running server: it goes on meanwhile, and its ledger file can be replayed beside it.
    """
    found = services_of(request).settings.branch
    if found is None:
        raise Refused(
            "conflict", "this server is running, or has no brains to ask; use agentorch replay LEDGER --tui on its file"
        )
    return await found(body)
