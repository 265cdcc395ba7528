"""No answer leaves before what it was built from is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from agentorch.api.app import create_app
from agentorch.config import load
from agentorch.runtime.runtime import Runtime
from tests.runtime.stage import Stage, submit


@asynccontextmanager
async def client_of(runtime: Runtime, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = load(environ={}, cwd=folder).server
    app = create_app(runtime, secret=b"s" * 32, settings=settings)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7070") as client:
        try:
            yield client
        finally:
            await app.aclose()


def test_a_read_waits_for_the_commit_of_what_it_shows(tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime, client_of(runtime, tmp_path) as client:
            assert (await client.get("/v1/jobs")).json()["total"] == 0
            stage.ledger.gate.clear()
            submitting = asyncio.create_task(submit(runtime))
            await stage.ledger.waiting.wait()
            reading = asyncio.create_task(client.get("/v1/jobs"))
            alive = await client.get("/healthz")
            assert alive.status_code == 200
            assert not reading.done()
            stage.ledger.gate.set()
            assert (await reading).json()["total"] == 1
            await submitting

    asyncio.run(scenario())


def test_a_read_of_a_failed_runtime_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        async with client_of(runtime, tmp_path) as client:
            assert (await client.get("/v1/jobs")).status_code == 200
            stage.ledger.fail_next_commit()
            submitting = await asyncio.gather(submit(runtime), return_exceptions=True)
            assert isinstance(submitting[0], Exception)
            answer = await client.get("/v1/jobs")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        await runtime.close()

    asyncio.run(scenario())
