"""`agentorch devices`, `agentorch devices repair ID`."""

from __future__ import annotations

from cyclopts import App

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, size, span
from agentorch.client import Client
from agentorch.schemas.documents import DeviceDocument

app = App(name="devices", help="Show devices with the age of what is known; repair one.")


@app.default
def devices(*, common: Common | None = None) -> int:
    """Show CPUs and GPUs, and how old what is known of each is. `?` is unknown, never zero."""

    async def work(client: Client, out: Printer) -> None:
        _print(out, await client.devices())

    return call(common, work)


@app.command
def repair(device: str, *, common: Common | None = None) -> int:
    """Say that somebody looked at a device: it takes work again, and its cordons are forgotten.

    Parameters
    ----------
    device
        The device, by its UUID. A worker with all its devices: agentorch workers repair ID.
    """

    async def work(client: Client, out: Printer) -> None:
        _print(out, [await client.repair_device(device)])

    return call(common, work)


def _print(out: Printer, found: list[DeviceDocument]) -> None:
    out.rows(
        found,
        [
            ("device", lambda one: one.id),
            ("kind", lambda one: one.kind),
            ("name", lambda one: one.name),
            ("node", lambda one: one.node),
            ("age", lambda one: span(one.age_s)),
            ("busy", lambda one: _known(one.utilization_percent, "%")),
            ("memory", lambda one: _memory(one.memory_used_bytes, one.memory_total_bytes)),
            ("heat", lambda one: _known(one.temperature_c, "C")),
            ("power", lambda one: _known(one.power_watts, "W")),
            ("health", lambda one: one.health),
            ("", lambda one: "; ".join(part for part in (one.health_reason, one.error) if part)),
        ],
    )


def _known(value: float | None, unit: str) -> str:
    return "?" if value is None else f"{value:.0f} {unit}"


def _memory(used: int | None, total: int | None) -> str:
    return "?" if used is None or total is None else f"{size(used) or '0'}/{size(total)}"
