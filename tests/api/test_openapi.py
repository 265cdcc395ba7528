"""OpenAPI is complete and true: generated requests get the answers that it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from agentorch.model.fleet import PoolSpec
from tests.api.live import Live

load_all_checks()

#: A stream never ends by itself; its own tests are in test_stream.
ENDLESS = "/v1/events"

FEW = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def inert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on which nothing can ever start: generated commands must not run."""
    nowhere = PoolSpec(name="cpu", workers=0, min_workers=0, max_workers=0)
    with Live(tmp_path_factory.mktemp("inert"), pools=[nowhere]) as live:
        yield live


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_what_openapi_says(inert: Live, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{inert.url}/v1/openapi.json")
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            _check(strategy, mode)
        except Unsatisfiable:  # nothing in this operation can be wrong
            assert mode is GenerationMode.NEGATIVE
        count += 1
    assert count > 30


def _check(strategy: Any, mode: GenerationMode) -> None:
    @given(case=strategy)
    @FEW
    def check(case: schemathesis.Case) -> None:
        answer = case.call(timeout=20)
        case.validate_response(answer, excluded_checks=[CHECKS.get_one("positive_data_acceptance")])
        if mode is GenerationMode.POSITIVE and answer.status_code in (400, 422):
            # The core may refuse what it names, such as a pool that is not there; the schema may not have lied.
            assert "errors" not in answer.json(), (case.as_curl_command(), answer.json())
            assert answer.status_code != 400, (case.as_curl_command(), answer.json())

    check()


def test_the_document_names_bodies_problems_and_security(inert: Live) -> None:
    document = httpx.get(f"{inert.url}/v1/openapi.json").json()
    submit = document["paths"]["/v1/jobs"]["post"]
    assert submit["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/JobRequest")
    assert {parameter["name"] for parameter in submit["parameters"]} == {"Idempotency-Key", "If-Match"}
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)
            assert "422" not in operation["responses"], (method, path)
    text = httpx.get(f"{inert.url}/v1/openapi.json").text
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
