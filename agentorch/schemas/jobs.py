"""The specification of a job as it comes in, and how it becomes a `JobSpec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, core_schema

from agentorch.errors import Refused
from agentorch.model import limits, units
from agentorch.model.jobs import Checkpoint, Constraints, EntryPoint, JobSpec, Resources, RetryOn, RetryPolicy, Tier
from agentorch.model.units import Scalar, parse_bytes, parse_cpu_milli, parse_duration_ms, parse_gpu, parse_usd_micros
from agentorch.schemas.base import INTEGRAL, Request
from agentorch.schemas.times import LATEST_MS, parse_time_ms


class _Micro:
    """Marks a field in micro syntax: checked when it comes in, kept as typed, and described to OpenAPI."""

    def __init__(
        self,
        parse: Callable[[Scalar], object],
        pattern: str,
        description: str,
        number: dict[str, Any],
        example: str,
        *more: dict[str, Any],
    ) -> None:
        self.parse = parse
        text = {"type": "string", "pattern": f"^({pattern})$"}
        self.schema = {"anyOf": [text, number, *more], "description": description, "examples": [example]}

    def _check(self, value: Any) -> Scalar:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"expected {self.schema['description']}")  # noqa: TRY004 - pydantic reads ValueError
        self.parse(value)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return self.schema


Size = Annotated[
    Scalar,
    _Micro(
        units.parse_bytes,
        units.SIZE_PATTERN,
        "a size with a unit, such as 24GB or 512MiB",
        {"type": "integer", "minimum": units.BARE_BYTES_MIN, "maximum": units.BYTES_MAX},
        "24GB",
    ),
]
Cores = Annotated[
    Scalar,
    _Micro(
        units.parse_cpu_milli,
        units.CORES_PATTERN,
        "cores, such as 4 or 0.5; what is asked for is a minimum, so 4+ means the same as 4",
        {"type": "number", "minimum": 0.001, "maximum": units.CPU_MILLI_MAX // 1000},
        "4",
    ),
]
Span = Annotated[
    Scalar,
    _Micro(
        units.parse_duration_ms,
        units.DURATION_PATTERN,
        "a duration such as 90m or 1h30m, or seconds",
        {"type": "number", "minimum": 0, "maximum": units.DURATION_MAX_MS // 1000},
        "90m",
    ),
]
Dollars = Annotated[
    Scalar,
    _Micro(
        units.parse_usd_micros,
        units.USD_PATTERN,
        "dollars, such as 1.50",
        {"type": "number", "minimum": 0, "maximum": units.USD_MICROS_MAX // 1_000_000},
        "1.50",
    ),
]
Gpu = Annotated[
    Scalar,
    _Micro(
        units.parse_gpu,
        units.GPU_PATTERN,
        "a number of GPUs, a model, or MODEL:NUMBER",
        {"type": "integer", "minimum": 0, "maximum": units.GPUS_MAX},
        "H100:2",
    ),
]
Moment = Annotated[
    Scalar,
    _Micro(
        lambda value: parse_time_ms(value, 0),
        rf"\+({units.DURATION_PATTERN})",
        "a time such as 2031-05-01T12:00:00Z, +2h, or seconds since the epoch",
        {"type": "number", "minimum": 0, "maximum": LATEST_MS // 1000},
        "+2h",
        {"type": "string", "format": "date-time"},
    ),
]


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


Text = Annotated[str, AfterValidator(_no_nul), Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})]
Argv = Annotated[
    list[Text], Field(min_length=1, json_schema_extra={"prefixItems": [{"type": "string", "pattern": "^[^\\u0000]+$"}]})
]
EnvName = Annotated[str, Field(pattern=r"^[^=\x00]+$", max_length=1_000)]
_NAMES: dict[str, Any] = {
    "propertyNames": {"pattern": "^[^=\\u0000]+$", "maxLength": 1_000},
    "additionalProperties": {"type": "string", "pattern": "^[^\\u0000]*$"},
}
Label = Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX_CHARS)]
Id = Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX_CHARS)]


def unsupported(what: str, instead: str = "") -> PydanticCustomError:
    """A field of the contract that this version can't honour. It becomes a problem with the code `unsupported`."""
    text = f"{what} is not supported by this version" + (f": {instead}" if instead else "")
    return PydanticCustomError("unsupported", "{text}", {"text": text})


class ResourcesRequest(Request):
    """What one attempt needs. `memory` unset: not limited, not counted."""

    cpus: Cores = 1
    memory: Size = 0
    gpu: Gpu = 0
    gpu_memory: Size = 0

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        for field, instead in (("any_of", "submit the shape that fits most pools"), ("disk", "")):
            if isinstance(data, dict) and field in data:
                raise unsupported(f"resources.{field}", instead)
        return data

    def to_resources(self) -> Resources:
        model, gpus = parse_gpu(self.gpu)
        return Resources(
            cpu_milli=parse_cpu_milli(self.cpus),
            memory_bytes=parse_bytes(self.memory),
            gpus=gpus,
            gpu_memory_bytes=parse_bytes(self.gpu_memory),
            gpu_model=model,
        )


class RetryRequest(Request):
    """At most `attempts` tries in all, for the causes in `on`."""

    on: list[RetryOn] = Field(default=[RetryOn.interruption, RetryOn.no_capacity], max_length=len(RetryOn))
    attempts: Annotated[int, Field(ge=1, le=limits.RETRY_ATTEMPTS_MAX), INTEGRAL] = 3
    backoff: Span = 1
    oom_factor: float = Field(default=1.5, ge=1, le=8)

    def to_policy(self) -> RetryPolicy:
        return RetryPolicy(
            on=tuple(dict.fromkeys(self.on)),
            attempts=self.attempts,
            backoff_ms=min(parse_duration_ms(self.backoff), limits.RETRY_BACKOFF_CAP_MS),
            oom_factor_percent=round(self.oom_factor * 100),
        )


class CheckpointRequest(Request):
    """How the job saves itself when it is asked to go: on `signal`, within `grace`."""

    path: Text = Field(default="", max_length=4_096)
    signal: Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"] = "SIGTERM"
    grace: Span = limits.STOP_GRACE_MS // limits.SECOND_MS

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        if isinstance(data, dict) and "every" in data:
            raise unsupported("checkpoint.every", "let the job save itself and report it as progress")
        return data

    def to_checkpoint(self) -> Checkpoint:
        return Checkpoint(
            path=self.path,
            signal=self.signal,
            grace_ms=min(parse_duration_ms(self.grace), limits.STOP_GRACE_CAP_MS),
        )


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED = rf"{_NAME}(\.{_NAME})*"


class EntryRequest(Request):
    """A Python function that a warm worker calls with JSON values; what it returns is the job's `result`."""

    call: Annotated[str, Field(pattern=rf"^{_DOTTED}:{_DOTTED}$", max_length=1_000)]
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    python: Annotated[str, Field(pattern=r"^(/[^\x00]*)?$", max_length=4_096)] = ""  # interpreter, absolute

    def to_entry(self) -> EntryPoint:
        """Raises Refused("invalid") for values that the ledger can't keep as they are."""
        try:
            size = len(msgspec.msgpack.encode([self.args, self.kwargs]))
        except (OverflowError, ValueError, TypeError, RecursionError) as error:
            raise Refused("invalid", f"entry: args and kwargs: integers have at most 64 bits ({error})") from error
        if size > limits.ENTRY_ARGS_MAX_BYTES:
            raise Refused(
                "invalid", f"entry: args and kwargs take more than {limits.ENTRY_ARGS_MAX_BYTES} bytes: pass a file"
            )
        return EntryPoint(call=self.call, args=tuple(self.args), kwargs=self.kwargs, python=self.python)


#: Of a job that has a command.
_NO_ENTRY = EntryRequest.model_construct(call="", args=[], kwargs={}, python="")

#: Shared by every job that says nothing of retries: it is frozen, and a copy would cost as much as all the rest.
_NO_RETRY_REQUEST = RetryRequest()

#: Fields of the whole specification that are refused by name, with what to do instead.
_UNSUPPORTED_FIELDS = {
    "array": "submit the jobs in one POST /v1/jobs:batch",
    "max_fails": "",
    "schedule": "submit each run with start_at",
    "any_of": "",
    "secrets": "pass a reference in env that the command resolves itself",
    "notify": "follow GET /v1/events",
    "artifacts": "write to a path outside of the attempt's directory",
    "port": "",
    "health": "",
    "replicas": "",
    "model": "",
    "autoscale": "",
}


def _either(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["command"]}, {"required": ["entry"]}]
    del schema["properties"]["command"]["default"]


class JobRequest(Request):
    """A job: a `command`, which is an argv list or a line that is run by `sh -c`, or an `entry`, and never both.

    `workers` above 1 make it a gang: so many ranks at once, all or nothing, each with `resources` of its own.
    """

    model_config = ConfigDict(json_schema_extra=_either)

    command: Annotated[Text, Field(min_length=1)] | Argv = ""
    entry: EntryRequest = Field(default_factory=lambda: _NO_ENTRY)
    name: str = Field(default="", max_length=limits.NAME_MAX_CHARS)
    kind: Literal["task"] = "task"
    tenant: str = Field(default="", max_length=limits.NAME_MAX_CHARS)
    workdir: Annotated[str, Field(pattern=r"^(/[^\x00]*)?$", max_length=4_096)] = ""  # absolute
    env: dict[EnvName, Text] = Field(default_factory=dict, json_schema_extra=_NAMES)
    resources: ResourcesRequest = ResourcesRequest()
    workers: Annotated[int, Field(ge=1, le=limits.GANG_MAX), INTEGRAL] = 1
    tier: Tier = Tier.standard
    priority: Annotated[int, Field(ge=0, le=100), INTEGRAL] = 50
    preemptible: bool = True
    pool: Id | list[Id] = ""
    region: Id | list[Id] = ""
    pool_labels: dict[Label, str] = Field(default_factory=dict, max_length=limits.LABELS_MAX)
    spot_ok: bool = True
    borrow: bool = False  # also what idles in a pool that lends: it gives way as soon as that is needed
    deadline: Moment | None = None
    start_at: Moment | None = None
    max_queue: Span | None = None
    max_duration: Span | None = None
    max_cost: Dollars | None = None
    retry: RetryRequest = Field(default_factory=lambda: _NO_RETRY_REQUEST)
    depends_on: list[Id] = Field(default_factory=list, max_length=1_000)
    checkpoint: CheckpointRequest | None = None
    durable: bool = True
    labels: dict[Label, str] = Field(default_factory=dict, max_length=limits.LABELS_MAX)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for field in _UNSUPPORTED_FIELDS.keys() & data.keys():
            raise unsupported(field, _UNSUPPORTED_FIELDS[field])
        if data.get("kind") == "service":
            raise unsupported("kind: service", "submit a task that serves until it is cancelled")
        depends_on = data.get("depends_on")
        if isinstance(depends_on, dict):
            if set(depends_on) != {"all"}:
                raise unsupported("depends_on any, or on failure", "all that it names must succeed")
            data = {**data, "depends_on": depends_on["all"]}
        return data

    @model_validator(mode="after")
    def _check_sizes(self) -> JobRequest:
        if ("command" in self.model_fields_set) == ("entry" in self.model_fields_set):
            raise ValueError("a job has either a command or an entry: give one of the two")
        argv = self.argv()
        if argv and not argv[0]:
            raise ValueError("command: the program's name is empty")
        if sum(len(part.encode()) + 1 for part in argv) > limits.COMMAND_MAX_BYTES:
            raise ValueError(f"command is longer than {limits.COMMAND_MAX_BYTES} bytes: put it into a file")
        if sum(len(name.encode()) + len(value.encode()) + 2 for name, value in self.env.items()) > limits.ENV_MAX_BYTES:
            raise ValueError(f"env is larger than {limits.ENV_MAX_BYTES} bytes: put it into a file")
        return self

    def argv(self) -> list[str]:
        """What is executed; empty for an entry point."""
        if isinstance(self.command, list):
            return self.command
        return ["sh", "-c", self.command] if self.command else []

    def to_spec(self, now_ms: int) -> JobSpec:
        """The specification that the core decides on; `+2h` counts from `now_ms`."""
        return JobSpec(
            command=tuple(self.argv()),
            entry=self.entry.to_entry() if self.entry.call else None,
            gang=self.workers,
            name=self.name,
            workdir=self.workdir,
            env=self.env,
            resources=_DEFAULT_RESOURCES if not self.resources.model_fields_set else self.resources.to_resources(),
            tier=self.tier,
            priority=self.priority,
            preemptible=self.preemptible,
            constraints=self._constraints(),
            deadline_ms=None if self.deadline is None else parse_time_ms(self.deadline, now_ms),
            max_queue_ms=None if self.max_queue is None else parse_duration_ms(self.max_queue),
            max_duration_ms=None if self.max_duration is None else parse_duration_ms(self.max_duration),
            max_cost_usd_micros=None if self.max_cost is None else parse_usd_micros(self.max_cost),
            not_before_ms=0 if self.start_at is None else parse_time_ms(self.start_at, now_ms),
            retry=_DEFAULT_RETRY if not self.retry.model_fields_set else self.retry.to_policy(),
            checkpoint=None if self.checkpoint is None else self.checkpoint.to_checkpoint(),
            depends_on=tuple(dict.fromkeys(self.depends_on)),
            labels=self.labels,
            durable=self.durable,
        )

    def _constraints(self) -> Constraints:
        if not self.pool and not self.region and not self.pool_labels and self.spot_ok and not self.borrow:
            return _ANYWHERE
        return Constraints(
            pools=_as_tuple(self.pool),
            regions=_as_tuple(self.region),
            labels=tuple(sorted(self.pool_labels.items())),
            spot_ok=self.spot_ok,
            borrow=self.borrow,
        )


_DEFAULT_RESOURCES = Resources()
_DEFAULT_RETRY = RetryPolicy()
_ANYWHERE = Constraints()


def _as_tuple(value: str | list[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(dict.fromkeys(value))


class BatchRequest(Request):
    """Jobs in one request and one commit. A mistake in one of them refuses all, before any is submitted."""

    jobs: list[JobRequest] = Field(min_length=1, max_length=limits.BATCH_JOBS_MAX)
