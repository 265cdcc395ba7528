"""`agentorch change ID`."""

from __future__ import annotations

from typing import Any

from agentorch.cli.common import Common, call
from agentorch.cli.jobs import why_of
from agentorch.cli.output import Printer
from agentorch.client import Client
from agentorch.errors import ConfigError


def change(
    job_id: str,
    *,
    priority: int | None = None,
    deadline: str | None = None,
    start_at: str | None = None,
    pool: str | None = None,
    hold: bool | None = None,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Change a live job's place in time, or where it goes.

    Parameters
    ----------
    priority
        0 to 100.
    deadline
        ISO-8601 with a zone, or +2h.
    start_at
        Not before then.
    pool
        Move it there, or with "" to any pool that it allows.
    hold
        Hold it, or with --no-hold release it.
    reason
        Why, for the record.
    """
    given: dict[str, Any] = {
        "priority": priority,
        "deadline": deadline,
        "start_at": start_at,
        "pool": pool,
        "hold": hold,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise ConfigError("there is nothing to change: name at least one option")

    async def work(client: Client, out: Printer) -> None:
        found = await client.patch_job(job_id, reason=reason, **changes)
        out.one(found, [("id", found.id), ("state", found.state), ("priority", found.priority), ("why", why_of(found))])

    return call(common, work)
