"""`agentorch nodes [ID]`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, note, size
from agentorch.client import Client
from agentorch.schemas.documents import NodeDocument

ID_CHARS = 16  # engines name nodes by long numbers; their beginnings tell them apart


def nodes(node: str = "", *, common: Common | None = None) -> int:
    """Show the machines that executors list, beside the server's own.

    Parameters
    ----------
    node
        One node, or the beginning of its id.
    """

    async def work(client: Client, out: Printer) -> None:
        found = [one for one in await client.nodes() if one.id.startswith(node)]
        if not found and not node:
            note("no executor lists nodes; work runs on the server's own machine")
        _print(out, found)

    return call(common, work)


def _print(out: Printer, found: list[NodeDocument]) -> None:
    out.rows(
        found,
        [
            ("node", lambda one: one.id[:ID_CHARS]),
            ("executor", lambda one: one.executor),
            ("type", lambda one: one.type),
            ("state", lambda one: one.state),
            ("address", lambda one: one.address),
            ("cpus", lambda one: f"{one.cpus:g}"),
            ("memory", lambda one: size(one.memory_bytes)),
            ("gpus", lambda one: len(one.devices) or ""),
            ("pools", lambda one: ", ".join(one.pools)),
            ("workers", lambda one: len(one.workers)),
            ("", lambda one: one.problem),
        ],
    )
