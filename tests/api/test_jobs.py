"""Submitting, looking, changing, cancelling: over a real socket, against real processes."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from agentorch.client import Client
from agentorch.errors import ServerRefused
from agentorch.schemas.documents import JobDocument
from tests.api.live import Live


async def ended(client: Client, job_id: str, after: int = 0) -> JobDocument:
    """Follow the ledger until the job has ended."""
    async for event in client.events(after):
        if event.get("event") == "job-ended" and event["job"] == job_id:
            break
    return await client.job(job_id)


def test_a_job_runs_and_tells_everything_of_itself(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit(
                {"command": "echo out; echo err >&2; exit 3", "name": "say", "labels": {"a": "b"}}
            )
            assert (job.state, job.tenant, job.tier) == ("queued", "default", "standard")
            found = await ended(client, job.id)
            assert (found.state, found.exit_code, found.cause, found.attempt) == ("failed", 3, "error", 1)
            assert found.attempts[0].worker.startswith("cpu-")
            assert found.spec is not None
            assert found.spec["command"] == ["sh", "-c", "echo out; echo err >&2; exit 3"]
            assert await client.logs(job.id) == ("out\n", 4)
            assert await client.logs(job.id, attempt=1, stream="stderr") == ("err\n", 4)
            assert await client.logs(job.id, offset=4) == ("", 4)
            names = [event["event"] for event in await client.job_events(job.id)]
            assert names == ["job-submitted", "job-started", "attempt-running", "attempt-ended", "job-ended"]

    asyncio.run(scenario())


def test_location_and_status_of_a_submit(server: Live) -> None:
    answer = httpx.post(f"{server.url}/v1/jobs", json={"command": ["true"]})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert httpx.get(server.url + answer.headers["location"]).json()["command"] == ["true"]


def test_fifty_at_once_with_one_key_make_one_job(server: Live) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            body = {"command": ["true"], "name": "once"}
            headers = {"Idempotency-Key": "deploy 7"}
            answers = await asyncio.gather(*(http.post("/v1/jobs", json=body, headers=headers) for _ in range(50)))
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses == [200] * 49 + [201]
            assert len({answer.json()["id"] for answer in answers}) == 1
            reordered = b'{ "name": "once",\n "command": ["true"] }'
            same = await http.post(
                "/v1/jobs", content=reordered, headers={**headers, "content-type": "application/json"}
            )
            assert same.status_code == 200
            other = await http.post("/v1/jobs", json={**body, "priority": 60}, headers=headers)
            assert other.status_code == 422
            assert other.json()["code"] == "idempotency_mismatch"
            assert (await http.get("/v1/jobs")).json()["total"] == 1

    asyncio.run(scenario())


def test_the_same_idempotency_key_of_another_tenant_is_another_job(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            red = await client.submit({"command": ["true"], "tenant": "red"}, "k")
            blue = await client.submit({"command": ["true"], "tenant": "blue"}, "k")
            assert red.id != blue.id

    asyncio.run(scenario())


def test_a_batch_is_accepted_item_by_item_and_refused_whole_for_a_mistake(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            done = await client.submit_batch([{"command": ["true"]}, {"command": ["true"], "tenant": "nobody"}], "b")
            assert (done.created, done.refused) == (1, 1)
            assert done.items[1].problem is not None
            assert done.items[1].problem["code"] == "invalid"
            again = await client.submit_batch([{"command": ["true"]}, {"command": ["true"], "tenant": "red"}], "b")
            assert [item.status for item in again.items] == [200, 201]
            assert again.items[0].id == done.items[0].id
            with pytest.raises(ServerRefused) as refused:
                await client.submit_batch([{"command": ["true"]}, {"command": []}])
            assert refused.value.code == "invalid"
            assert "jobs.1.command" in refused.value.message
            assert (await client.jobs()).total == 2

    asyncio.run(scenario())


def test_cancelling_says_what_really_happened(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client, httpx.AsyncClient(base_url=server.url) as http:
            waiting = await client.submit({"command": ["true"], "start_at": "+1h"})
            answer = await http.delete(f"/v1/jobs/{waiting.id}")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
            job = await client.submit({"command": "trap '' TERM; sleep 600 & wait", "checkpoint": {"grace": "200ms"}})
            async for event in client.events(0):
                if event.get("event") == "attempt-running" and event["job"] == job.id:
                    break
            answer = await http.delete(f"/v1/jobs/{job.id}")
            assert (answer.status_code, answer.json()["state"]) == (202, "stopping")
            found = await ended(client, job.id)
            assert (found.state, found.attempts[0].cause) == ("cancelled", "cancelled")
            with pytest.raises(ServerRefused) as refused:
                done = await client.submit({"command": ["true"]})
                await ended(client, done.id)
                await client.cancel(done.id)
            assert (refused.value.status, refused.value.code) == (409, "conflict")

    asyncio.run(scenario())


def test_the_owner_reschedules_its_own_work(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit({"command": ["true"], "start_at": "+1h", "pool": ["cpu"]})
            patched = await client.patch_job(job.id, priority=70, deadline="+2h", hold=True, reason="lunch")
            assert (patched.priority, patched.state) == (70, "held")
            assert patched.reason is not None
            assert "lunch" in patched.reason.text
            assert patched.deadline_at is not None
            with pytest.raises(ServerRefused) as refused:
                await client.patch_job(job.id, pool="dear")
            assert (refused.value.code, refused.value.detail["rule"]) == ("guardrail", "G9")
            released = await client.patch_job(job.id, hold=False)
            assert released.reason is not None
            assert released.reason.code == "start_time"

    asyncio.run(scenario())


def test_explain_prints_every_predicate_of_every_pool(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit({"command": ["true"], "resources": {"gpu": "H100:2", "cpus": 64}})
            found = await client.explain(job.id)
            assert found.reason is not None
            assert found.reason.code == "infeasible"
            assert {pool.pool for pool in found.pools} == {"cpu", "dear"}
            assert all(not pool.ok for pool in found.pools)
            assert "H100" in found.pools[0].predicates[1].text

    asyncio.run(scenario())


def test_a_plan_is_priced_and_a_moved_world_is_refused(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            body = {
                "command": ["true"],
                "pool_labels": {"disk": "fast"},
                "resources": {"cpus": 4},
                "max_duration": "2h",
            }
            offered = await client.plan(body)
            assert offered.feasible
            best = offered.offers[0]
            assert (best.pool, best.price_usd_per_hour, best.max_cost_usd, best.free_now) == ("dear", 1.0, 2.0, False)
            assert (await client.jobs()).total == 0
            await client.submit({"command": ["true"]}, judged_seq=offered.seq)
            with pytest.raises(ServerRefused) as refused:
                await client.submit(body, judged_seq=offered.seq)
            assert (refused.value.status, refused.value.code) == (412, "precondition_failed")
            nowhere = await client.plan({"command": ["true"], "resources": {"cpus": 4096}})
            assert not nowhere.feasible

    asyncio.run(scenario())


def test_what_is_to_be_expected_is_learned_and_said(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            body = {"command": ["true"], "name": "quick"}
            first = await client.plan(body)
            assert (first.start_p50_s, first.end_p50_s, first.duration_p50_s) == (0.0, None, None)
            assert "run time: no run like it known" in first.forecast_text
            for _ in range(9):
                await ended(client, (await client.submit(body)).id)
            learned = await client.plan(body)
            assert learned.duration_p90_s is not None
            assert learned.duration_p90_s >= (learned.duration_p50_s or 0) >= 0
            assert learned.end_p50_s is not None
            assert "run time: from 9 runs of quick of default, 1 cpu" in learned.forecast_text
            held = await client.submit(body | {"start_at": "+1h"})
            waiting, why = await client.job(held.id), await client.explain(held.id)
            assert waiting.predicted_start_p50_s == pytest.approx(3600, abs=60)
            assert waiting.predicted_duration_p50_s == learned.duration_p50_s
            assert why.start_p50_s == pytest.approx(3600, abs=60)
            running = await client.submit({"command": ["sleep", "600"], "name": "slow", "max_duration": "700s"})
            async for event in client.events(0):
                if event.get("event") == "attempt-running" and event["job"] == running.id:
                    break
            runs = await client.job(running.id)
            assert runs.predicted_start_p50_s is None
            assert runs.predicted_end_p90_s is not None
            assert 0 <= runs.predicted_end_p90_s <= 700
            assert runs.predicted_text.startswith("run time: ")

    asyncio.run(scenario())


def test_a_job_speaks_for_itself_with_its_token_and_for_nothing_else(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit({"command": ["sleep", "600"]})
            other = await client.submit({"command": ["sleep", "600"]})
            async for event in client.events(0):
                if event.get("event") == "attempt-running" and event["job"] == job.id:
                    break
            async with server.client(server.token(job.id)) as own:
                found = await own.progress(job.id, percent=40, message="half way", checkpoint=True)
                assert (found.progress_percent, found.progress_message) == (40, "half way")
                assert found.checkpoint_at is not None
                assert (await own.patch_job(job.id, priority=10)).priority == 10
                for call in (own.job(other.id), own.progress(other.id, percent=1), own.job("job-999999")):
                    with pytest.raises(ServerRefused) as refused:
                        await call
                    assert refused.value.status == 404
                for call in (own.cancel(job.id), own.jobs(), own.submit({"command": ["true"]}), own.snapshot()):
                    with pytest.raises(ServerRefused) as refused:
                        await call
                    assert refused.value.status == 403
            async with server.client(server.token(job.id)[:-1] + "0") as forger:
                with pytest.raises(ServerRefused) as refused:
                    await forger.job(other.id)
                assert refused.value.status in (401, 404)
            await client.cancel(job.id)
            await client.cancel(other.id)

    asyncio.run(scenario())
