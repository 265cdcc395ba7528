"""Every setting by name: what it means, how it is read, what it is when nobody says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from agentorch.config import reservations
from agentorch.config.brains import BRAIN_NAMES, OPENAI_URL, base_url, temperature
from agentorch.model import limits
from agentorch.model.guardrails import ACTION_KINDS, BOUNDS, GuardrailSettings
from agentorch.model.proposals import Mode
from agentorch.model.units import parse_bytes, parse_cpu_milli, parse_duration_ms, parse_usd_micros

DEFAULT_PORT: Final = 7070
EXECUTOR_NAMES: Final = ("local", "ray", "slurm", "pilot")


class Field(NamedTuple):
    """`parse` raises ValueError; `schema` is JSON Schema of the raw value; None as a default means: left out."""

    parse: Callable[[Any], Any]
    default: Any
    expected: str
    schema: dict[str, Any]
    help: str
    secret: bool = False


def _integer(low: int, high: int, value: Any) -> int:
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():  # variables are text
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a whole number")  # noqa: TRY004 - a field's parser speaks ValueError
    if not low <= value <= high:
        raise ValueError(f"not within {low} and {high}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a string")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    if not isinstance(value, bool):
        raise ValueError("not true or false")  # noqa: TRY004 - a field's parser speaks ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError("not a list of strings")  # noqa: TRY004 - a field's parser speaks ValueError
    return tuple(_text(part) for part in value)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError("not a table of strings")  # noqa: TRY004 - a field's parser speaks ValueError
    return tuple(sorted((_text(key), _text(item)) for key, item in value.items()))


def _one_of(choices: tuple[str, ...], value: Any) -> str:
    if value not in choices:
        raise ValueError(f"not one of {', '.join(choices)}")
    return str(value)


def _span(low_ms: int, high_ms: int, value: Any) -> int:
    found = parse_duration_ms(value)
    if not low_ms <= found <= high_ms:
        raise ValueError(f"not within {low_ms / 1000:g} s and {high_ms / 1000:g} s")
    return found


def integer(low: int, high: int, default: int | None, text: str) -> Field:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Field(partial(_integer, low, high), default, f"a whole number within {low} and {high}", schema, text)


def string(default: str, text: str, *, expected: str = "a string", secret: bool = False) -> Field:
    return Field(_text, default, expected, {"type": "string"}, text, secret)


def flag(default: bool, text: str) -> Field:
    return Field(_flag, default, "true or false", {"type": "boolean"}, text)


def choice(choices: tuple[str, ...], default: str, text: str) -> Field:
    return Field(partial(_one_of, choices), default, f"one of {', '.join(choices)}", {"enum": list(choices)}, text)


def span(low_ms: int, high_ms: int, default: str, text: str) -> Field:
    expected = f"a duration such as 90s or 15m, within {low_ms / 1000:g} s and {high_ms / 1000:g} s"
    return Field(partial(_span, low_ms, high_ms), default, expected, {"type": ["string", "number"]}, text)


def micro(parse: Callable[[Any], Any], default: Any, expected: str, text: str) -> Field:
    return Field(parse, default, expected, {"type": ["string", "number"]}, text)


SERVER: Final[dict[str, Field]] = {
    "host": string("127.0.0.1", "address to bind; any other than loopback needs keys"),
    "port": integer(0, 65_535, DEFAULT_PORT, "port to bind; 0 takes a free one"),
    "data_dir": Field(
        lambda value: Path(_text(value)).expanduser(),
        None,
        "a directory",
        {"type": "string"},
        "where the ledger and the attempts live; default: $XDG_STATE_HOME/agentorch",
    ),
    "allowed_hosts": Field(
        _texts,
        [],
        "a list of host names",
        {"type": "array", "items": {"type": "string"}},
        "further names that requests may address this server by (its Host header)",
    ),
    "url": string("", "how jobs on other machines reach this server; default: the address that it is bound to"),
    "executor": choice(EXECUTOR_NAMES, "local", "executor of pools that name none"),
}

SUPERVISOR: Final[dict[str, Field]] = {
    "mode": Field(
        lambda value: Mode(_one_of(tuple(Mode), value)),
        str(Mode.guarded),
        f"one of {', '.join(Mode)}",
        {"enum": [str(mode) for mode in Mode]},
        "how far the supervisor may go at the first start; afterwards the ledger knows",
    ),
    "cycle_s": span(100, limits.DAY_MS, "5s", "time between two cycles"),
    "brain": choice(BRAIN_NAMES, "rules", "who decides: the rules, or a model (see docs/brains.md)"),
    "timeout_s": span(100, limits.HOUR_MS, "30s", "longest that a brain may think"),
    "approval_ttl": span(
        limits.APPROVAL_TTL_MIN_MS, limits.APPROVAL_TTL_MAX_MS, "15m", "an approval that nobody answers expires: a no"
    ),
    "waiting_usd_per_hour": micro(
        parse_usd_micros, 2, "dollars", "what it is worth that a job waits an hour less; the rule brain weighs by it"
    ),
}

LLM: Final[dict[str, Field]] = {
    "model": string("", "name of the model, as its server calls it"),
    "base_url": Field(
        base_url,
        OPENAI_URL,
        "an http or https URL that /chat/completions can be added to, without a user, a query or a fragment",
        {"type": "string"},
        "the OpenAI-compatible server; its key goes nowhere else",
    ),
    "api_key_env": string("", "variable that holds the key; default: OPENAI_API_KEY for OpenAI itself, else none"),
    "temperature": micro(temperature, None, "a number within 0 and 2", "of the model; default: its server's"),
    "seed": integer(0, 2**31, None, "seed of its draws, to which each cycle adds its number; default: none is sent"),
    "timeout": span(100, limits.HOUR_MS, "20s", "longest that one request may take; a cycle: supervisor.timeout_s"),
    "max_rounds": integer(1, 16, 6, "requests in one cycle: what it reads takes rounds"),
    "max_tokens_per_cycle": integer(1_000, 10_000_000, 60_000, "tokens in and out in one cycle"),
    "max_tokens_per_reply": integer(64, 1_000_000, 2_000, "tokens of one reply"),
    "max_usd_per_hour": micro(parse_usd_micros, None, "dollars", "most that its tokens may cost in any hour"),
    "price_in_usd": micro(parse_usd_micros, None, "dollars", "price of a million tokens in; default: unknown"),
    "price_out_usd": micro(parse_usd_micros, None, "dollars", "price of a million tokens out; default: unknown"),
    "tool_choice": choice(("auto", "required"), "auto", "required: the server makes each reply call a tool"),
    "tools": Field(
        _texts,
        [],
        "a list of names of tools",
        {"type": "array", "items": {"type": "string"}},
        "tools that the model gets, such as propose_alert; default: all. It always gets hold",
    ),
    "name_enums": flag(False, "list the names that there are in the tools' schemas: for servers that decode by schema"),
}

CLIENT: Final[dict[str, Field]] = {
    "url": string(f"http://127.0.0.1:{DEFAULT_PORT}", "the server that commands speak to"),
    "key": string("", "from AGENTORCH_KEY or --key only", expected="AGENTORCH_KEY, or client.key_file", secret=True),
    "key_file": string("", "a file that holds the key"),
}

POOL: Final[dict[str, Field]] = {
    "executor": choice(("", *EXECUTOR_NAMES), "", "what starts its attempts; default: server.executor"),
    "node_type": string("", "type of the nodes that its workers live on; default, not for local: any of its executor"),
    "workers": integer(0, 1_000_000, 1, "workers at the first start"),
    "min_workers": integer(0, 1_000_000, None, "fewest workers; default: 1, or 0 when workers is 0"),
    "max_workers": integer(0, 1_000_000, None, "most workers; default: workers"),
    "cpus": micro(parse_cpu_milli, 1, "a number of cores", "cores of one worker"),
    "memory": micro(parse_bytes, "2GB", "a size such as 24GB", "memory of one worker"),
    "gpus": integer(0, 1_024, 0, "GPUs of one worker"),
    "gpu_memory": micro(parse_bytes, 0, "a size such as 80GB", "memory of each GPU"),
    "gpu_model": string("", "model of its GPUs"),
    "price_usd_per_hour": micro(
        parse_usd_micros, None, "dollars", "price of one worker; default: 0 for local, unknown for others"
    ),
    "region": string("local", "where its workers are"),
    "spot": flag(False, "whether its workers may be taken away"),
    "labels": Field(
        _pairs,
        {},
        "a table of strings",
        {"type": "object", "additionalProperties": {"type": "string"}},
        "labels that jobs may ask for by pool_labels",
    ),
    "protected": flag(False, "whether the supervisor must leave it alone"),
    "target_wait": span(1, limits.DAY_MS, "60s", "queue wait that the supervisor steers for"),
    "power_cap_watts": integer(1, 10_000_000, None, "most power that its devices may draw together"),
    "drain_grace": span(
        0, limits.DAY_MS, "10m", "on nodes: how long work goes on on a worker that is to go, before it is moved"
    ),
    "provision_timeout": span(1_000, limits.DAY_MS, "5m", "on nodes: a node that is not there by then has failed"),
    "preempts": flag(
        True,
        "whether the scheduler may stop work with a checkpoint here for work that has run less: see docs/scheduling.md",
    ),
    "lends": flag(False, "whether jobs of other pools may borrow what idles here: see docs/sharing.md"),
    "reservations": Field(
        reservations.parse,
        [],
        "tables [[pools.NAME.reservations]]: tenant or tier, and workers, or gpus and cpus",
        reservations.SCHEMA,
        "room that only a tenant's or a tier's work may take: see docs/sharing.md",
    ),
}

TENANT: Final[dict[str, Field]] = {
    "weight": integer(1, 10_000, 100, "share of what is contended"),
    "hard_cap_usd": micro(parse_usd_micros, None, "dollars", "most that it may ever spend; default: no cap"),
    "max_running": integer(1, 10_000_000, None, "most jobs at once; default: any number"),
}


RAY: Final[dict[str, Field]] = {
    "address": string("", "the cluster's head, HOST:PORT; default: the one that `agentorch ray up` started here"),
    "state": string("", "directory of `agentorch ray`: token, records, logs; default: $XDG_STATE_HOME/agentorch/ray"),
    "python": string("", "interpreter that has ray and agentorch, for the bridge; default: this one"),
    "token_file": string("", "file with the cluster's token; default: the one that `agentorch ray up` wrote"),
    "lease": span(2_000, 10 * limits.MINUTE_MS, "60s", "a node that hears nothing for this long ends its work"),
    "provider": choice(
        ("none", "local", "command", "autoscaler"), "none", "how nodes are added and released: see docs/ray.md"
    ),
    "add_command": string("", "provider command: adds one node of {type}"),
    "remove_command": string("", "provider command: removes the node {node} at {address}"),
    "node_cpus": integer(0, 100_000, 0, "provider local: cpus of each node; 0: as many as this machine has"),
    "agent_root": string("", "directory on each node for attempts and logs; default: below the user's state directory"),
}

SLURM: Final[dict[str, Field]] = {
    "root": string("", "directory on a file system that all nodes share; default: attempts-slurm in data_dir"),
    "partition": string("", "partition to submit to; default: the cluster's"),
    "account": string("", "account to charge"),
    "qos": string("", "quality of service to ask for"),
    "extra": Field(
        _texts,
        [],
        "a list of strings",
        {"type": "array", "items": {"type": "string"}},
        "further options of every sbatch",
    ),
    "commands": string("", "directory of sbatch and its kin; default: on the PATH"),
    "conf": string("", "a slurm.conf other than the system's"),
    "python": string("", "interpreter that every node has under this path, with agentorch; default: this one"),
    "fence": span(
        10_000, limits.DAY_MS, "2m", "work that can't see its directory for this long ends: see docs/slurm.md"
    ),
}

PILOT: Final[dict[str, Field]] = {
    "cpus": integer(1, 100_000, 1, "processors of one pilot"),
    "memory": micro(parse_bytes, 0, "a size such as 24GB", "memory of one pilot; 0: the partition's default"),
    "time": span(0, 366 * limits.DAY_MS, "0s", "how long one pilot may live; 0: as long as the partition allows"),
    "partition": string("", "partition of this kind of pilot; default: executors.slurm.partition"),
}

_GUARDRAIL_HELP: Final = {
    "pending_approvals_max": "open approvals at a time",
    "scale_up_step": "G1: workers that one action may always add",
    "scale_up_share_percent": "G1: share of a pool that one action may add",
    "scale_down_step": "G1: workers that one action may always remove",
    "scale_down_share_percent": "G1: share of a pool that one action may remove",
    "shrink_window_ms": "G2: a pool shrinks only to the highest need of this window",
    "shrink_after_growth_ms": "G2: nothing shrinks for this long after it grew",
    "dead_band_percent": "G3: smallest deviation that is worth an action",
    "stale_local_ms": "G4: oldest local telemetry that justifies taking something away",
    "stale_remote_ms": "G4: oldest remote telemetry that justifies taking something away",
    "cooldown_ms": "G5: time between two actions on the same target",
    "actions_per_cycle": "G5: actions of one cycle",
    "actions_per_hour": "G5: actions of one hour",
    "blast_radius_percent": "G6: share of a pool that may be disturbed at a time",
    "preempt_min_run_ms": "G8: work runs at least this long before it may be preempted",
    "unhealthy_halt_percent": "G11: share of unhealthy workers above which nothing is scaled or preempted",
    "unhealthy_halt_workers": "G11: and more unhealthy workers than this",
    "poison_workers": "G12: workers that one job may take down before it is failed",
    "pool_failed_starts_pause": "G12: failed starts in a row that pause a pool",
    "device_temperature_limit_c": "G13: hottest device that work is placed on",
    "suspect_clear_ms": "health: how long a suspect must be well before it takes work again",
    "suspect_max_ms": "health: a device that is suspect for longer is cordoned",
    "breaker_cordons": "health: cordons within the window after which only a person brings it back",
    "breaker_window_ms": "health: the window of that breaker",
    "worker_failures_cordon": "health: failures in a row, by no fault of the jobs, that cordon a worker",
    "pressure_memory_percent": "health: share of time in which all work waits for memory that makes a node suspect",
    "pressure_io_percent": "health: share of time in which all work waits for the disk that makes a node suspect",
    "ask_above_usd_micros_per_hour": "G7: growth that adds more than this an hour (millionths of a dollar) is asked",
}


def _always_ask(value: Any) -> tuple[str, ...]:
    kinds = _texts(value)
    for kind in kinds:
        _one_of(ACTION_KINDS, kind)
    return kinds


def _guardrails() -> dict[str, Field]:
    """Bounds come from the guardrails themselves: no value here can loosen one."""
    loosest = GuardrailSettings()
    fields = {}
    for name, (low, high) in BOUNDS.items():
        if name == "approval_ttl_ms":
            continue
        text = _GUARDRAIL_HELP.get(name, "")
        schema = {"type": "integer", "minimum": low, "maximum": high}
        expected = f"{low} to {high}: a guardrail can only be tightened"
        fields[name] = Field(partial(_integer, low, high), getattr(loosest, name), expected, schema, text)
    schema = {"type": "array", "items": {"enum": list(ACTION_KINDS)}}
    expected = f"a list of {', '.join(ACTION_KINDS)}"
    fields["always_ask"] = Field(_always_ask, [], expected, schema, "kinds of action that always need a person")
    return fields


#: The expiry of approvals is `supervisor.approval_ttl`; every other guardrail setting has its own key.
GUARDRAILS: Final = _guardrails()

PLAIN_SECTIONS: Final = {
    "server": SERVER,
    "supervisor": SUPERVISOR,
    "guardrails": GUARDRAILS,
    "client": CLIENT,
}

#: Tables inside a section.
NESTED: Final = {"supervisor.llm": LLM}

#: One table each below `[executors]`.
EXECUTORS: Final = {"ray": RAY, "slurm": SLURM}


def json_schema() -> dict[str, Any]:
    """JSON Schema of `agentorch.toml`, with every default."""
    sections: dict[str, Any] = {name: _table(fields) for name, fields in PLAIN_SECTIONS.items()}
    for name, fields in NESTED.items():
        parent, _, child = name.partition(".")
        sections[parent]["properties"][child] = {**_table(fields), "description": f"the section [{name}]"}
    tables = {name: _table(fields) for name, fields in EXECUTORS.items()}
    sections["executors"] = {"type": "object", "additionalProperties": False, "properties": tables}
    sections["pilots"] = {"type": "object", "additionalProperties": _table(PILOT)}
    sections["pools"] = {"type": "object", "additionalProperties": _table(POOL)}
    sections["tenants"] = {"type": "object", "additionalProperties": _table(TENANT)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agentorch.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": sections,
    }


def _table(fields: dict[str, Field]) -> dict[str, Any]:
    properties = {
        name: {
            **field.schema,
            "description": field.help,
            **({} if field.default is None else {"default": field.default}),
        }
        for name, field in fields.items()
        if not field.secret
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}
