"""Pools, workers, devices, tenants, budgets and keys."""

from __future__ import annotations

import secrets
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request

from agentorch.api.access import (
    Caller,
    Permission,
    check_new_key,
    check_revocation,
    hash_secret,
    new_secret,
)
from agentorch.api.services import Services, caller_with, services_of
from agentorch.api.views.fleet import (
    budget_document,
    device_document,
    key_document,
    missing_devices,
    node_document,
    pool_document,
    tenant_document,
    worker_document,
)
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.commands import (
    AddKey,
    ConfigureTenant,
    CordonWorker,
    PausePool,
    RepairDevice,
    RepairWorker,
    RevokeKey,
    ScalePool,
)
from agentorch.model.fleet import ApiKey, Role, TenantSpec
from agentorch.model.observation import DeviceSample
from agentorch.model.units import parse_usd_micros
from agentorch.schemas.documents import (
    BudgetDocument,
    DeviceDocument,
    KeyDocument,
    NodeDocument,
    PoolDocument,
    TenantDocument,
    WorkerDocument,
)
from agentorch.schemas.requests import KeyRequest, PoolPatch, TenantRequest, WorkerPatch

router = APIRouter(tags=["fleet"])

FleetReader = Annotated[Caller, Depends(caller_with(Permission.fleet_read))]
MoneyReader = Annotated[Caller, Depends(caller_with(Permission.money_read))]
Admin = Annotated[Caller, Depends(caller_with(Permission.admin))]
Name = Annotated[str, Path(max_length=limits.NAME_MAX_CHARS)]
NewName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


@router.get("/v1/pools")
async def list_pools(request: Request, caller: FleetReader) -> list[PoolDocument]:
    """Capacity, load, price and waits of every pool."""
    source = services_of(request).source
    state = await source.view()
    return [pool_document(state, pool, source.now_ms()) for pool in state.facts.pools.values()]


@router.patch("/v1/pools/{name}")
async def patch_pool(request: Request, name: Name, body: PoolPatch, caller: Admin) -> PoolDocument:
    """A person's own scaling and pausing, within the pool's bounds."""
    source = services_of(request).source
    if body.workers is not None:
        await source.ask(ScalePool(pool=name, workers=body.workers, by=caller.by))
    if body.paused is not None:
        await source.ask(PausePool(pool=name, paused=body.paused, by=caller.by, reason=body.reason))
    state = await source.view()
    if name not in state.facts.pools:
        raise Refused("not_found", f"there is no pool {name!r}")
    return pool_document(state, state.facts.pools[name], source.now_ms())


@router.get("/v1/nodes")
async def list_nodes(request: Request, caller: FleetReader) -> list[NodeDocument]:
    """Machines of executors whose nodes come and go; the server's own machine is not among them."""
    state = await services_of(request).source.view()
    return [node_document(state, node) for node in state.facts.nodes.values()]


@router.get("/v1/workers")
async def list_workers(request: Request, caller: FleetReader) -> list[WorkerDocument]:
    """Workers with what is free on each, and those of their jobs that the caller may see."""
    state = await services_of(request).source.view()
    return [worker_document(state, worker, caller) for worker in state.facts.workers.values()]


@router.patch("/v1/workers/{name}")
async def patch_worker(request: Request, name: Name, body: WorkerPatch, caller: Admin) -> WorkerDocument:
    """Cordon: nothing new is placed here, what runs goes on. Uncordon takes it back."""
    command = CordonWorker(worker=name, cordoned=body.cordoned, by=caller.by, reason=body.reason)
    return await _changed_worker(request, command, caller)


@router.post("/v1/workers/{name}/repair")
async def repair_worker(request: Request, name: Name, caller: Admin) -> WorkerDocument:
    """Somebody looked at this worker and answers for it: it and its devices take work again, whatever took them out,
    and their cordons are forgotten."""
    return await _changed_worker(request, RepairWorker(worker=name, by=caller.by), caller)


async def _changed_worker(request: Request, command: CordonWorker | RepairWorker, caller: Caller) -> WorkerDocument:
    source = services_of(request).source
    await source.ask(command)
    state = await source.view()
    if command.worker not in state.facts.workers:
        raise Refused("not_found", f"there is no worker {command.worker!r}")
    return worker_document(state, state.facts.workers[command.worker], caller)


@router.get("/v1/devices")
async def list_devices(request: Request, caller: FleetReader) -> list[DeviceDocument]:
    """The newest sample of each device with its age, and the utilisation of its past."""
    source = services_of(request).source
    state = await source.view()
    samples = source.devices()
    found = [*samples, *missing_devices(state, samples)]
    now_ms = source.now_ms()
    return [device_document(state, one, now_ms, source.device_history(one.id)) for one in found]


@router.post("/v1/devices/{name}/repair")
async def repair_device(request: Request, name: Name, caller: Admin) -> DeviceDocument:
    """Somebody looked at this device and answers for it: it takes work again, and its cordons are forgotten."""
    source = services_of(request).source
    await source.ask(RepairDevice(device=name, by=caller.by))
    state = await source.view()
    listed = {sample.id: sample for sample in source.devices()}
    sample = listed.get(name, DeviceSample(id=name, kind="gpu", error="not listed any more"))
    return device_document(state, sample, source.now_ms(), source.device_history(name))


@router.get("/v1/tenants")
async def list_tenants(request: Request, caller: MoneyReader) -> list[TenantDocument]:
    state = await services_of(request).source.view()
    return [tenant_document(tenant) for name, tenant in state.facts.tenants.items() if caller.sees(name)]


@router.put("/v1/tenants/{name}")
async def put_tenant(request: Request, name: NewName, body: TenantRequest, caller: Admin) -> TenantDocument:
    """Make a tenant, or change its weight, its hard cap or its quota."""
    source = services_of(request).source
    state = await source.view()
    present = state.facts.tenants.get(name)
    spec = TenantSpec(name=name) if present is None else present.spec
    given = body.model_fields_set
    if body.weight is not None:
        spec = msgspec.structs.replace(spec, weight=body.weight)
    if "hard_cap_usd" in given:
        cap = None if body.hard_cap_usd is None else parse_usd_micros(body.hard_cap_usd)
        spec = msgspec.structs.replace(spec, hard_cap_usd_micros=cap)
    if "max_running" in given:
        spec = msgspec.structs.replace(spec, max_running=body.max_running)
    await source.ask(ConfigureTenant(spec=spec, by=caller.by))
    state = await source.view()
    return tenant_document(state.facts.tenants[name])


@router.get("/v1/budgets")
async def list_budgets(request: Request, caller: MoneyReader) -> list[BudgetDocument]:
    """Spent, reserved, burn rate, and when the cap will be reached at that rate."""
    source = services_of(request).source
    state = await source.view()
    now_ms = source.now_ms()
    return [budget_document(state, tenant, now_ms) for name, tenant in state.facts.tenants.items() if caller.sees(name)]


@router.get("/v1/keys")
async def list_keys(request: Request, caller: Admin) -> list[KeyDocument]:
    """Keys without their secrets, which nobody but their holders has."""
    state = await services_of(request).source.view()
    return [key_document(key) for key in state.facts.keys.values()]


@router.post("/v1/keys", status_code=201)
async def add_key(request: Request, body: KeyRequest, caller: Admin) -> KeyDocument:
    """A new key. Its secret is in this answer and never again."""
    services = services_of(request)
    roles = tuple(dict.fromkeys(Role(role) for role in body.roles))
    state = await services.source.view()
    check_new_key(roles, body.tenant, state.facts.keys)
    key_id = f"key-{secrets.token_hex(4)}"
    secret = new_secret()
    key = ApiKey(
        id=key_id,
        sha256=hash_secret(secret),
        roles=roles,
        tenant=body.tenant,
        name=body.name,
        added_ms=services.source.now_ms(),
    )
    await services.source.ask(AddKey(key=key, by=caller.by))
    await services.keys.refresh()
    return key_document(key, secret)


@router.delete("/v1/keys/{name}")
async def revoke_key(request: Request, name: Name, caller: Admin) -> KeyDocument:
    """Revoked when this answers."""
    services: Services = services_of(request)
    state = await services.source.view()
    key = state.facts.keys.get(name)
    check_revocation(name, state.facts.keys, loopback=services.settings.loopback)
    await services.source.ask(RevokeKey(key=name, by=caller.by))
    await services.keys.refresh()
    assert key is not None, "a key that is not there can't be revoked"
    return key_document(key)
