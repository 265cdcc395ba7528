"""`agentorch mode [MODE]`."""

from __future__ import annotations

from typing import Literal

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer
from agentorch.client import Client


def mode(
    mode: Literal["paused", "observe", "approve", "guarded"] | None = None,
    *,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Show or set how far the supervisor may go. `paused` is the kill switch; lowering is anybody's who may approve.

    Parameters
    ----------
    mode
        paused < observe < approve < guarded.
    reason
        Why, for the record.
    """

    async def work(client: Client, out: Printer) -> None:
        found = await client.mode() if mode is None else await client.set_mode(mode, reason=reason)
        failures = f"{found.brain_failures} failures in a row" if found.brain_failures else ""
        lines = [("mode", found.mode), ("by", found.by), ("reason", found.reason), ("brain", found.brain)]
        out.one(found, [*lines, ("", failures)])

    return call(common, work)
