"""The client's calls about approvals, decisions and the mode."""

from __future__ import annotations

from typing import Any

from agentorch.client.transport import Transport, segment
from agentorch.schemas.replay import BranchDocument
from agentorch.schemas.supervision import (
    DecisionDocument,
    DecisionPage,
    ForeseenDocument,
    ModeDocument,
    ProposalDocument,
    ProposalPage,
)


class SupervisionCalls:
    """Every call raises ServerUnreachable and ServerRefused."""

    wire: Transport

    async def approvals(self, state: str = "open") -> list[ProposalDocument]:
        """Proposals in these states; `all` for every one that the server keeps. The newest last."""
        page = await self.wire.ask(ProposalPage, "GET", "/v1/approvals", query={"state": state})
        return page.items

    async def approval(self, proposal_id: str, /) -> ProposalDocument:
        return await self.wire.ask(ProposalDocument, "GET", f"/v1/approvals/{segment(proposal_id)}")

    async def answer(
        self,
        proposal_id: str,
        answer: str,
        /,
        *,
        edits: dict[str, int | str] | None = None,
        reason: str = "",
        proposal_hash: str = "",
    ) -> ProposalDocument:
        """`answer` is approve, edit or reject; `proposal_hash` says which version of it was looked at."""
        body = {"answer": answer, "edits": edits or {}, "reason": reason, "proposal_hash": proposal_hash}
        path = f"/v1/approvals/{segment(proposal_id)}/answer"
        return await self.wire.ask(ProposalDocument, "POST", path, body=body)

    async def answer_batch(self, answers: list[dict[str, Any]], /) -> list[dict[str, Any]]:
        """Each `{"id", "answer", ...}` is answered by itself: `{"id", "status", "proposal" | "problem"}`."""
        response = await self.wire.send("POST", "/v1/approvals:answer", body={"answers": answers})
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def foresee(self, action: dict[str, Any], /) -> ForeseenDocument:
        """What would come of an action, `{"kind": "scale", "pool": "gpu", "workers": 6}`. Nothing is proposed."""
        return await self.wire.ask(ForeseenDocument, "POST", "/v1/foresee", body={"action": action})

    async def branch(self, body: dict[str, Any], /) -> BranchDocument:
        """Replay a part of a recording, `{"brain", "set", "from", "to", "wait_s"}`; again until it is not running."""
        return await self.wire.ask(BranchDocument, "POST", "/v1/replay/branch", body=body)

    async def decisions(self, cursor: str = "", limit: int = 50) -> DecisionPage:
        return await self.wire.ask(DecisionPage, "GET", "/v1/decisions", query={"cursor": cursor, "limit": limit})

    async def decision(self, cycle: int, /) -> DecisionDocument:
        return await self.wire.ask(DecisionDocument, "GET", f"/v1/decisions/{cycle}")

    async def mode(self) -> ModeDocument:
        return await self.wire.ask(ModeDocument, "GET", "/v1/supervisor/mode")

    async def set_mode(self, mode: str, /, reason: str = "") -> ModeDocument:
        body = {"mode": mode, "reason": reason}
        return await self.wire.ask(ModeDocument, "POST", "/v1/supervisor/mode", body=body)
