"""`agentorch devices`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, size, span
from agentorch.client import Client


def devices(*, common: Common | None = None) -> int:
    """Show CPUs and GPUs, and how old what is known of each is. `?` is unknown, never zero."""

    async def work(client: Client, out: Printer) -> None:
        out.rows(
            await client.devices(),
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
                ("", lambda one: one.error),
            ],
        )

    return call(common, work)


def _known(value: float | None, unit: str) -> str:
    return "?" if value is None else f"{value:.0f} {unit}"


def _memory(used: int | None, total: int | None) -> str:
    return "?" if used is None or total is None else f"{size(used) or '0'}/{size(total)}"
