"""Settings tried out on a recording: `pools.gpu.max_workers=8`, `guardrails.approval_ttl=5m`, `tenants.ads.weight=10`.

Keys are those of agentorch.toml. A guardrail can be tightened and nothing else, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agentorch.config.fields import GUARDRAILS, POOL, SUPERVISOR, TENANT, Field
from agentorch.config.settings import _hint
from agentorch.core.reservations import wrong
from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Resources
from agentorch.model.proposals import Mode
from agentorch.model.units import parse_duration_ms

#: Keys whose names are others in the structs.
_POOL_NAMES: Final = {"price_usd_per_hour": "price_usd_micros_per_hour"}
_TENANT_NAMES: Final = {"hard_cap_usd": "hard_cap_usd_micros"}
_SHAPE_NAMES: Final = {
    "cpus": "cpu_milli",
    "memory": "memory_bytes",
    "gpus": "gpus",
    "gpu_memory": "gpu_memory_bytes",
    "gpu_model": "gpu_model",
}
_POOL_FIELDS: Final = (*Resources.__struct_fields__, *PoolSpec.__struct_fields__)
#: Settings of brains, not of what they decide about.
OF_BRAINS: Final = ("supervisor.waiting_usd_per_hour",)
#: What a recording can't be asked about: work would run on other machines than those that it was recorded on.
_FIXED: Final = ("executor", "node_type")
_TTL: Final = "approval_ttl"


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise. `given` is as it was typed, by key."""

    given: dict[str, str] = {}
    pools: dict[str, dict[str, Any]] = {}
    tenants: dict[str, dict[str, Any]] = {}
    settings: dict[str, Any] = {}
    mode: Mode | None = None

    def pool(self, spec: PoolSpec) -> PoolSpec:
        """The specification with its overrides. Raises ConfigError when its bounds then contradict each other, or can't
        hold what is reserved."""
        found = self.pools.get(spec.name)
        if not found:
            return spec
        shape = {key: value for key, value in found.items() if key in Resources.__struct_fields__}
        own = {key: value for key, value in found.items() if key not in shape}
        changed = msgspec.structs.replace(spec, **own, shape=msgspec.structs.replace(spec.shape, **shape))
        if not changed.min_workers <= changed.max_workers:
            raise ConfigError(
                f"--set pools.{spec.name}: min_workers is {changed.min_workers} and max_workers {changed.max_workers}; "
                "set the other one too"
            )
        if why := wrong(changed):
            raise ConfigError(f"--set pools.{spec.name}: {why}")
        workers = min(max(changed.workers, changed.min_workers), changed.max_workers)
        return msgspec.structs.replace(changed, workers=workers)

    def tenant(self, spec: TenantSpec) -> TenantSpec:
        return msgspec.structs.replace(spec, **self.tenants.get(spec.name, {}))

    def guardrails(self, settings: GuardrailSettings) -> GuardrailSettings:
        return msgspec.structs.replace(settings, **self.settings)

    def check_names(self, pools: Iterable[str], tenants: Iterable[str]) -> None:
        """Raises ConfigError for a pool or tenant that is none of these."""
        for section, named, known in (("pools", self.pools, [*pools]), ("tenants", self.tenants, [*tenants])):
            for name in named:
                if name not in known:
                    raise ConfigError(f"--set {section}.{name}: the recording has no such name; {_hint(name, known)}")


def read_overrides(given: Mapping[str, str]) -> Overrides:
    """Raises ConfigError with the key and what was expected."""
    pools: dict[str, dict[str, Any]] = {}
    tenants: dict[str, dict[str, Any]] = {}
    settings: dict[str, Any] = {}
    mode: Mode | None = None
    for key, raw in given.items():
        section, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        if section == "pools" and name:
            pools.setdefault(name, {}).update([_of_pool(key, last, raw)])
        elif section == "tenants" and name:
            tenants.setdefault(name, {})[_TENANT_NAMES.get(last, last)] = _parsed(key, last, TENANT, raw)
        elif section == "guardrails" or key == f"supervisor.{_TTL}":
            settings.update([_of_guardrails(key, rest, raw)])
        elif key == "supervisor.mode":
            mode = _parsed(key, "mode", SUPERVISOR, raw)
        elif key in OF_BRAINS:
            _parsed(key, rest, SUPERVISOR, raw)  # whoever makes the brain reads it
        else:
            raise ConfigError(
                f"--set {key}: expected pools.NAME.KEY, tenants.NAME.KEY, guardrails.KEY, supervisor.{_TTL}, "
                f"supervisor.mode or {', '.join(OF_BRAINS)}"
            )
    return Overrides(given=dict(given), pools=pools, tenants=tenants, settings=settings, mode=mode)


def _parsed(key: str, last: str, fields: Mapping[str, Field], raw: str) -> Any:
    field = fields.get(last)
    if field is None:
        raise ConfigError(f"--set {key}: unknown key; {_hint(last, fields)}")
    try:
        return field.parse(raw)
    except ValueError as error:
        raise ConfigError(f"--set {key}={raw}: expected {field.expected}: {error}") from error


def _of_pool(key: str, last: str, raw: str) -> tuple[str, Any]:
    if last in _FIXED:
        raise ConfigError(f"--set {key}: what ran in a recording stays on the machines that it ran on")
    value = _parsed(key, last, POOL, raw)
    return _pool_field(last), value


def _pool_field(key: str) -> str:
    names = (_SHAPE_NAMES.get(key, ""), _POOL_NAMES.get(key, ""), key, f"{key}_ms")
    return next((name for name in names if name in _POOL_FIELDS), "")


assert all(map(_pool_field, POOL)), "every key of a pool is a field of its specification"


def _of_guardrails(key: str, last: str, raw: str) -> tuple[str, Any]:
    """Times may be said as durations: `cooldown=2m` is `cooldown_ms=120000`."""
    if last == _TTL:
        return f"{_TTL}_ms", _parsed(key, last, SUPERVISOR, raw)
    name = f"{last}_ms"
    if last not in GUARDRAILS and name in GUARDRAILS:
        try:
            raw = str(parse_duration_ms(raw))
        except ValueError as error:
            raise ConfigError(f"--set {key}={raw}: expected a duration such as 90s: {error}") from error
        return name, _parsed(key, name, GUARDRAILS, raw)
    return last, _parsed(key, last, GUARDRAILS, raw)
