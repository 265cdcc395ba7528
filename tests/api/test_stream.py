"""The event stream: no gap and no repetition, whoever follows and from wherever; logs while they are written."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentorch.api.access import Caller, KeyRing
from agentorch.api.stream import ALL_JOBS, EVERYTHING, EventHub, audience_of, encode_events
from agentorch.errors import ServerRefused
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import ApiKey, Role
from tests.api.live import SECRET, Live


async def collect(events: Any, upto: int) -> list[int]:
    """Sequence numbers of a stream until `upto` has come."""
    found = []
    async for event in events:
        if "seq" in event:
            found.append(event["seq"])
            if event["seq"] >= upto:
                return found
    return found


def test_followers_from_anywhere_see_every_event_once(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            await client.submit_batch([{"command": ["true"], "start_at": "+1h"}] * 50)
            middle = server.runtime.last_seq - 20
            early = asyncio.create_task(collect(client.events(0), middle + 60))
            late = asyncio.create_task(collect(client.events(middle), middle + 60))
            for _ in range(3):
                await client.submit_batch([{"command": ["true"], "start_at": "+1h"}] * 20)
            seen_early, seen_late = await early, await late
            assert seen_early == list(range(1, seen_early[-1] + 1))
            assert seen_late == list(range(middle + 1, seen_late[-1] + 1))

    asyncio.run(scenario())


def test_a_reader_that_comes_back_misses_nothing(server: Live) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            seen: list[int] = []
            for _ in range(4):
                await http.post("/v1/jobs:batch", json={"jobs": [{"command": ["true"], "start_at": "+1h"}] * 10})
                last = {"last-event-id": str(seen[-1])} if seen else {}
                target = server.runtime.last_seq
                async with http.stream("GET", "/v1/events?after=0", headers=last) as stream:
                    async for line in stream.aiter_lines():
                        if line.startswith("id: "):
                            seen.append(int(line.removeprefix("id: ")))
                            if seen[-1] >= target:
                                break
            assert seen == list(range(1, len(seen) + 1))

    asyncio.run(scenario())


def test_the_stream_begins_with_a_heartbeat_and_repeats_it(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client, contextlib.aclosing(client.events(None)) as events:
            first = await anext(events)
            assert first["heartbeat"] is True
            assert first["last_seq"] == server.runtime.last_seq

    asyncio.run(scenario())


class Past:
    """A source that is nothing but its past: what a hub is asked when a subscriber is far behind."""

    read_only = False
    name = "past"

    def __init__(self, count: int) -> None:
        self.events: list[tuple[int, ev.Event]] = [
            (seq, ev.AlertRaised(at_ms=seq, code="c", text="t", by="test")) for seq in range(1, count + 1)
        ]
        self.grew = asyncio.Event()

    @property
    def last_seq(self) -> int:
        return len(self.events)

    async def view(self, at: int | None = None) -> Any:
        class State:
            class facts:
                jobs: dict[str, Any] = {}
                keys: dict[str, Any] = {}

        return State

    async def follow(self, after: int) -> Any:
        while True:
            while after < len(self.events):
                batch = self.events[after : after + 700]
                after = batch[-1][0]
                yield batch
                await asyncio.sleep(0)
            await self.grew.wait()
            self.grew.clear()


def test_a_subscriber_behind_the_ring_reads_the_past_until_it_is_in_it() -> None:
    async def scenario() -> None:
        source: Any = Past(limits.SSE_BACKLOG_EVENTS * 2 + 123)
        hub = EventHub(source, KeyRing(source, SECRET, loopback=True))
        hub.start()
        seen: list[int] = []
        stream = hub.stream(5, EVERYTHING)
        async for data in stream:
            seen.extend(int(line[4:]) for line in data.split(b"\n") if line.startswith(b"id: "))
            if seen and seen[-1] >= source.last_seq:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        assert seen == list(range(6, source.last_seq + 1))
        assert hub.subscribers == 0
        await hub.aclose()

    asyncio.run(scenario())


def test_audiences_see_what_is_theirs() -> None:
    about_red = ev.JobHeld(at_ms=1, job="job-000001", by="x")
    fleet = ev.PoolScaled(at_ms=1, pool="cpu", workers=2, by="x")
    key = ev.KeyAdded(at_ms=1, key=ApiKey(id="k", sha256="ab" * 32, roles=(Role.view,)), by="x")
    told = [(1, about_red, "red"), (2, fleet, None), (3, key, None)]
    assert encode_events(told, "tenant:blue") == b""
    assert encode_events(told, "tenant:red").count(b"id: ") == 1
    assert encode_events(told, ALL_JOBS).count(b"id: ") == 1
    everything = encode_events(told, EVERYTHING)
    assert everything.count(b"id: ") == 3
    assert b"abab" not in everything
    assert audience_of(Caller(by="k", roles=(Role.submit,))) == ALL_JOBS
    assert audience_of(Caller(by="k", roles=(Role.view,))) == EVERYTHING
    assert audience_of(Caller(by="k", roles=(Role.admin,), tenant="red")) == "tenant:red"


def test_logs_are_followed_over_attempts_with_whole_characters(server: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"""printf 'caf\\303'; while [ ! -e {gate} ]; do sleep 0.02; done; printf '\\251\\342\\200\\250x\\n'
        test -e {gate}2 || {{ touch {gate}2; exit 1; }}"""

    async def scenario() -> None:
        async with server.client() as client:
            retry = {"on": ["error"], "attempts": 2, "backoff": "10ms"}
            job = await client.submit({"command": ["sh", "-c", script], "retry": retry})
            text = ""
            async for part in client.follow_logs(job.id):
                text += part
                gate.touch()
            assert text == "café\u2028x\n" * 2
            found = await client.job(job.id)
            assert (found.state, found.attempt) == ("succeeded", 2)
            assert [part async for part in client.follow_logs(job.id, 1)] == ["café\u2028x\n"]
            assert (await client.logs(job.id, attempt=1))[0] == "café\u2028x\n"
            with pytest.raises(ServerRefused) as refused:
                await client.logs(job.id, attempt=9)
            assert refused.value.status == 404

    asyncio.run(scenario())


def test_following_a_job_that_waits_begins_when_it_does(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit({"command": "echo now", "start_at": "+1h"})
            assert await client.logs(job.id) == ("", 0)
            reading = asyncio.create_task(_all(client.follow_logs(job.id)))
            await client.cancel(job.id)
            assert await reading == ""

    asyncio.run(scenario())


async def _all(parts: Any) -> str:
    return "".join([part async for part in parts])


def test_streams_are_limited_and_end_with_the_server(server: Live) -> None:
    server.app.services.hub.subscribers = limits.SSE_CLIENTS_MAX
    answer = httpx.get(f"{server.url}/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    assert "retry-after" in answer.headers
    server.app.services.hub.subscribers = 0

    async def scenario() -> None:
        async with server.client() as client:
            events = client.events(None)
            await anext(events)
            server.ask(server.app.aclose)
            with pytest.raises(Exception, match="ended the event stream"):
                async for _ in events:
                    pass

    asyncio.run(scenario())
