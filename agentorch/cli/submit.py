"""`agentorch submit` and `agentorch run`."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from typing import Annotated

from cyclopts import Parameter

from agentorch.cli.common import Common, call
from agentorch.cli.exits import INTERRUPTED
from agentorch.cli.joboptions import JobOptions, job_body
from agentorch.cli.output import Printer, note
from agentorch.cli.waiting import timeout_s, told, wait_for_job
from agentorch.client import Client

Command = Annotated[str, Parameter(help="What to run, after --.", allow_leading_hyphen=True)]


def submit(
    *command: Command,
    wait: bool = False,
    timeout: str | None = None,
    idempotency_key: str = "",
    job: JobOptions | None = None,
    common: Common | None = None,
) -> int:
    """Submit a job and print its id. It is durable when this returns.

    Parameters
    ----------
    wait
        Wait until it has ended, and end as it ends: 0 succeeded, 1 failed, 124 timed out.
    timeout
        Wait at most this long, such as 10m; then exit code 8, and the job goes on.
    idempotency_key
        The same key and job again give the first job.
    """
    body = job_body(command, job)
    limit_s = timeout_s(timeout)

    async def work(client: Client, out: Printer) -> int:
        # A key of our own makes it safe to send the request again when the answer was lost.
        submitted = await client.submit(body, idempotency_key or secrets.token_hex(16))
        out.one(submitted, [("", submitted.id)]) if out.form != "table" else print(submitted.id, flush=True)
        return told(await wait_for_job(client, submitted.id, limit_s)) if wait else 0

    return call(common, work)


def run(
    *command: Command,
    timeout: str | None = None,
    job: JobOptions | None = None,
    common: Common | None = None,
) -> int:
    """Submit a job, show its output while it is written, then what an entry point returned, and end as it ends.

    Of a gang, this shows the output of rank 0.

    Parameters
    ----------
    timeout
        Watch at most this long, such as 10m; then exit code 8, and the job goes on.
    """
    body = job_body(command, job)
    limit_s = timeout_s(timeout)

    async def work(client: Client, out: Printer) -> int:
        submitted = await client.submit(body, secrets.token_hex(16))
        note(f"{submitted.id} submitted")
        shown = asyncio.create_task(_show(client, submitted.id))
        try:
            found = await wait_for_job(client, submitted.id, limit_s)
            if found.ended_at is not None:
                await shown
            if found.result is not None:
                print(json.dumps(found.result))
        except asyncio.CancelledError:
            note(f"{submitted.id} goes on; agentorch cancel {submitted.id} ends it")
            return INTERRUPTED
        finally:
            shown.cancel()
        return told(found)

    return call(common, work)


async def _show(client: Client, job_id: str) -> None:
    async for text in client.follow_logs(job_id):
        sys.stdout.write(text)
        sys.stdout.flush()
