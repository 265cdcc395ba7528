"""The client's calls about jobs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from agentorch.client.transport import Transport, segment
from agentorch.errors import ServerRefused, ServerUnreachable
from agentorch.schemas.documents import BatchDocument, ExplainDocument, JobDocument, JobPage, PlanDocument


class JobCalls:
    """Every call raises ServerUnreachable and ServerRefused."""

    wire: Transport

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
        """Newest first. `state` may name several, with commas, or `live` and `finished`."""
        query = {"state": state, "tenant": tenant, "pool": pool, "label": label, "q": q, "cursor": cursor}
        return await self.wire.ask(JobPage, "GET", "/v1/jobs", query={**query, "limit": limit})

    async def job(self, job_id: str, /) -> JobDocument:
        return await self.wire.ask(JobDocument, "GET", f"/v1/jobs/{segment(job_id)}")

    async def explain(self, job_id: str, /) -> ExplainDocument:
        return await self.wire.ask(ExplainDocument, "GET", f"/v1/jobs/{segment(job_id)}/explain")

    async def plan(self, body: dict[str, Any], /) -> PlanDocument:
        """What would become of this job. Submit with `judged_seq=plan.seq` to refuse a world that moved since."""
        return await self.wire.ask(PlanDocument, "POST", "/v1/jobs:plan", body=body)

    async def submit(
        self, body: dict[str, Any], /, idempotency_key: str = "", *, judged_seq: int | None = None
    ) -> JobDocument:
        """Returns when the job is durable. The same key and body again give the first job."""
        headers = _submit_headers(idempotency_key, judged_seq)
        return await self.wire.ask(JobDocument, "POST", "/v1/jobs", body=body, headers=headers)

    async def submit_batch(self, bodies: Sequence[dict[str, Any]], /, idempotency_key: str = "") -> BatchDocument:
        headers = _submit_headers(idempotency_key, None)
        return await self.wire.ask(
            BatchDocument, "POST", "/v1/jobs:batch", body={"jobs": list(bodies)}, headers=headers
        )

    async def cancel(self, job_id: str, /) -> JobDocument:
        """The job as it is then: `cancelled`, or `stopping` while its processes are being ended."""
        return await self.wire.ask(JobDocument, "DELETE", f"/v1/jobs/{segment(job_id)}")

    async def patch_job(self, job_id: str, /, **changes: Any) -> JobDocument:
        """`priority`, `deadline`, `start_at`, `hold`, `pool`, `reason`; what is not named stays."""
        return await self.wire.ask(JobDocument, "PATCH", f"/v1/jobs/{segment(job_id)}", body=changes)

    async def progress(self, job_id: str, /, **report: Any) -> JobDocument:
        """`percent`, `message`, `checkpoint`, `move_to`: what a running job says of itself."""
        return await self.wire.ask(JobDocument, "POST", f"/v1/jobs/{segment(job_id)}/progress", body=report)

    async def logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", offset: int = 0, *, rank: int = 0
    ) -> tuple[str, int]:
        """(text from byte `offset` on, offset to read on from). A page is at most 8 MiB. `rank` is one of a gang's."""
        query = {"attempt": attempt, "rank": rank, "stream": stream, "offset": offset}
        response = await self.wire.send("GET", f"/v1/jobs/{segment(job_id)}/logs", query=query)
        return response.content.decode(errors="replace"), int(response.headers.get("x-next-offset", offset))

    async def follow_logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", *, rank: int = 0
    ) -> AsyncGenerator[str, None]:
        """Text as it is written; without `attempt` from attempt to attempt, until the job has ended."""
        query = {"attempt": attempt, "rank": rank, "stream": stream, "follow": "true"}
        async with self.wire.stream(f"/v1/jobs/{segment(job_id)}/logs", query) as events:
            async for event in events:
                if event.event == "end":
                    return
                document = json.loads(event.data)
                if event.event == "problem":
                    raise ServerRefused(document["status"], document["code"], document["detail"])
                if event.event == "message":
                    yield document["text"]
        raise ServerUnreachable("the log stream ended early")

    async def job_events(self, job_id: str, /) -> list[dict[str, Any]]:
        """The job's life, from the ledger: `{"seq", "at", "event", "text", "body"}`, oldest first."""
        response = await self.wire.send("GET", f"/v1/jobs/{segment(job_id)}/events")
        items: list[dict[str, Any]] = response.json()["items"]
        return items


def _submit_headers(idempotency_key: str, judged_seq: int | None) -> dict[str, str]:
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    if judged_seq is not None:
        headers["if-match"] = str(judged_seq)
    return headers
