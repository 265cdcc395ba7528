"""Who may do what: every route times every role, and two tenants that can't see each other."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from agentorch.api.access import GRANTS as GRANTED
from agentorch.api.access import OF_ALL_TENANTS, Caller, Permission
from agentorch.model import commands as cmd
from agentorch.model.fleet import Role
from agentorch.model.proposals import BrainReport, Draft, Mode
from tests.api.live import Live

READ, WRITE, FLEET, MONEY = (
    Permission.jobs_read,
    Permission.jobs_write,
    Permission.fleet_read,
    Permission.money_read,
)
WATCH, ANSWER, LOWER, ADMIN = (
    Permission.supervisor_read,
    Permission.supervisor_answer,
    Permission.mode_lower,
    Permission.admin,
)

#: Every operation of the API: what it takes to be let in, and a body that can be read.
OPERATIONS: dict[tuple[str, str], tuple[Permission | None, Any]] = {
    ("post", "/v1/jobs"): (WRITE, {"command": ["true"]}),
    ("post", "/v1/jobs:batch"): (WRITE, {"jobs": [{"command": ["true"]}]}),
    ("post", "/v1/jobs:plan"): (WRITE, {"command": ["true"]}),
    ("get", "/v1/jobs"): (READ, None),
    ("get", "/v1/jobs/{job}"): (READ, None),
    ("get", "/v1/jobs/{job}/explain"): (READ, None),
    ("get", "/v1/jobs/{job}/events"): (READ, None),
    ("get", "/v1/jobs/{job}/logs"): (READ, None),
    ("patch", "/v1/jobs/{job}"): (WRITE, {"priority": 3}),
    ("post", "/v1/jobs/{job}/progress"): (WRITE, {"percent": 3}),
    ("delete", "/v1/jobs/{job}"): (WRITE, None),
    ("get", "/v1/pools"): (FLEET, None),
    ("patch", "/v1/pools/{name}"): (ADMIN, {"workers": 1}),
    ("get", "/v1/workers"): (FLEET, None),
    ("patch", "/v1/workers/{name}"): (ADMIN, {"cordoned": True}),
    ("post", "/v1/workers/{name}/repair"): (ADMIN, None),
    ("get", "/v1/devices"): (FLEET, None),
    ("post", "/v1/devices/{name}/repair"): (ADMIN, None),
    ("get", "/v1/nodes"): (FLEET, None),
    ("get", "/v1/tenants"): (MONEY, None),
    ("put", "/v1/tenants/{name}"): (ADMIN, {"weight": 50}),
    ("get", "/v1/budgets"): (MONEY, None),
    ("get", "/v1/keys"): (ADMIN, None),
    ("post", "/v1/keys"): (ADMIN, {"name": "x", "roles": ["view"]}),
    ("delete", "/v1/keys/{name}"): (ADMIN, None),
    ("get", "/v1/approvals"): (WATCH, None),
    ("post", "/v1/replay/branch"): (WATCH, {"brain": "rules"}),
    ("post", "/v1/foresee"): (WATCH, {"action": {"kind": "scale", "pool": "cpu", "workers": 3}}),
    ("get", "/v1/approvals/{proposal}"): (WATCH, None),
    ("post", "/v1/approvals/{proposal}/answer"): (ANSWER, {"answer": "reject"}),
    ("post", "/v1/approvals:answer"): (ANSWER, {"answers": [{"id": "x", "answer": "reject"}]}),
    ("get", "/v1/decisions"): (WATCH, None),
    ("get", "/v1/decisions/{cycle}"): (WATCH, None),
    ("get", "/v1/supervisor/mode"): (FLEET, None),
    ("post", "/v1/supervisor/mode"): (LOWER, {"mode": "paused"}),
    ("get", "/v1/snapshot"): (READ, None),
    ("get", "/v1/events"): (READ, None),
    ("get", "/v1/ledger/verify"): (WATCH, None),
    ("get", "/metrics"): (WATCH, None),
    ("get", "/healthz"): (None, None),
    ("get", "/readyz"): (None, None),
}


def status_of(http: httpx.Client, method: str, path: str, body: Any, key: str | None) -> tuple[int, str]:
    """Status and problem code; a stream is closed as soon as it has begun."""
    filled = path.format(job="job-000777", name="nobody", proposal="prop-000777", cycle=777)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with http.stream(method.upper(), filled, json=body, headers=headers) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):
            return answer.status_code, ""
        answer.read()
        code = answer.json().get("code", "") if answer.status_code >= 400 else ""
        return answer.status_code, code


@pytest.fixture(scope="module")
def keys(shared: Live) -> dict[str, str]:
    """A key per role, the admin's first, and of one role per tenant."""
    found = {"admin": shared.key(Role.admin)}
    for role in (Role.submit, Role.view, Role.approve):
        found[role] = shared.key(role)
    for tenant in ("red", "blue"):
        found[f"submit-{tenant}"] = shared.key(Role.submit, Role.view, tenant=tenant)
    return found


def test_every_operation_is_in_the_table(shared: Live) -> None:
    document = httpx.get(f"{shared.url}/v1/openapi.json").json()
    assert {(method, path) for path, found in document["paths"].items() for method in found} == set(OPERATIONS)


@pytest.mark.parametrize("role", list(Role))
def test_every_route_asks_for_its_permission(shared: Live, keys: dict[str, str], role: Role) -> None:
    with httpx.Client(base_url=shared.url) as http:
        for (method, path), (permission, body) in OPERATIONS.items():
            status, code = status_of(http, method, path, body, keys[role])
            allowed = permission is None or permission in GRANTED[role]
            assert (code == "forbidden") is not allowed, (role, method, path, status, code)
            assert status != 401, (role, method, path)


def test_without_a_key_nothing_but_health_is_answered(shared: Live, keys: dict[str, str]) -> None:
    with httpx.Client(base_url=shared.url) as http:
        for (method, path), (permission, body) in OPERATIONS.items():
            for key in (None, "ao-wrong", "aoj.job-000001.00", "aoj.x", "a.b.c"):
                status, code = status_of(http, method, path, body, key)
                assert (code == "unauthorized") is (permission is not None), (method, path, key, status, code)


def test_a_key_bound_to_a_tenant_is_refused_what_concerns_all(shared: Live, keys: dict[str, str]) -> None:
    with httpx.Client(base_url=shared.url) as http:
        for (method, path), (permission, body) in OPERATIONS.items():
            _, code = status_of(http, method, path, body, keys["submit-red"])
            refused = permission in OF_ALL_TENANTS
            assert (code == "forbidden") is refused, (method, path, code)


def test_nothing_that_concerns_all_tenants_is_granted_by_a_bound_key() -> None:
    for role in Role:
        bound = Caller(by="k", roles=(role,), tenant="red")
        assert not any(bound.may(permission) for permission in OF_ALL_TENANTS)


def test_two_tenants_do_not_see_each_other_on_any_route(server: Live) -> None:
    server.key(Role.admin)
    red_key = server.key(Role.submit, Role.view, tenant="red")
    blue_key = server.key(Role.submit, Role.view, tenant="blue")

    async def scenario() -> None:
        async with server.client(red_key) as red, server.client(blue_key) as blue:
            job = await blue.submit({"command": ["sh", "-c", "echo secret; sleep 600"], "name": "blue-only"}, "key")
            mine = await red.submit({"command": ["true"], "name": "red-only"}, "key")
            assert (job.tenant, mine.tenant) == ("blue", "red")
            async for event in blue.events(0):
                if event.get("event") == "attempt-running" and event["job"] == job.id:
                    break
            async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {red_key}"}) as http:
                for (method, path), (_, body) in OPERATIONS.items():
                    if "{job}" not in path:
                        continue
                    answer = await http.request(method.upper(), path.format(job=job.id), json=body)
                    assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
                for path in ("/v1/jobs", "/v1/workers", "/v1/tenants", "/v1/budgets", "/v1/snapshot"):
                    text = (await http.get(path)).text
                    assert job.id not in text, path
                    assert "blue" not in text, path
                assert (await http.get("/v1/jobs", params={"tenant": "blue"})).status_code == 404
                other = await http.post("/v1/jobs", json={"command": ["true"], "tenant": "blue"})
                assert (other.status_code, other.json()["code"]) == (403, "forbidden")
                planned = await http.post("/v1/jobs:plan", json={"command": ["true"], "tenant": "blue"})
                assert planned.status_code == 403
            assert (await blue.job(job.id)).state == "running"
            assert [one.id for one in (await red.jobs()).items] == [mine.id]
            await blue.cancel(job.id)
            seen = [event async for event in _until(red.events(0), mine.id)]
            assert {event["job"] for event in seen if "job" in event} == {mine.id}
            assert {event["event"] for event in seen if "event" in event} >= {"job-submitted", "job-ended"}
            with pytest.raises(Exception, match=r"blue|depends_on"):
                await red.submit({"command": ["true"], "depends_on": [job.id]})

    asyncio.run(scenario())


async def _until(events: Any, job: str) -> Any:
    async for event in events:
        yield event
        if event.get("event") == "job-ended" and event["job"] == job:
            return


def test_keys_can_be_made_and_revoked_and_never_lock_everybody_out(server: Live) -> None:
    with httpx.Client(base_url=server.url) as http:
        first = http.post("/v1/keys", json={"name": "clerk", "roles": ["submit"]})
        assert (first.status_code, first.json()["code"]) == (409, "conflict")
        admin = http.post("/v1/keys", json={"name": "me", "roles": ["admin"]}).json()
        assert http.get("/v1/jobs").status_code == 401
        http.headers["authorization"] = f"Bearer {admin['secret']}"
        bound = http.post("/v1/keys", json={"name": "x", "roles": ["approve"], "tenant": "red"})
        assert (bound.status_code, bound.json()["code"]) == (422, "invalid")
        clerk = http.post("/v1/keys", json={"name": "clerk", "roles": ["submit"], "tenant": "red"}).json()
        listed = http.get("/v1/keys").json()
        assert {key["id"]: key["secret"] for key in listed} == {admin["id"]: None, clerk["id"]: None}
        assert http.delete(f"/v1/keys/{admin['id']}").status_code == 409
        assert http.delete(f"/v1/keys/{clerk['id']}").status_code == 200
        gone = http.get("/v1/jobs", headers={"authorization": f"Bearer {clerk['secret']}"})
        assert gone.status_code == 401
        assert http.delete(f"/v1/keys/{clerk['id']}").status_code == 404
    ledger = (server.folder / "ledger.db").read_bytes()
    assert admin["secret"].encode() not in ledger, "secrets are hashed at rest"


def test_approve_lowers_the_mode_and_only_admin_raises_it(server: Live) -> None:
    admin, approver = server.key(Role.admin), server.key(Role.approve)
    server.command(cmd.SetMode(mode=Mode.guarded, by="test"))
    with httpx.Client(base_url=server.url) as http:
        http.headers["authorization"] = f"Bearer {approver}"
        assert http.post("/v1/supervisor/mode", json={"mode": "paused", "reason": "smoke"}).json()["mode"] == "paused"
        assert http.post("/v1/supervisor/mode", json={"mode": "observe"}).status_code == 403
        http.headers["authorization"] = f"Bearer {admin}"
        raised = http.post("/v1/supervisor/mode", json={"mode": "guarded"}).json()
        assert (raised["mode"], raised["by"]) == ("guarded", "admin-all")


def test_events_do_not_carry_the_digests_of_keys(server: Live) -> None:
    server.key(Role.admin, name="first")
    viewer = server.key(Role.view, name="watcher")

    async def scenario() -> None:
        async with server.client(viewer) as client:
            async for event in client.events(0):
                if event.get("event") == "key-added" and event["key"]["id"] == "watcher":
                    assert event["key"]["sha256"] == ""
                    return

    asyncio.run(scenario())


def test_answers_of_people_are_theirs_by_name(server: Live) -> None:
    server.key(Role.admin)
    approver = server.key(Role.approve, name="alice")
    server.command(cmd.SetMode(mode=Mode.approve, by="test"))

    async def propose() -> list[str]:
        observation = await server.port.observe()
        drafts = tuple(Draft(action={"kind": "scale", "pool": "cpu", "workers": count}) for count in (3,))
        return [
            one.id for one in await server.port.hand_in(observation.cycle, BrainReport(brain="rule", drafts=drafts))
        ]

    (name,) = server.ask(propose)

    async def scenario() -> None:
        async with server.client(approver) as client:
            stale = await client.answer_batch(
                [
                    {"id": name, "answer": "approve", "proposal_hash": "0" * 64},
                    {"id": "prop-999999", "answer": "reject"},
                    {"id": name, "answer": "reject", "reason": "not today"},
                ]
            )
            assert [one["status"] for one in stale] == [409, 404, 200]
            assert stale[0]["problem"]["code"] == "changed"
            found = await client.approval(name)
            assert found.answer is not None
            assert (found.state, found.answer.by, found.answer.reason) == ("rejected", "alice", "not today")

    asyncio.run(scenario())
