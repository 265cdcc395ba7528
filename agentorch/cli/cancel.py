"""`agentorch cancel ID...`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.exits import exit_code_of
from agentorch.cli.output import Printer, note
from agentorch.cli.waiting import FINISHED, timeout_s, told, wait_for_job
from agentorch.client import Client
from agentorch.errors import ServerRefused


def cancel(
    job_id: str,
    /,
    *more: str,
    wait: bool = False,
    timeout: str | None = None,
    common: Common | None = None,
) -> int:
    """Cancel jobs. A waiting one is cancelled at once; a running one is asked to end, then killed with its whole tree.

    Parameters
    ----------
    wait
        Wait until its processes are gone.
    timeout
        Wait at most this long.
    """
    limit_s = timeout_s(timeout)

    async def work(client: Client, out: Printer) -> int:
        worst, found = 0, []
        for name in (job_id, *more):
            try:
                job = await client.cancel(name)
            except ServerRefused as refused:
                note(f"agentorch: {name}: {refused}")
                worst = max(worst, exit_code_of(refused))
                continue
            if wait and job.state not in FINISHED:
                job = await wait_for_job(client, name, limit_s)
                if job.state not in FINISHED:
                    worst = max(worst, told(job))
            found.append(job)
        if found or out.form != "table":
            out.rows(found, [("id", lambda job: job.id), ("state", lambda job: job.state)])
        return worst

    return call(common, work)
