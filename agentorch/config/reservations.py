"""`[[pools.NAME.reservations]]`: whom room of a pool is reserved for, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentorch.core.reservations import wrong
from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec, Reservation, TenantSpec
from agentorch.model.jobs import Tier
from agentorch.model.units import parse_cpu_milli

DEFAULT_TENANT = "default"
_KEYS = ("tenant", "tier", "workers", "gpus", "cpus")
SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "tenant": {"type": "string", "description": "whose work it is for"},
            "tier": {"enum": [str(tier) for tier in Tier], "description": "of which tier the work is"},
            "workers": {"type": "integer", "minimum": 1, "description": "whole workers"},
            "gpus": {"type": "integer", "minimum": 1, "description": "or GPUs, anywhere in the pool"},
            "cpus": {"type": ["string", "number"], "description": "or cores, anywhere in the pool"},
        },
    },
}


def parse(value: Any) -> tuple[Reservation, ...]:
    """Raises ValueError with what is wrong."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("not a list of tables")
    return tuple(_one(one) for one in value)


def check(pools: Sequence[PoolSpec], tenants: Sequence[TenantSpec]) -> None:
    """Raises ConfigError for what a pool can't hold, and for tenants that are not there."""
    known = {DEFAULT_TENANT, *(tenant.name for tenant in tenants)}
    for pool in pools:
        unknown = next((one.tenant for one in pool.reservations if one.tenant and one.tenant not in known), "")
        found = f"there is no tenant {unknown!r}; add [tenants.{unknown}]" if unknown else wrong(pool)
        if found:
            raise ConfigError(f"pools.{pool.name}.reservations: {found}")


def _one(given: dict[str, Any]) -> Reservation:
    unknown = next((key for key in given if key not in _KEYS), None)
    if unknown is not None:
        raise ValueError(f"unknown key {unknown!r}; known: {', '.join(_KEYS)}")
    tenant, tier = given.get("tenant", ""), given.get("tier", "")
    if not isinstance(tenant, str) or tier not in ("", *Tier) or not (tenant or tier):
        raise ValueError(f"name a tenant, a tier ({', '.join(Tier)}), or both")
    workers, gpus = _count(given, "workers"), _count(given, "gpus")
    cpu_milli = parse_cpu_milli(given["cpus"]) if "cpus" in given else 0
    if bool(workers) == bool(gpus or cpu_milli):
        raise ValueError("name either workers, or gpus and cpus")
    return Reservation(tenant=tenant, tier=tier, workers=workers, gpus=gpus, cpu_milli=cpu_milli)


def _count(given: dict[str, Any], key: str) -> int:
    value = given.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or (key in given and value < 1):
        raise ValueError(f"{key} is a whole number of at least 1")
    return value
