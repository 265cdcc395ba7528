"""Reads every source of settings, in order, and refuses mistakes by file, key and expectation."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentorch.config import reservations
from agentorch.config.brains import LlmSettings, llm_settings
from agentorch.config.fields import EXECUTORS, NESTED, PILOT, PLAIN_SECTIONS, POOL, TENANT, Field
from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Resources
from agentorch.model.proposals import Mode

PREFIX: Final = "AGENTORCH_"
FILE_NAME: Final = "agentorch.toml"
#: Variables with a meaning of their own; the last two are what a running job is given.
PLAIN_VARIABLES: Final = {"AGENTORCH_URL": "client.url", "AGENTORCH_KEY": "client.key"}
#: Sections that hold one table per name.
TABLES: Final = ("executors", "pilots", "pools", "tenants")
#: Sections whose keys may come from variables, by what a variable calls them.
_BY_VARIABLE: Final = {
    **{name.replace(".", "_"): (name, fields) for name, fields in NESTED.items()},
    **{name: (name, fields) for name, fields in PLAIN_SECTIONS.items()},
    **{f"executors_{name}": (f"executors.{name}", fields) for name, fields in EXECUTORS.items()},
}
JOB_TOKEN: Final = "AGENTORCH_TOKEN"


@dataclass(frozen=True)
class ServerSettings:
    host: str
    port: int
    data_dir: Path
    allowed_hosts: tuple[str, ...]
    executor: str = "local"
    url: str = ""


@dataclass(frozen=True)
class SupervisorSettings:
    """`mode` is the first start's; afterwards the ledger knows it."""

    mode: Mode
    cycle_s: float
    timeout_s: float
    approval_ttl_ms: int
    waiting_usd_micros_per_hour: int
    brain: str
    llm: LlmSettings


@dataclass(frozen=True)
class RaySettings:
    """How to reach a Ray cluster. "" = as `agentorch ray up` left it on this machine."""

    address: str
    state: str
    python: str
    token_file: str
    lease_ms: int
    provider: str
    add_command: str
    remove_command: str
    node_cpus: int
    agent_root: str


@dataclass(frozen=True)
class SlurmSettings:
    root: str
    partition: str
    account: str
    qos: str
    extra: tuple[str, ...]
    commands: str
    conf: str
    python: str
    fence_ms: int


@dataclass(frozen=True)
class PilotSettings:
    """One kind of Slurm pilots: a type of nodes of the executor `pilot`."""

    name: str
    cpus: int
    memory_bytes: int
    time_ms: int
    partition: str


@dataclass(frozen=True)
class ClientSettings:
    url: str
    key: str | None


@dataclass(frozen=True)
class Shown:
    """One value as `config show` prints it."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class Settings:
    """Everything configurable. `pools` and `tenants` are empty when nobody configured any."""

    server: ServerSettings
    supervisor: SupervisorSettings
    guardrails: GuardrailSettings
    client: ClientSettings
    ray: RaySettings
    slurm: SlurmSettings
    pilots: tuple[PilotSettings, ...]
    pools: tuple[PoolSpec, ...]
    tenants: tuple[TenantSpec, ...]
    shown: tuple[Shown, ...]
    files: tuple[Path, ...]  # those that were read

    def guardrail_settings(self) -> GuardrailSettings:
        """What the guardrails are to go by; never looser than their limits."""
        return self.guardrails


@dataclass(frozen=True)
class _Value:
    raw: Any
    source: str


def load(
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read every source once. `flags` are keyed as `server.port`; None among them means: not given.

    Raises ConfigError with the file (or variable, or flag), the key and what was expected.
    """
    environ = os.environ if environ is None else environ
    files = _files(environ, Path.cwd() if cwd is None else cwd, config_file)
    values: dict[str, _Value] = {}
    for file in files:
        _flatten(_parse(file), str(file), values)
    _from_environment(environ, values)
    for key, value in (flags or {}).items():
        if value is not None:
            values[key] = _Value(value, f"flag --{key.rpartition('.')[2].replace('_', '-')}")
    return _build(values, environ, tuple(files))


def user_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's own configuration file, which need not exist."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "agentorch" / FILE_NAME


def _default_data_dir(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "state")
    return str(Path(base) / "agentorch")


def _files(environ: Mapping[str, str], cwd: Path, named: Path | None) -> list[Path]:
    if named is None and environ.get("AGENTORCH_CONFIG"):
        named = Path(environ["AGENTORCH_CONFIG"])
    if named is not None and not named.is_file():
        raise ConfigError(f"{named}: there is no such file; it was named by --config or AGENTORCH_CONFIG")
    project = named if named is not None else cwd / FILE_NAME
    return [file for file in (user_file(environ), project) if file.is_file()]


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error


def _flatten(table: dict[str, Any], source: str, values: dict[str, _Value]) -> None:
    """`{"server": {"port": 1}}` -> `server.port`; pools and tenants go one level deeper. Unknown names are refused."""
    for section, content in table.items():
        if section in PLAIN_SECTIONS:
            content = _without_nested(section, content, source, values)
            _take(section, PLAIN_SECTIONS[section], content, source, values)
        elif section in TABLES:
            if not isinstance(content, dict):
                raise ConfigError(f"{source}: {section}: expected tables such as [{section}.NAME]")
            for name, fields in content.items():
                _take(f"{section}.{name}", _fields_of(section, name, source), fields, source, values)
        else:
            raise ConfigError(f"{source}: {section}: unknown section; {_hint(section, [*PLAIN_SECTIONS, *TABLES])}")


def _without_nested(section: str, content: Any, source: str, values: dict[str, _Value]) -> Any:
    """Takes the tables inside a section; returns what is left of it."""
    for name, fields in NESTED.items():
        parent, _, child = name.partition(".")
        if section == parent and isinstance(content, dict) and child in content:
            _take(name, fields, content[child], source, values)
            content = {key: value for key, value in content.items() if key != child}
    return content


def _fields_of(section: str, name: str, source: str) -> dict[str, Field]:
    if section != "executors":
        return {"pilots": PILOT, "pools": POOL, "tenants": TENANT}[section]
    if name not in EXECUTORS:
        raise ConfigError(f"{source}: executors.{name}: unknown executor; {_hint(name, EXECUTORS)}")
    return EXECUTORS[name]


def _take(prefix: str, fields: dict[str, Field], content: Any, source: str, values: dict[str, _Value]) -> None:
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: {prefix}: expected a table, [{prefix}]")
    if not content and prefix.startswith(("pilots.", "pools.", "tenants.")):
        values.setdefault(f"{prefix}.", _Value(None, source))  # an empty table still names a pool or tenant
    for key, raw in content.items():
        if key not in fields:
            raise ConfigError(f"{source}: {prefix}.{key}: unknown key; {_hint(key, fields)}")
        if fields[key].secret:
            raise ConfigError(f"{source}: {prefix}.{key}: secrets are not written into files; {fields[key].expected}")
        values[f"{prefix}.{key}"] = _Value(raw, source)


def _hint(name: str, known: Any) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _from_environment(environ: Mapping[str, str], values: dict[str, _Value]) -> None:
    for variable, raw in environ.items():
        if variable in PLAIN_VARIABLES:
            values[PLAIN_VARIABLES[variable]] = _Value(raw, f"environment {variable}")
            continue
        name = variable.removeprefix(PREFIX).lower()
        called = next((one for one in _BY_VARIABLE if name.startswith(f"{one}_")), "")
        if not variable.startswith(PREFIX) or not called:
            continue
        section, fields = _BY_VARIABLE[called]
        key = name.removeprefix(f"{called}_")
        if key not in fields:
            raise ConfigError(f"environment {variable}: unknown key; {_hint(key, fields)}")
        values[f"{section}.{key}"] = _Value(raw, f"environment {variable}")


class _Reader:
    """Turns raw values into what fields mean, and keeps what `config show` prints."""

    def __init__(self, values: dict[str, _Value]) -> None:
        self.values = values
        self.shown: list[Shown] = []

    def section(self, prefix: str, fields: dict[str, Field]) -> dict[str, Any]:
        return {key: self._one(f"{prefix}.{key}", field) for key, field in fields.items()}

    def _one(self, key: str, field: Field) -> Any:
        found = self.values.get(key)
        source = "default" if found is None else found.source
        raw = field.default if found is None else found.raw
        try:
            value = None if raw is None else field.parse(raw)
        except ValueError as error:
            raise ConfigError(f"{source}: {key} = {raw!r}: expected {field.expected}: {error}") from error
        self.shown.append(Shown(key, "(set)" if field.secret and raw else raw, source))
        return value

    def names(self, section: str) -> list[str]:
        return list(dict.fromkeys(key.split(".")[1] for key in self.values if key.startswith(f"{section}.")))


def _build(values: dict[str, _Value], environ: Mapping[str, str], files: tuple[Path, ...]) -> Settings:
    values.setdefault("server.data_dir", _Value(_default_data_dir(environ), "default"))
    reader = _Reader(values)
    plain = {name: reader.section(name, fields) for name, fields in PLAIN_SECTIONS.items()}
    executors = {name: reader.section(f"executors.{name}", fields) for name, fields in EXECUTORS.items()}
    default = plain["server"]["executor"]
    pools = tuple(_pool(name, reader.section(f"pools.{name}", POOL), values, default) for name in reader.names("pools"))
    tenants = tuple(TenantSpec(name=name, **_tenant(reader, name)) for name in reader.names("tenants"))
    reservations.check(pools, tenants)
    client = plain["client"]
    llm = llm_settings(reader.section("supervisor.llm", NESTED["supervisor.llm"]), environ)
    return Settings(
        server=ServerSettings(**plain["server"]),
        supervisor=_supervisor(plain["supervisor"], llm),
        guardrails=GuardrailSettings(approval_ttl_ms=plain["supervisor"]["approval_ttl"], **plain["guardrails"]),
        client=ClientSettings(client["url"], _client_key(client, environ)),
        ray=RaySettings(**{"lease_ms" if key == "lease" else key: value for key, value in executors["ray"].items()}),
        slurm=SlurmSettings(
            **{"fence_ms" if key == "fence" else key: value for key, value in executors["slurm"].items()}
        ),
        pilots=tuple(_pilot(name, reader.section(f"pilots.{name}", PILOT)) for name in reader.names("pilots")),
        pools=pools,
        tenants=tenants,
        shown=tuple(reader.shown),
        files=files,
    )


def _supervisor(fields: dict[str, Any], llm: LlmSettings) -> SupervisorSettings:
    return SupervisorSettings(
        mode=fields["mode"],
        cycle_s=fields["cycle_s"] / 1000,
        timeout_s=fields["timeout_s"] / 1000,
        approval_ttl_ms=fields["approval_ttl"],
        waiting_usd_micros_per_hour=fields["waiting_usd_per_hour"],
        brain=fields["brain"],
        llm=llm,
    )


def _pilot(name: str, fields: dict[str, Any]) -> PilotSettings:
    return PilotSettings(name, fields["cpus"], fields["memory"], fields["time"], fields["partition"])


def _tenant(reader: _Reader, name: str) -> dict[str, Any]:
    fields = reader.section(f"tenants.{name}", TENANT)
    return {
        "weight": fields["weight"],
        "hard_cap_usd_micros": fields["hard_cap_usd"],
        "max_running": fields["max_running"],
    }


def _pool(name: str, fields: dict[str, Any], values: dict[str, _Value], default_executor: str) -> PoolSpec:
    executor = fields["executor"] or default_executor
    if executor == "local" and fields["node_type"]:
        source = values[f"pools.{name}.node_type"].source
        raise ConfigError(f"{source}: pools.{name}.node_type: workers of the local executor are shares of this machine")
    workers = fields["workers"]
    low = min(1, workers) if fields["min_workers"] is None else fields["min_workers"]
    high = max(workers, low) if fields["max_workers"] is None else fields["max_workers"]
    if not low <= workers <= high:
        source = next(value.source for key, value in values.items() if key.startswith(f"pools.{name}."))
        raise ConfigError(
            f"{source}: pools.{name}: expected min_workers <= workers <= max_workers, found {low}, {workers}, {high}"
        )
    price = fields["price_usd_per_hour"]
    return PoolSpec(
        name=name,
        executor=executor,
        node_type=fields["node_type"] or ("" if executor == "local" else "*"),
        min_workers=low,
        max_workers=high,
        workers=workers,
        shape=Resources(
            cpu_milli=fields["cpus"],
            memory_bytes=fields["memory"],
            gpus=fields["gpus"],
            gpu_memory_bytes=fields["gpu_memory"],
            gpu_model=fields["gpu_model"],
        ),
        # Own hardware is known to cost nothing extra; what a remote worker costs is unknown until somebody says it.
        price_usd_micros_per_hour=0 if price is None and executor == "local" else price,
        region=fields["region"],
        spot=fields["spot"],
        labels=fields["labels"],
        protected=fields["protected"],
        target_wait_ms=fields["target_wait"],
        power_cap_watts=fields["power_cap_watts"],
        drain_grace_ms=fields["drain_grace"],
        provision_timeout_ms=fields["provision_timeout"],
        preempts=fields["preempts"],
        lends=fields["lends"],
        reservations=fields["reservations"],
    )


def _client_key(client: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """The key a client sends: AGENTORCH_KEY, else the file that `client.key_file` names, else a job's own token."""
    if client["key"]:
        return str(client["key"])
    if client["key_file"]:
        try:
            return Path(client["key_file"]).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"client.key_file = {client['key_file']!r}: can't be read: {error}") from error
    return environ.get(JOB_TOKEN) or None
