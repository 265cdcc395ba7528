"""`agentorch workers [ID]`, `agentorch workers repair ID`."""

from __future__ import annotations

from cyclopts import App

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, note, size
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.schemas.documents import WorkerDocument

ROWS = 200

app = App(name="workers", help="Show workers; cordon, uncordon or repair one.")


@app.command
def repair(worker: str, *, common: Common | None = None) -> int:
    """Say that somebody looked at a worker: it and its devices take work again, and their cordons are forgotten.

    Parameters
    ----------
    worker
        The worker. For a device that is of no worker now: agentorch devices repair ID.
    """

    async def work(client: Client, out: Printer) -> None:
        _print(out, [await client.repair(worker)])

    return call(common, work)


@app.default
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
            ("state", _state),
            ("free cpus", lambda one: f"{one.free_cpus:g}/{one.cpus:g}"),
            ("free memory", lambda one: f"{size(one.free_memory_bytes) or '0'}/{size(one.memory_bytes)}"),
            ("free gpus", _gpus),
            ("jobs", lambda one: len(one.jobs)),
            ("kept for", lambda one: one.reserved_for),
            ("", lambda one: one.cordon_reason or one.health_reason),
        ],
    )


def _state(worker: WorkerDocument) -> str:
    if worker.node_state != "up":
        return f"node {worker.node_state}"
    if worker.cordoned:
        return "broken" if worker.health == "broken" else "cordoned"
    return "suspect" if worker.health == "suspect" and worker.state == "up" else worker.state


def _gpus(worker: WorkerDocument) -> str:
    if not worker.gpus:
        return ""
    out = f", {len(worker.devices_out)} out" if worker.devices_out else ""
    return f"{worker.free_gpus}/{worker.gpus}{out}"
