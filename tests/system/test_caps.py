"""A hard cap binds under concurrency, and one key makes one job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.system.server import Server, eventually, running

CONFIG = """
[tenants.default]
hard_cap_usd = 0.05
[pools.dear]
workers = 8
cpus = 0.2
memory = "64MB"
price_usd_per_hour = 1
"""
CAP = 0.05


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("caps"), CONFIG) as server:
        yield server


def committed(server: Server) -> float:
    budget = next(one for one in server.get("/v1/budgets") if one["tenant"] == "default")
    return float(budget["spent_usd"] + budget["reserved_usd"])


def test_a_hundred_submits_at_once_never_pass_the_cap(server: Server) -> None:
    body = {"command": ["sleep", "0.1"], "max_duration": "50s", "resources": {"cpus": 0.2}}
    with ThreadPoolExecutor(20) as people:
        answers = [people.submit(server.http.post, "/v1/jobs", json=body) for _ in range(100)]
        seen = [committed(server) for _ in range(20)]
        assert {answer.result().status_code for answer in answers} == {201}

    def settled() -> list[dict[str, Any]] | None:
        seen.append(committed(server))
        jobs: list[dict[str, Any]] = server.get("/v1/jobs?limit=200")["items"]
        waiting = [job for job in jobs if job["state"] not in ("succeeded", "failed")]
        return jobs if all((job["reason"] or {}).get("code") == "budget" for job in waiting) else None

    jobs = eventually(settled, "what can be paid for has run, the rest waits for its budget")
    assert max(seen) <= CAP
    assert sum(job["cost_usd"] for job in jobs) <= CAP
    assert any(job["state"] == "succeeded" for job in jobs)


def test_fifty_clients_with_one_key_make_one_job(server: Server) -> None:
    body = {"command": ["true"], "name": "once"}
    with ThreadPoolExecutor(50) as people:
        answers = list(
            people.map(lambda _: server.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": "one"}), range(50))
        )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    other = server.http.post("/v1/jobs", json={"command": ["false"]}, headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
