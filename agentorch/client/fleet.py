"""The client's calls about pools, workers, devices, tenants, budgets and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentorch.client.transport import Transport, segment
from agentorch.schemas.documents import (
    BudgetDocument,
    DeviceDocument,
    KeyDocument,
    NodeDocument,
    PoolDocument,
    TenantDocument,
    WorkerDocument,
)


class FleetCalls:
    """Every call raises ServerUnreachable and ServerRefused."""

    wire: Transport

    async def pools(self) -> list[PoolDocument]:
        return await self.wire.ask_list(PoolDocument, "GET", "/v1/pools")

    async def patch_pool(
        self, name: str, /, *, workers: int | None = None, paused: bool | None = None, reason: str = ""
    ) -> PoolDocument:
        """A person's own scaling and pausing."""
        body = {"workers": workers, "paused": paused, "reason": reason}
        return await self.wire.ask(PoolDocument, "PATCH", f"/v1/pools/{segment(name)}", body=body)

    async def nodes(self) -> list[NodeDocument]:
        return await self.wire.ask_list(NodeDocument, "GET", "/v1/nodes")

    async def workers(self) -> list[WorkerDocument]:
        return await self.wire.ask_list(WorkerDocument, "GET", "/v1/workers")

    async def cordon(self, worker: str, cordoned: bool, /, reason: str = "") -> WorkerDocument:
        body = {"cordoned": cordoned, "reason": reason}
        return await self.wire.ask(WorkerDocument, "PATCH", f"/v1/workers/{segment(worker)}", body=body)

    async def repair(self, worker: str, /) -> WorkerDocument:
        """Answer for a worker and its devices: they take work again."""
        return await self.wire.ask(WorkerDocument, "POST", f"/v1/workers/{segment(worker)}/repair")

    async def repair_device(self, device: str, /) -> DeviceDocument:
        """Answer for one device, also for one that is of no worker now."""
        return await self.wire.ask(DeviceDocument, "POST", f"/v1/devices/{segment(device)}/repair")

    async def devices(self) -> list[DeviceDocument]:
        return await self.wire.ask_list(DeviceDocument, "GET", "/v1/devices")

    async def tenants(self) -> list[TenantDocument]:
        return await self.wire.ask_list(TenantDocument, "GET", "/v1/tenants")

    async def budgets(self) -> list[BudgetDocument]:
        return await self.wire.ask_list(BudgetDocument, "GET", "/v1/budgets")

    async def set_budget(self, tenant: str, /, **fields: Any) -> TenantDocument:
        """`hard_cap_usd` (None takes the cap away), `weight`, `max_running`; what is not named stays."""
        return await self.wire.ask(TenantDocument, "PUT", f"/v1/tenants/{segment(tenant)}", body=fields)

    async def keys(self) -> list[KeyDocument]:
        return await self.wire.ask_list(KeyDocument, "GET", "/v1/keys")

    async def add_key(self, name: str, roles: Sequence[str], /, tenant: str = "") -> KeyDocument:
        """The only answer that carries the key's `secret`."""
        body = {"name": name, "roles": list(roles), "tenant": tenant}
        return await self.wire.ask(KeyDocument, "POST", "/v1/keys", body=body)

    async def revoke_key(self, key_id: str, /) -> KeyDocument:
        return await self.wire.ask(KeyDocument, "DELETE", f"/v1/keys/{segment(key_id)}")
