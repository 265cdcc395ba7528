"""A server that answers from a recording: the same interface, no network, a clock that stands still.

The documents of a recording are those of the wire, in one JSON object: `snapshot`, and where they are asked for `at`
(sequence -> snapshot), `jobs`, `explain`, `logs`, `job_events` (each job -> ...), `decisions`, `calibration`,
`foreseen`, `branches`. What is sent is kept in `sent`, and changes the recording as far as a screen would show it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from agentorch.errors import ServerRefused, ServerUnreachable
from agentorch.schemas.documents import ExplainDocument, JobDocument, JobPage, TenantDocument, WorkerDocument
from agentorch.schemas.replay import BranchDocument
from agentorch.schemas.supervision import (
    AnswerDocument,
    DecisionDocument,
    DecisionPage,
    ForeseenDocument,
    ModeDocument,
    ProposalDocument,
    SnapshotDocument,
)
from agentorch.schemas.twin import CalibrationDocument
from agentorch.tui.feed import Feed

ANSWERED = {"approve": "approved", "edit": "approved", "reject": "rejected"}
JOB_FIELDS = ("state", "tenant", "pool")


class RecordedApi:
    """Fulfils `feed.Api`. `gone` makes every call fail as a lost server does."""

    def __init__(self, recording: dict[str, Any]) -> None:
        self.now_snapshot = SnapshotDocument.model_validate(recording["snapshot"])
        self.past = {int(seq): SnapshotDocument.model_validate(one) for seq, one in recording.get("at", {}).items()}
        self.all_jobs = [JobDocument.model_validate(one) for one in recording.get("jobs", [])]
        self.explanations = recording.get("explain", {})
        self.texts: dict[str, str] = recording.get("logs", {})
        self.timelines: dict[str, list[dict[str, Any]]] = recording.get("job_events", {})
        self.all_decisions = [DecisionDocument.model_validate(one) for one in recording.get("decisions", [])]
        self.calibration = [CalibrationDocument.model_validate(one) for one in recording.get("calibration", [])]
        self.foreseen = [ForeseenDocument.model_validate(one) for one in recording.get("foreseen", [])]
        self.branches = [BranchDocument.model_validate(one) for one in recording.get("branches", [])]
        self.branched: list[dict[str, Any]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.gone = ""
        self.refusal: ServerRefused | None = None  # the answer to everything that would change something
        self.feed_events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def _reach(self) -> None:
        if self.gone:
            raise ServerUnreachable(self.gone)

    def _take(self, what: str, **fields: Any) -> None:
        self._reach()
        self.sent.append((what, fields))
        if self.refusal is not None:
            raise self.refusal

    async def aclose(self) -> None:
        self.feed_events.put_nowait(None)

    async def snapshot(self, at: int | None = None) -> SnapshotDocument:
        self._reach()
        if at is None:
            return self.now_snapshot
        known = [seq for seq in self.past if seq <= at]
        if not known:
            raise ServerRefused(404, "not_found", f"there is no state at {at}")
        return self.past[max(known)].model_copy(update={"seq": at})

    async def events(self, after: int | None) -> AsyncGenerator[dict[str, Any], None]:
        """What was put into `feed_events`; None, or a server that is gone, ends it."""
        while True:
            self._reach()
            event = await self.feed_events.get()
            if event is None:
                raise ServerUnreachable(self.gone or "the recording ended")
            yield event

    # -- reading

    async def jobs(
        self,
        *,
        state: str = "",
        tenant: str = "",
        pool: str = "",
        label: str = "",
        q: str = "",
        cursor: str = "",
        limit: int = 100,
    ) -> JobPage:
        self._reach()
        wanted = {"state": state, "tenant": tenant, "pool": pool}
        found = [job for job in self.all_jobs if _matches(job, wanted, label, q)]
        start = int(cursor or 0)
        more = start + limit < len(found)
        return JobPage(items=found[start : start + limit], total=len(found), next=str(start + limit) if more else None)

    def _job(self, job_id: str) -> JobDocument:
        self._reach()
        for job in self.all_jobs:
            if job.id == job_id:
                return job
        raise ServerRefused(404, "not_found", f"there is no job {job_id}")

    async def job(self, job_id: str, /) -> JobDocument:
        return self._job(job_id)

    async def explain(self, job_id: str, /) -> ExplainDocument:
        job = self._job(job_id)
        found = self.explanations.get(job_id)
        if found is not None:
            return ExplainDocument.model_validate(found)
        return ExplainDocument(job=job_id, state=job.state, reason=job.reason, predicates=[], pools=[])

    async def logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", offset: int = 0, *, rank: int = 0
    ) -> tuple[str, int]:
        self._job(job_id)
        text = self.texts.get(job_id, "") if stream == "stdout" else ""
        return text[offset:], len(text)

    async def follow_logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", *, rank: int = 0
    ) -> AsyncGenerator[str, None]:
        yield (await self.logs(job_id, attempt, stream, rank=rank))[0]

    async def job_events(self, job_id: str, /) -> list[dict[str, Any]]:
        self._job(job_id)
        return self.timelines.get(job_id, [])

    async def decisions(self, cursor: str = "", limit: int = 50) -> DecisionPage:
        self._reach()
        return DecisionPage(
            items=self.all_decisions[:limit], total=len(self.all_decisions), calibration=self.calibration
        )

    async def decision(self, cycle: int, /) -> DecisionDocument:
        self._reach()
        for decision in self.all_decisions:
            if decision.cycle == cycle:
                return decision
        raise ServerRefused(404, "not_found", f"there is no decision {cycle}")

    async def foresee(self, action: dict[str, Any], /) -> ForeseenDocument:
        """The answer of the recording to this action. Raises ServerRefused where it has none."""
        self._reach()
        for one in self.foreseen:
            if one.action == action:
                return one
        raise ServerRefused(409, "conflict", f"the recording has no answer about {json.dumps(action)}")

    async def branch(self, body: dict[str, Any], /) -> BranchDocument:
        """The answers of the recording one after the other, the last one for ever. Raises ServerRefused without any."""
        self._reach()
        self.branched.append(body)
        if not self.branches:
            raise ServerRefused(409, "conflict", "the recording has no branch")
        return self.branches.pop(0) if len(self.branches) > 1 else self.branches[0]

    # -- changing

    async def cancel(self, job_id: str, /) -> JobDocument:
        self._take("cancel", job=job_id)
        job = self._job(job_id)
        job.state = "stopping" if job.state == "running" else "cancelled"
        return job

    async def patch_job(self, job_id: str, /, **changes: Any) -> JobDocument:
        self._take("patch_job", job=job_id, **changes)
        job = self._job(job_id)
        if changes.get("priority") is not None:
            job.priority = int(changes["priority"])
        return job

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
        self._take("answer", id=proposal_id, answer=answer, edits=edits, reason=reason, proposal_hash=proposal_hash)
        snapshot = self.now_snapshot
        for proposal in snapshot.approvals:
            if proposal.id == proposal_id:
                proposal.state = ANSWERED[answer]
                proposal.answer = AnswerDocument(kind=answer, by="you", at=snapshot.server_time, reason=reason)
                snapshot.approvals = [one for one in snapshot.approvals if one.id != proposal_id]
                snapshot.decided = [proposal, *snapshot.decided]
                self._moved()
                return proposal
        raise ServerRefused(409, "already_answered", f"{proposal_id} was answered before")

    async def answer_batch(self, answers: list[dict[str, Any]], /) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        for one in answers:
            try:
                await self.answer(one["id"], one["answer"], proposal_hash=one.get("proposal_hash", ""))
            except ServerRefused as refused:
                results.append({"id": one["id"], "status": refused.status, "problem": {"detail": str(refused)}})
            else:
                results.append({"id": one["id"], "status": 200})
        return results

    async def set_mode(self, mode: str, /, reason: str = "") -> ModeDocument:
        self._take("set_mode", mode=mode, reason=reason)
        self.now_snapshot.mode = self.now_snapshot.mode.model_copy(update={"mode": mode, "by": "you"})
        self._moved()
        return self.now_snapshot.mode

    async def cordon(self, worker: str, cordoned: bool, /, reason: str = "") -> WorkerDocument:
        self._take("cordon", worker=worker, cordoned=cordoned, reason=reason)
        found = next(one for one in self.now_snapshot.workers if one.id == worker)
        found.cordoned, found.cordon_reason = cordoned, reason
        self._moved()
        return found

    async def set_budget(self, tenant: str, /, **fields: Any) -> TenantDocument:
        self._take("set_budget", tenant=tenant, **fields)
        for budget in self.now_snapshot.budgets:
            if budget.tenant == tenant:
                budget.hard_cap_usd = fields.get("hard_cap_usd")
        self._moved()
        return next(
            (one for one in self.now_snapshot.tenants if one.name == tenant), TenantDocument(name=tenant, weight=100)
        )

    def _moved(self) -> None:
        """Something changed: a new sequence, and an event that says so."""
        self.now_snapshot = self.now_snapshot.model_copy(update={"seq": self.now_snapshot.seq + 1})
        self.feed_events.put_nowait({"seq": self.now_snapshot.seq})


def _matches(job: JobDocument, wanted: dict[str, str], label: str, q: str) -> bool:
    if any(value and getattr(job, name) not in value.split(",") for name, value in wanted.items()):
        return False
    key, _, value = label.partition("=")
    if label and job.labels.get(key) != value:
        return False
    return not q or q.lower() in f"{job.id} {job.name} {(job.entry or {}).get('call') or ' '.join(job.command)}".lower()


class RecordedFeed(Feed):
    """A feed from a recording, at the moment it was made."""

    def __init__(self, recording: dict[str, Any], *, read_only: bool = False) -> None:
        self.recorded = RecordedApi(recording)
        moment = self.recorded.now_snapshot.server_time
        super().__init__(lambda: self.recorded, read_only=read_only, clock=lambda: moment)

    @classmethod
    def read(cls, path: Path, *, read_only: bool = False) -> RecordedFeed:
        return cls(json.loads(path.read_text("utf-8")), read_only=read_only)
