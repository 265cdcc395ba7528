"""The options that describe a job, and how they become the body of a request."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from agentorch.cli.common import pairs
from agentorch.errors import ConfigError


@Parameter(name="*")
@dataclass(frozen=True)
class JobOptions:
    """What is not given is left to the server's defaults, or to the file named by --file."""

    file: Annotated[Path | None, Parameter(name=["--file", "-f"], help="A specification in JSON or TOML.")] = None
    name: Annotated[str | None, Parameter(help="A name for people.")] = None
    tenant: Annotated[str | None, Parameter(help="Who pays.")] = None
    cpus: Annotated[str | None, Parameter(help="Cores, such as 4 or 0.5.")] = None
    memory: Annotated[str | None, Parameter(help="Memory, such as 24GB.")] = None
    gpu: Annotated[str | None, Parameter(help="GPUs: 2, H100 or H100:2.")] = None
    gpu_memory: Annotated[str | None, Parameter(help="Memory of each GPU, such as 80GB.")] = None
    workers: Annotated[int | None, Parameter(help="Ranks of a gang: so many at once or none, each with all this.")] = (
        None
    )
    entry: Annotated[str | None, Parameter(help="A Python function instead of a command: MODULE:FUNCTION.")] = None
    args_json: Annotated[str | None, Parameter(help="Its arguments: a JSON array.")] = None
    python: Annotated[str | None, Parameter(help="The interpreter that has the function, an absolute path.")] = None
    kwargs_json: Annotated[str | None, Parameter(help="Its named arguments: a JSON object.")] = None
    tier: Annotated[Literal["realtime", "standard", "flex", "batch"] | None, Parameter(help="How urgent.")] = None
    priority: Annotated[int | None, Parameter(help="0 to 100, default 50.")] = None
    pool: Annotated[list[str] | None, Parameter(help="Allowed pool; may be repeated.", negative="")] = None
    region: Annotated[list[str] | None, Parameter(help="Allowed region; may be repeated.", negative="")] = None
    pool_label: Annotated[list[str] | None, Parameter(help="KEY=VALUE that the pool must carry.", negative="")] = None
    spot_ok: Annotated[bool | None, Parameter(help="Whether workers may be taken away.")] = None
    borrow: Annotated[
        bool | None, Parameter(help="Also take what idles in pools that lend, until their own work needs it.")
    ] = None
    preemptible: Annotated[bool | None, Parameter(help="Whether it may give way to other work.")] = None
    deadline: Annotated[str | None, Parameter(help="ISO-8601 with a zone, or +2h.")] = None
    start_at: Annotated[str | None, Parameter(help="Not before: ISO-8601 with a zone, or +2h.")] = None
    max_queue: Annotated[str | None, Parameter(help="Longest wait, such as 30m.")] = None
    max_duration: Annotated[str | None, Parameter(help="Longest run, such as 2h.")] = None
    max_cost: Annotated[str | None, Parameter(help="Most dollars.")] = None
    retries: Annotated[int | None, Parameter(help="Tries in all.")] = None
    retry_on: Annotated[
        list[Literal["error", "interruption", "oom", "no_capacity"]] | None,
        Parameter(help="What to retry after; may be repeated.", negative=""),
    ] = None
    after: Annotated[list[str] | None, Parameter(help="Job that must succeed first; may be repeated.", negative="")] = (
        None
    )
    env: Annotated[list[str] | None, Parameter(help="KEY=VALUE; may be repeated.", negative="")] = None
    label: Annotated[list[str] | None, Parameter(help="KEY=VALUE; may be repeated.", negative="")] = None
    workdir: Annotated[str | None, Parameter(help="Absolute path; default: one of its own.")] = None
    durable: Annotated[bool | None, Parameter(help="Whether its exit code survives a power cut.")] = None


#: Options that are fields of the body by the same name.
_PLAIN = (
    "name",
    "tenant",
    "tier",
    "priority",
    "spot_ok",
    "borrow",
    "preemptible",
    "deadline",
    "start_at",
    "max_queue",
    "max_duration",
    "max_cost",
    "workdir",
    "workers",
    "durable",
)


def job_body(command: tuple[str, ...], options: JobOptions | None, *, default: str = "") -> dict[str, Any]:
    """The request's body: the file's content, and over it what the command line says.

    One word with a blank in it is a line for `sh -c`; anything else is an argv. Raises ConfigError.
    """
    options = options or JobOptions()
    body = {} if options.file is None else _read(options.file)
    if command:
        body["command"] = command[0] if len(command) == 1 and " " in command[0] else list(command)
    _put(body, "entry", _entry(body.get("entry"), options))
    if "command" not in body and "entry" not in body and default:
        body["command"] = [default]
    if "command" not in body and "entry" not in body:
        raise ConfigError("there is nothing to run: agentorch submit [options] -- COMMAND, or --entry, or --file")
    for name in _PLAIN:
        _put(body, name, getattr(options, name))
    resources = body.get("resources") or {}
    for name in ("cpus", "memory", "gpu", "gpu_memory"):
        _put(resources, name, getattr(options, name))
    _put(body, "resources", resources or None)
    retry = body.get("retry") or {}
    _put(retry, "attempts", options.retries)
    _put(retry, "on", options.retry_on)
    _put(body, "retry", retry or None)
    _put(body, "pool", options.pool)
    _put(body, "region", options.region)
    _put(body, "depends_on", options.after)
    for name, items in (("env", options.env), ("labels", options.label), ("pool_labels", options.pool_label)):
        given = pairs(items, f"--{name.removesuffix('s').replace('_', '-')}")
        _put(body, name, {**(body.get(name) or {}), **given} or None)
    return body


def _entry(known: dict[str, Any] | None, options: JobOptions) -> dict[str, Any] | None:
    entry = dict(known or {})
    _put(entry, "call", options.entry)
    _put(entry, "python", options.python)
    for name, kind, text in (("args", list, options.args_json), ("kwargs", dict, options.kwargs_json)):
        if text is None:
            continue
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--{name}-json: not JSON: {error}") from error
        if not isinstance(value, kind):
            raise ConfigError(f"--{name}-json: expected a JSON {'array' if kind is list else 'object'}")
        entry[name] = value
    if entry and "call" not in entry:
        raise ConfigError("--args-json, --kwargs-json and --python are for --entry MODULE:FUNCTION, which is missing")
    return entry or None


def _put(table: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        table[name] = value


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: not {'JSON' if file.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: expected an object with the fields of a job")
    return found
