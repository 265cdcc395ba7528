"""`agentorch jobs`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, dollars, note, span, when
from agentorch.client import Client
from agentorch.schemas.documents import JobDocument


def jobs(
    *,
    state: str = "",
    tenant: str = "",
    pool: str = "",
    label: str = "",
    q: str = "",
    limit: int = 50,
    all_pages: bool = False,
    common: Common | None = None,
) -> int:
    """List jobs, newest first.

    Parameters
    ----------
    state
        States, with commas; `live` and `finished` stand for several.
    tenant
        Jobs of this tenant.
    pool
        Jobs that run or ran in this pool, or were sent to it.
    label
        KEY or KEY=VALUE.
    q
        Part of the id, the name or the command.
    limit
        Most rows to show.
    all_pages
        Show every job, however many.
    """

    async def work(client: Client, out: Printer) -> None:
        found: list[JobDocument] = []
        cursor, total = "", 0
        while True:
            room = 1_000 if all_pages else min(1_000, limit - len(found))
            page = await client.jobs(
                state=state, tenant=tenant, pool=pool, label=label, q=q, cursor=cursor, limit=max(1, room)
            )
            found.extend(page.items)
            total = page.total
            if page.next is None or (not all_pages and len(found) >= limit):
                break
            cursor = page.next
        out.rows(
            found,
            [
                ("id", lambda job: job.id),
                ("name", lambda job: job.name),
                ("tenant", lambda job: job.tenant),
                ("tier", lambda job: job.tier),
                ("state", lambda job: job.state),
                ("pool", lambda job: job.pool),
                ("submitted", lambda job: when(job.submitted_at)),
                ("wait", lambda job: span(job.wait_s)),
                ("run", lambda job: span(job.run_s) if job.attempt else ""),
                ("cost", lambda job: dollars(job.cost_usd if job.cost_known else None)),
                ("why", why_of),
            ],
        )
        if len(found) < total:
            note(f"{len(found)} of {total} jobs; --all-pages or a larger --limit shows more")

    return call(common, work)


def why_of(job: JobDocument) -> str:
    """Why it waits, or how it ended."""
    if job.reason is not None:
        return f"{job.reason.code}: {job.reason.text}"
    if job.cause in (None, "completed"):
        return ""
    code = f", exit code {job.exit_code}" if job.exit_code is not None else ""
    return f"{job.cause}{code}"
