"""Waiting for jobs to end."""

from __future__ import annotations

import asyncio
import contextlib

from agentorch.cli.exits import PENDING, exit_code_of_job
from agentorch.cli.output import note
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.model.units import parse_duration_ms
from agentorch.schemas.documents import JobDocument

FINISHED = frozenset({"succeeded", "failed", "cancelled"})


def timeout_s(text: str | None) -> float | None:
    """`10m` as seconds. Raises ConfigError."""
    if text is None:
        return None
    try:
        return parse_duration_ms(text) / 1000
    except ValueError as error:
        raise ConfigError(f"--timeout: {error}") from error


async def wait_for_job(client: Client, job_id: str, limit_s: float | None) -> JobDocument:
    """The job when it has ended, or as it is when the time is over. Follows the ledger; asks for nothing in between."""
    try:
        async with asyncio.timeout(limit_s):
            async with contextlib.aclosing(client.events(None)) as events:
                async for event in events:  # the first is a heartbeat: from there on no end can be missed
                    ended = event.get("event") == "job-ended" and event.get("job") == job_id
                    if ended or "heartbeat" in event:
                        job = await client.job(job_id)
                        if job.state in FINISHED:
                            return job
    except TimeoutError:
        pass
    return await client.job(job_id)


def told(job: JobDocument) -> int:
    """Narrate how it ended; returns the exit code."""
    code = exit_code_of_job(job.state, job.cause)
    if code == PENDING:
        why = f": {job.reason.text}" if job.reason is not None else ""
        note(f"{job.id} is still {job.state} at the time-out{why}")
    else:
        how = f", exit code {job.exit_code}" if job.exit_code is not None else ""
        cause = f": {job.cause}" if job.cause not in (None, "completed") else ""
        note(f"{job.id} {job.state}{cause}{how}")
    return code
