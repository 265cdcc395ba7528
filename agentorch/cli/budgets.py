"""`agentorch budgets [TENANT]`."""

from __future__ import annotations

from typing import Any

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, dollars, span
from agentorch.client import Client
from agentorch.errors import ConfigError
from agentorch.schemas.documents import BudgetDocument


def budgets(
    tenant: str = "",
    *,
    cap: str | None = None,
    weight: int | None = None,
    max_running: int | None = None,
    common: Common | None = None,
) -> int:
    """Show budgets. With a TENANT and an option, change that tenant; one that is new is made.

    Parameters
    ----------
    tenant
        One tenant.
    cap
        The most dollars that it may ever spend; `none` takes the cap away.
    weight
        Its share of what is contended; 100 is usual.
    max_running
        The most jobs at once.
    """
    fields: dict[str, Any] = {}
    if cap is not None:
        fields["hard_cap_usd"] = None if cap == "none" else cap
    if weight is not None:
        fields["weight"] = weight
    if max_running is not None:
        fields["max_running"] = max_running
    if fields and not tenant:
        raise ConfigError("which tenant? agentorch budgets TENANT --cap 100")

    async def work(client: Client, out: Printer) -> None:
        if fields:
            await client.set_budget(tenant, **fields)
        _print(out, [one for one in await client.budgets() if tenant in ("", one.tenant)])

    return call(common, work)


def _print(out: Printer, found: list[BudgetDocument]) -> None:
    out.rows(
        found,
        [
            ("tenant", lambda one: one.tenant),
            ("spent", lambda one: dollars(one.spent_usd)),
            ("reserved", lambda one: dollars(one.reserved_usd)),
            ("cap", lambda one: "none" if one.hard_cap_usd is None else dollars(one.hard_cap_usd)),
            ("burn/h", lambda one: dollars(one.burn_usd_per_hour)),
            ("exhausted in", lambda one: "" if one.exhausted_in_s is None else span(one.exhausted_in_s)),
            ("blocked jobs", lambda one: one.blocked_jobs or ""),
        ],
    )
