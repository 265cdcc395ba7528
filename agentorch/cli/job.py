"""`agentorch job ID`."""

from __future__ import annotations

import json

from agentorch.cli.common import Common, call
from agentorch.cli.jobs import why_of
from agentorch.cli.output import Printer, dollars, foretold, span, when
from agentorch.client import Client
from agentorch.schemas.documents import AttemptDocument, JobDocument, RankDocument


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
            ("entry", found.entry),
            ("result", json.dumps(found.result) if found.result is not None else ""),
            ("needs", found.resources),
            ("workers", found.workers if found.workers > 1 else ""),
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
            *_foretold(found),
            ("cost", dollars(found.cost_usd if found.cost_known else None)),
            ("energy", "" if found.energy_j is None else f"{found.energy_j:.0f} J"),
            ("progress", progress),
            ("checkpoint", when(found.checkpoint_at)),
            ("depends on", found.depends_on),
            ("labels", found.labels),
        ]
        for one in found.attempts:
            lines.append((f"attempt {one.number}", _ended(one)))
            lines.extend((f"  rank {number}", _ended(rank)) for number, rank in enumerate(one.ranks))
        out.one(found, lines)

    return call(common, work)


def _foretold(job: JobDocument) -> list[tuple[str, str]]:
    if not job.predicted_text:
        return []
    starts = foretold(job.predicted_start_p50_s, job.predicted_start_p90_s)
    return [
        ("starts in", starts if job.state in ("queued", "held") else ""),
        ("still runs", foretold(job.predicted_duration_p50_s, job.predicted_duration_p90_s)),
        ("ends in", foretold(job.predicted_end_p50_s, job.predicted_end_p90_s)),
        ("forecast", job.predicted_text),
    ]


def _ended(attempt: AttemptDocument | RankDocument) -> str:
    parts = [attempt.worker, when(attempt.started_at)]
    if attempt.cause is not None:
        parts.append(attempt.cause)
    if attempt.exit_code is not None:
        parts.append(f"exit code {attempt.exit_code}")
    if attempt.signal is not None:
        parts.append(f"signal {attempt.signal}")
    return ", ".join(part for part in [*parts, attempt.message] if part)
