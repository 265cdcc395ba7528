"""`agentorch workers [ID]`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, note, size
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.schemas.documents import WorkerDocument

ROWS = 200


def workers(
    worker: str = "",
    *,
    cordon: bool | None = None,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Show workers. With an ID, `--cordon` places nothing new there, `--no-cordon` takes that back.

    Parameters
    ----------
    worker
        One worker.
    cordon
        Cordon or uncordon it.
    reason
        Why, for the record.
    """
    if not worker and cordon is not None:
        raise ConfigError("which worker? agentorch workers ID --cordon")

    async def work(client: Client, out: Printer) -> None:
        if cordon is not None:
            _print(out, [await client.cordon(worker, cordon, reason=reason)])
            return
        found = [one for one in await client.workers() if worker in ("", one.id)]
        shown = found if out.form != "table" else found[:ROWS]
        _print(out, shown)
        if len(shown) < len(found):
            note(f"{len(shown)} of {len(found)} workers; -o json shows all")

    return call(common, work)


def _print(out: Printer, found: list[WorkerDocument]) -> None:
    out.rows(
        found,
        [
            ("worker", lambda one: one.id),
            ("pool", lambda one: one.pool),
            ("state", lambda one: "cordoned" if one.cordoned else one.state),
            ("free cpus", lambda one: f"{one.free_cpus:g}/{one.cpus:g}"),
            ("free memory", lambda one: f"{size(one.free_memory_bytes) or '0'}/{size(one.memory_bytes)}"),
            ("free gpus", lambda one: f"{one.free_gpus}/{one.gpus}" if one.gpus else ""),
            ("jobs", lambda one: len(one.jobs)),
            ("kept for", lambda one: one.reserved_for),
            ("", lambda one: one.cordon_reason),
        ],
    )
