"""What the client says when the other side is gone, silent, or somebody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from agentorch.client import Client
from agentorch.client.transport import refusal
from agentorch.errors import ServerRefused, ServerUnreachable
from tests.api.live import Live

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@contextlib.asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A socket on loopback that reads a request's head and then does as it is told."""

    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*(task for task in serving if task is not None))


def saying(data: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


def response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def test_nobody_there() -> None:
    async def scenario() -> None:
        async with Client("http://127.0.0.1:9") as client:
            with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:9"):
                await client.jobs()
            with pytest.raises(ServerUnreachable):
                await anext(client.events(None))
        async with Client("not a url") as client:
            with pytest.raises(ServerUnreachable):
                await client.jobs()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (response("502 Bad Gateway", "text/html", b"<h1>proxy</h1>"), ServerRefused),
        (response("200 OK", "text/html", b"<h1>welcome</h1>"), ServerRefused),
        (response("200 OK", "application/json", b'{"items": 3}'), ServerRefused),
        (response("302 Found", "text/html", b""), ServerRefused),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", ServerUnreachable),
        (b"SSH-2.0-OpenSSH\r\n", ServerUnreachable),
        (b"", ServerUnreachable),
    ],
)
def test_somebody_else_answers(data: bytes, error: type[Exception]) -> None:
    async def scenario() -> None:
        async with answering(saying(data)) as url, Client(url) as client:
            with pytest.raises(error):
                await client.jobs()
            with pytest.raises((ServerRefused, ServerUnreachable)):
                async for _ in client.events(None):
                    pass

    asyncio.run(scenario())


def test_a_stream_that_breaks_off_is_unreachable_after_what_it_said() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def scenario() -> None:
        async with answering(saying(head + b'id: 7\ndata: {"event": "x"}\n\nid: 8\ndata: {"ev')) as url:
            seen = []
            async with Client(url) as client:
                with pytest.raises(ServerUnreachable):
                    async for event in client.events(6):
                        seen.append(event)
            assert seen == [{"seq": 7, "event": "x"}]

    asyncio.run(scenario())


def test_a_silent_stream_is_unreachable_and_not_waited_for_for_ever() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        await writer.drain()
        await reader.read()  # until the client has had enough

    async def scenario() -> None:
        async with answering(silence) as url, Client(url, stream_silence_s=0.2) as client:
            with pytest.raises(ServerUnreachable, match="broke"):
                await anext(client.events(None))

    asyncio.run(scenario())


def test_a_problem_document_becomes_an_error_with_everything_in_it() -> None:
    body = {
        "type": "about:blank",
        "title": "Too many",
        "status": 429,
        "detail": "later",
        "code": "overloaded",
        "retry_after": 2.5,
        "queue": 7,
        "status_code": 1,
    }
    error = refusal(httpx.Response(429, json=body))
    assert (error.status, error.code, error.message, error.retry_after_s) == (429, "overloaded", "later", 2.5)
    assert error.detail["queue"] == 7
    assert refusal(httpx.Response(500, json=[1])).code == "not_agentorch"


def test_names_are_one_segment_of_a_path(shared: Live) -> None:
    async def scenario() -> None:
        async with shared.client() as client:
            for name in ("../keys", "a/b", "a?b=c", "ü ", "%2e%2e"):
                with pytest.raises(ServerRefused) as refused:
                    await client.job(name)
                assert refused.value.code == "not_found", name

    asyncio.run(scenario())


def test_every_call_reads_what_a_real_server_says(shared: Live) -> None:
    async def scenario() -> None:
        async with shared.client() as client:
            job = await client.submit({"command": ["true"], "start_at": "+1h"})
            snapshot = await client.snapshot()
            assert snapshot.seq >= 1
            assert snapshot.queued == 1
            assert snapshot.key_roles == ["submit", "view", "approve", "admin"]
            assert {pool.name for pool in snapshot.pools} == {"cpu", "dear"}
            assert [one.id for one in snapshot.recent_jobs] == [job.id]
            assert any(line.verb == "started" for line in snapshot.log)
            assert {pool.name for pool in await client.pools()} == {"cpu", "dear"}
            assert len(await client.workers()) == 2
            assert (await client.devices())[0].age_s is not None
            assert {tenant.name for tenant in await client.tenants()} == {"default", "red", "blue"}
            assert {one.tenant: one.hard_cap_usd for one in await client.budgets()}["blue"] == 5.0
            assert (await client.patch_pool("cpu", paused=True, reason="x")).paused
            assert not (await client.patch_pool("cpu", paused=False)).paused
            assert (await client.cordon("cpu-0", True, reason="noisy")).cordon_reason == "noisy"
            assert (await client.set_budget("green", weight=50)).weight == 50
            assert await client.approvals() == []
            assert (await client.decisions()).total == 0
            assert (await client.mode()).mode == "guarded"
            assert (await client.set_mode("observe", reason="look")).reason == "look"
            assert await client.keys() == []
            proof = await client.verify()
            assert proof.ok
            assert proof.last_seq >= snapshot.seq
            for call in (client.snapshot(at=1), client.decision(1), client.approval("prop-1")):
                with pytest.raises(ServerRefused):
                    await call

    asyncio.run(scenario())
