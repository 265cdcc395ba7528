"""`agentorch job ID`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.jobs import why_of
from agentorch.cli.output import Printer, dollars, span, when
from agentorch.client import Client
from agentorch.schemas.documents import AttemptDocument


def job(job_id: str, *, common: Common | None = None) -> int:
    """Show one job, whole, with its attempts."""

    async def work(client: Client, out: Printer) -> None:
        found = await client.job(job_id)
        progress = "" if found.progress_percent is None else f"{found.progress_percent:g} % {found.progress_message}"
        lines = [
            ("id", found.id),
            ("name", found.name),
            ("tenant", found.tenant),
            ("state", found.state),
            ("why", why_of(found)),
            ("tier", f"{found.tier}, priority {found.priority}"),
            ("command", " ".join(found.command)),
            ("needs", found.resources),
            ("may run", found.constraints),
            ("pool", found.pool),
            ("worker", found.worker),
            ("submitted", when(found.submitted_at)),
            ("not before", when(found.not_before_at)),
            ("deadline", when(found.deadline_at)),
            ("started", when(found.started_at)),
            ("ended", when(found.ended_at)),
            ("waited", span(found.wait_s)),
            ("ran", span(found.run_s) if found.attempt else ""),
            ("cost", dollars(found.cost_usd if found.cost_known else None)),
            ("progress", progress),
            ("checkpoint", when(found.checkpoint_at)),
            ("depends on", found.depends_on),
            ("labels", found.labels),
        ]
        out.one(found, lines + [(f"attempt {one.number}", _attempt(one)) for one in found.attempts])

    return call(common, work)


def _attempt(attempt: AttemptDocument) -> str:
    parts = [attempt.worker, when(attempt.started_at)]
    if attempt.cause is not None:
        parts.append(attempt.cause)
    if attempt.exit_code is not None:
        parts.append(f"exit code {attempt.exit_code}")
    if attempt.signal is not None:
        parts.append(f"signal {attempt.signal}")
    return ", ".join(part for part in [*parts, attempt.message] if part)
