"""The tools as a model is offered them in one cycle: the catalogue, and if wanted the names that there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from agentorch.model.observation import Observation
from agentorch.tools.catalogue import ALL_TOOLS, HOLD_TOOL, TOOL_SCHEMAS

#: More names of one kind are not listed: a schema is paid for in each request.
NAMES_MAX: Final = 64


def unknown_tools(tools: Collection[str]) -> list[str]:
    return sorted(set(tools) - ALL_TOOLS.keys())


def offered(observation: Observation, *, tools: Collection[str], names: bool) -> list[dict[str, Any]]:
    """Schemas of these tools, or of all, in the shape of OpenAI's `tools`.

    With `names`, what names a pool, job, worker or tenant lists those of this observation, so that a server that
    decodes by schema can't produce another one.
    """
    wanted = {*tools, HOLD_TOOL} if tools else ALL_TOOLS.keys()
    schemas = [schema for schema in TOOL_SCHEMAS if schema["function"]["name"] in wanted]
    if not names:
        return schemas
    known = _names(observation)
    return [_with_names(schema, known) for schema in schemas]


def schemas_sha256(schemas: Sequence[Mapping[str, Any]]) -> str:
    return sha256(msgspec.json.encode(schemas, order="deterministic")).hexdigest()


def _names(observation: Observation) -> dict[str, list[str]]:
    pools = [pool.name for pool in observation.pools]
    jobs = [job.id for job in (*observation.queued, *observation.running)]
    tenants = [tenant.name for tenant in observation.tenants]
    found = {"pool": pools, "from_pool": pools, "job": jobs, "tenant": tenants}
    found["worker"] = [worker.id for worker in observation.workers]
    return {field: list(dict.fromkeys(names))[:NAMES_MAX] for field, names in found.items()}


def _with_names(schema: dict[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    function = schema["function"]
    fields = function["parameters"].get("properties", {})
    named = {field: _listed(shape, known[field]) for field, shape in fields.items() if known.get(field)}
    parameters = {**function["parameters"], "properties": {**fields, **named}}
    return {**schema, "function": {**function, "parameters": parameters}}


def _listed(shape: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    # A field that may be left empty keeps its empty default as one of the names.
    free = [shape["default"]] if "default" in shape else []
    return {key: value for key, value in shape.items() if key not in ("minLength", "maxLength")} | {
        "enum": [*free, *names]
    }
