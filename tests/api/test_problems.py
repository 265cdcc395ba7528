"""Every error is a problem document with a stable code, whatever went wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from agentorch.api.problems import CODE_OF_STATUS, STATUS_OF_REFUSAL, of_exception
from agentorch.errors import REFUSAL_CODES, Refused, RuntimeStopped
from agentorch.model import limits
from tests.api.live import Live


@pytest.fixture(scope="module")
def http(shared: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.url) as client:
        yield client


def checked(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code), document
    assert document["detail"]
    assert document["title"]
    return document


def test_every_refusal_of_the_core_has_a_status() -> None:
    assert set(STATUS_OF_REFUSAL) == set(REFUSAL_CODES)
    for code, status in STATUS_OF_REFUSAL.items():
        answer = of_exception(Refused(code, "because", retry_after_s=None, job="job-000001"))
        document = json.loads(bytes(answer.body))
        assert (answer.status_code, document["code"], document["job"]) == (status, code, "job-000001")
        if status in (429, 503):
            assert int(answer.headers["retry-after"]) >= 1
            assert document["retry_after"] > 0


def test_a_stopped_runtime_is_503_with_a_time_to_come_back() -> None:
    answer = of_exception(RuntimeStopped("a commit failed"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert all(400 <= status < 600 for status in CODE_OF_STATUS)


def test_a_defect_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    answer = of_exception(KeyError("hunter2"))
    assert answer.status_code == 500
    assert b"hunter2" not in bytes(answer.body)
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b"{", 400, "malformed", "JSON"),
        (b"", 400, "malformed", "JSON"),
        (b"\xff\xfe", 400, "malformed", "JSON"),
        (b'{"command": "\\ud800"}', 400, "malformed", "JSON"),
        (b"[" * 100_000, 400, "malformed", "JSON"),
        (b"[]", 422, "invalid", ""),
        (b'{"command": ["true"], "colour": 1}', 422, "invalid", "colour"),
        (b'{"command": []}', 422, "invalid", "command"),
        (b'{"command": ["tr\\u0000ue"]}', 422, "invalid", "NUL"),
        (b'{"command": ["true"], "priority": 101}', 422, "invalid", "priority"),
        (b'{"command": ["true"], "priority": "7"}', 422, "invalid", "priority"),
        (b'{"command": ["true"], "resources": {"memory": 24}}', 422, "invalid", "unit"),
        (b'{"command": ["true"], "deadline": "2031-01-01T00:00:00"}', 422, "invalid", "zone"),
        (b'{"command": ["true"], "tenant": "nobody"}', 422, "invalid", "nobody"),
        (b'{"command": ["true"], "pool": "nowhere"}', 422, "invalid", "nowhere"),
        (b'{"command": ["true"], "depends_on": ["job-424242"]}', 422, "invalid", "job-424242"),
        (b'{"command": ["true"], "kind": "service"}', 422, "unsupported", "service"),
        (b'{"command": ["true"], "workers": 257}', 422, "invalid", "workers"),
        (b'{"command": ["true"], "entry": {"call": "m:f"}}', 422, "invalid", "either"),
        (b'{"name": "nothing"}', 422, "invalid", "either"),
        (b'{"entry": {"call": "no-function"}}', 422, "invalid", "entry.call"),
        (b'{"entry": null}', 422, "invalid", "entry"),
        (b'{"entry": {"call": "m:f", "args": [18446744073709551616]}}', 422, "invalid", "64 bits"),
        (b'{"command": ["true"], "array": 8}', 422, "unsupported", "batch"),
        (b'{"command": ["true"], "schedule": "* * * * *"}', 422, "unsupported", "schedule"),
        (b'{"command": ["true"], "secrets": ["x"]}', 422, "unsupported", "secrets"),
        (b'{"command": ["true"], "notify": "http://x"}', 422, "unsupported", "notify"),
        (b'{"command": ["true"], "artifacts": ["x"]}', 422, "unsupported", "artifacts"),
        (b'{"command": ["true"], "resources": {"any_of": []}}', 422, "unsupported", "any_of"),
        (b'{"command": ["true"], "depends_on": {"any": ["x"]}}', 422, "unsupported", "any"),
        (b'{"command": ["true"], "checkpoint": {"every": "5m"}}', 422, "unsupported", "every"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong(http: httpx.Client, body: bytes, status: int, code: str, says: str) -> None:
    answer = http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert says in checked(answer, status, code)["detail"]
    assert http.get("/v1/jobs").json()["total"] == 0


def test_values_are_not_repeated_in_a_problem(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json={"command": ["true"], "env": {"TOKEN": {"secret": "hunter2"}}})
    assert "TOKEN" in checked(answer, 422, "invalid")["detail"]
    assert "hunter2" not in answer.text


def test_what_is_not_there_and_what_is_not_allowed(http: httpx.Client) -> None:
    checked(http.get("/v1/nothing"), 404, "not_found")
    checked(http.get("/v1/jobs/job-424242"), 404, "not_found")
    answer = http.put("/v1/jobs", json={})
    checked(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]
    checked(http.get("/v1/jobs", params={"limit": 0}), 422, "invalid")
    checked(http.get("/v1/jobs", params={"state": "asleep"}), 422, "invalid")
    checked(http.get("/v1/snapshot", params={"at": 1}), 422, "invalid")
    checked(http.get("/v1/events", params={"after": 10**9}), 422, "invalid")
    checked(http.post("/v1/jobs", json={"command": ["true"]}, headers={"if-match": "soon"}), 422, "invalid")
    checked(http.post("/v1/jobs", json={"command": ["true"]}, headers={"idempotency-key": "k" * 300}), 422, "invalid")


def test_bodies_are_bounded_also_without_a_length(http: httpx.Client) -> None:
    big = b" " * (limits.BODY_MAX_BYTES + 1)
    json_type = {"content-type": "application/json"}
    checked(http.post("/v1/jobs", content=big, headers=json_type), 413, "too_large")

    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * (1024 * 1024)

    for path in ("/v1/jobs", "/v1/supervisor/mode"):
        try:
            answer = http.post(path, content=chunks(), headers=json_type)
        except httpx.WriteError:
            continue  # the server hung up on a client that went on sending
        checked(answer, 413, "too_large")


def test_a_page_in_a_browser_can_not_speak_to_a_server_on_loopback(shared: Live, http: httpx.Client) -> None:
    body = {"command": ["true"]}
    rebound = http.post("/v1/jobs", json=body, headers={"host": "evil.example:80"})
    checked(rebound, 421, "misdirected")
    foreign = http.post("/v1/jobs", json=body, headers={"origin": "https://evil.example"})
    checked(foreign, 403, "cross_origin")
    simple = http.post("/v1/jobs", content=json.dumps(body), headers={"content-type": "text/plain"})
    checked(simple, 415, "unsupported_media_type")
    bare = http.post("/v1/jobs", content=json.dumps(body).encode())
    checked(bare, 415, "unsupported_media_type")
    assert http.get("/healthz", headers={"host": "localhost"}).status_code == 200
    assert http.get("/healthz", headers={"host": "[::1]:99", "origin": "http://localhost:3000"}).status_code == 200
    assert http.get("/v1/jobs").json()["total"] == 0


def test_a_further_name_is_answered_when_configured(tmp_path: Any) -> None:
    with Live(tmp_path, allowed_hosts=("gpu-box.lan",)) as server:
        assert httpx.get(f"{server.url}/healthz", headers={"host": "GPU-box.lan:7070"}).status_code == 200


def test_nonsense_on_the_socket_does_not_disturb_anybody(shared: Live, http: httpx.Client) -> None:
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert raw.recv(1024).startswith(b"HTTP/1.1 400")
    assert http.get("/readyz").json() == {"status": "ready"}
