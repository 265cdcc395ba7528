"""`agentorch keys [list|add|revoke]`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from agentorch.cli.common import Common, call
from agentorch.cli.output import Printer, note, when
from agentorch.client import Client
from agentorch.schemas.documents import KeyDocument

app = App(name="keys", help="List, add and revoke keys.")


@app.default
@app.command(name="list")
def list_keys(*, common: Common | None = None) -> int:
    """Keys without their secrets, which only their holders have."""

    async def work(client: Client, out: Printer) -> None:
        _print(out, await client.keys())

    return call(common, work)


@app.command
def add(
    name: str,
    *,
    role: Annotated[list[Literal["submit", "view", "approve", "admin"]], Parameter(negative="")],
    tenant: str = "",
    common: Common | None = None,
) -> int:
    """Make a key and print its secret, once. The first key must be an admin's.

    Parameters
    ----------
    name
        For people.
    role
        submit, view, approve or admin; may be repeated.
    tenant
        Bind it to a tenant: it sees and touches only that tenant's work.
    """

    async def work(client: Client, out: Printer) -> None:
        made = await client.add_key(name, list(role), tenant=tenant)
        note(f"{made.id}: keep the secret now, it is not shown again")
        out.one(made, []) if out.form != "table" else print(made.secret, flush=True)

    return call(common, work)


@app.command
def revoke(key_id: str, *, common: Common | None = None) -> int:
    """Revoke a key, at once."""

    async def work(client: Client, out: Printer) -> None:
        _print(out, [await client.revoke_key(key_id)])
        note("revoked")

    return call(common, work)


def _print(out: Printer, found: list[KeyDocument]) -> None:
    out.rows(
        found,
        [
            ("id", lambda one: one.id),
            ("name", lambda one: one.name),
            ("roles", lambda one: one.roles),
            ("tenant", lambda one: one.tenant or "(all)"),
            ("added", lambda one: when(one.added_at)),
        ],
    )
