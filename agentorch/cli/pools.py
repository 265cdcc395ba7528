"""`agentorch pools [NAME]`."""

from __future__ import annotations

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, dollars, size, span
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.schemas.documents import PoolDocument


def pools(
    name: str = "",
    *,
    workers: int | None = None,
    pause: bool | None = None,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Show pools. With a NAME and an option, change that pool.

    Parameters
    ----------
    name
        One pool.
    workers
        Scale it to this many, within its bounds.
    pause
        Place nothing there any more, or with --no-pause again.
    reason
        Why, for the record.
    """
    if not name and (workers is not None or pause is not None):
        raise ConfigError("which pool? agentorch pools NAME --workers N")

    async def work(client: Client, out: Printer) -> None:
        if workers is not None or pause is not None:
            _print(out, [await client.patch_pool(name, workers=workers, paused=pause, reason=reason)])
            return
        _print(out, [pool for pool in await client.pools() if name in ("", pool.name)])

    return call(common, work)


def _print(out: Printer, found: list[PoolDocument]) -> None:
    shared = any(pool.lends or pool.reservations for pool in found)
    out.rows(
        found,
        [
            ("pool", lambda pool: pool.name),
            ("state", lambda pool: "paused" if pool.paused else "ok"),
            ("workers", lambda pool: f"{pool.busy}/{pool.available}/{pool.target}"),
            ("bounds", lambda pool: f"{pool.min_workers}-{pool.max_workers}"),
            ("worker", _shape),
            ("queued", lambda pool: pool.queued),
            ("running", lambda pool: pool.running),
            ("busy", lambda pool: f"{pool.utilization_percent:.0f} %"),
            ("wait p95", lambda pool: span(pool.wait_s_p95)),
            ("price/h", lambda pool: dollars(pool.price_usd_per_hour)),
            ("region", lambda pool: pool.region),
            ("telemetry", lambda pool: span(pool.telemetry_age_s)),
            *([("shares", _shares)] if shared else []),
        ],
    )


def _shares(pool: PoolDocument) -> str:
    """What is lent, and what is reserved and unused: `lends, 2 borrow; a: 1 of 2 workers unused`."""
    parts = [f"lends, {pool.borrowed} borrow"] if pool.lends else []
    for one in pool.reservations:
        whom = " ".join(name for name in (one.tenant, one.tier) if name)
        units = (
            (one.workers, one.unused_workers, "workers"),
            (one.gpus, one.unused_gpus, "GPUs"),
            (one.cpus, one.unused_cpus, "cpus"),
        )
        parts += [f"{whom}: {unused:g} of {all_of:g} {unit} unused" for all_of, unused, unit in units if all_of]
    return "; ".join(parts) or "-"


def _shape(pool: PoolDocument) -> str:
    gpus = f" {pool.gpus} GPU" if pool.gpus else ""
    return f"{pool.cpus:g} cpu {size(pool.memory_bytes)}{gpus}"
