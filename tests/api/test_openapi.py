"""OpenAPI is complete and true: generated requests get the answers that it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig

from tests.api.live import Live

load_all_checks()

#: A stream never ends by itself; its own tests are in test_stream.
ENDLESS = "/v1/events"


@pytest.fixture(scope="module")
def api_schema(shared: Live) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{shared.url}/v1/openapi.json", config=SchemathesisConfig())
    yield schema.exclude(path=ENDLESS)


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_openapi_says(case: schemathesis.Case) -> None:
    case.call_and_validate(timeout=20)


def test_the_document_names_bodies_problems_and_security(shared: Live) -> None:
    document = httpx.get(f"{shared.url}/v1/openapi.json").json()
    submit = document["paths"]["/v1/jobs"]["post"]
    assert submit["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/JobRequest")
    assert {parameter["name"] for parameter in submit["parameters"]} == {"Idempotency-Key", "If-Match"}
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)
            assert "422" not in operation["responses"], (method, path)
    text = httpx.get(f"{shared.url}/v1/openapi.json").text
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
