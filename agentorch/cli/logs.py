"""`agentorch logs ID`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer
from agentorch.client import Client


def logs(
    job_id: str,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    attempt: int | None = None,
    rank: int = 0,
    stderr: bool = False,
    common: Common | None = None,
) -> int:
    """Show what a job wrote; the newest attempt's unless one is named. Logs outlive the worker.

    Parameters
    ----------
    follow
        Go on while it is written, from attempt to attempt, until the job has ended.
    attempt
        The number of an attempt.
    rank
        The number of a rank of a gang.
    stderr
        What it wrote to stderr, instead of stdout.
    """
    stream = "stderr" if stderr else "stdout"

    async def work(client: Client, out: Printer) -> None:
        if follow:
            async for text in client.follow_logs(job_id, attempt, stream, rank=rank):
                sys.stdout.write(text)
                sys.stdout.flush()
            return
        offset = 0
        while True:
            text, following = await client.logs(job_id, attempt, stream, offset, rank=rank)
            if not text or following == offset:
                return
            sys.stdout.write(text)
            offset = following

    return call(common, work)
