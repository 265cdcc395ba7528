"""OpenAPI that is complete and true: the hot routes' bodies, and problem documents wherever an answer is an error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agentorch.schemas.base import Problem
from agentorch.schemas.jobs import BatchRequest, JobRequest

_HOT_BODIES: tuple[type[BaseModel], ...] = (JobRequest, BatchRequest, Problem)


def install(app: FastAPI) -> None:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, extra = models_json_schema(
        [(model, "validation") for model in _HOT_BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas.update(extra.get("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key, or a running job's own token"}
    }
    found["security"] = [{}, {"key": []}]  # on loopback, as long as no key exists, none is needed
    problem = {
        "description": "Refused: `code` says why, `retry_after` when to try again",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in found["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["default"] = problem
    return found
