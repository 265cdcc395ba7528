"""Documents built from states: recordings looked back at, decisions, timelines, pages, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentorch.api.access import READER
from agentorch.api.app import create_app
from agentorch.api.paging import JobFilter, job_filter, job_page
from agentorch.api.views import log
from agentorch.client import Client
from agentorch.config import ServerSettings
from agentorch.core.evolve import evolve
from agentorch.core.state import State
from agentorch.errors import Refused, RuntimeStopped, ServerRefused
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.fleet import TenantSpec
from agentorch.model.jobs import JobSpec, JobState
from agentorch.model.proposals import BrainReport, Draft, Mode
from agentorch.runtime.recording import Recording
from tests.api.live import SECRET, Live, Uvicorn


@contextlib.asynccontextmanager
async def serving(source: Any, folder: Path) -> AsyncIterator[Client]:
    """Any source over a real socket."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = create_app(source, secret=SECRET, settings=ServerSettings("127.0.0.1", 0, folder, ()))
    async with Uvicorn.serving(app, listener), Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        yield client


def test_a_recording_is_looked_at_as_of_any_moment_and_never_changed(tmp_path: Path) -> None:
    async def live(server: Live) -> str:
        async with server.client() as client:
            await client.submit({"command": ["true"], "start_at": "+1h", "name": "first"})
            await client.set_mode("observe", reason="look")
            await client.submit({"command": ["true"], "start_at": "+1h", "name": "second"})
            return server.runtime.head_hash

    with Live(tmp_path) as server:
        asyncio.run(live(server))

    async def look_back() -> None:
        recording = Recording(SqliteLedger(tmp_path / "ledger.db", read_only=True), "ledger.db")
        await recording.open()
        try:
            async with serving(recording, tmp_path) as client:
                now = await client.snapshot()
                assert (now.read_only, now.queued, now.mode.mode) == (True, 2, "observe")
                assert now.key_roles == ["view"]
                changed = next(line.seq for line in now.log if line.verb == "mode" and "look" in line.text)
                before = await client.snapshot(at=changed - 1)
                assert (before.seq, before.last_seq) == (changed - 1, now.last_seq)
                assert (before.queued, before.mode.mode) == (1, "guarded")
                assert all(line.seq < changed for line in before.log)
                assert (await client.snapshot(at=0)).submitted_total == 0
                with pytest.raises(ServerRefused) as refused:
                    await client.snapshot(at=now.last_seq + 1)
                assert refused.value.code == "invalid"
                for call in (
                    client.submit({"command": ["true"]}),
                    client.set_mode("paused"),
                    client.cancel("job-000001"),
                ):
                    with pytest.raises(ServerRefused) as refused:
                        await call
                    assert refused.value.code == "forbidden"
                async with contextlib.aclosing(client.events(0)) as events:
                    seen = [event["seq"] async for event in _first(events, now.last_seq)]
                assert seen == list(range(1, now.last_seq + 1))
                assert (await client.verify()).ok
        finally:
            await recording.close()

    asyncio.run(look_back())


async def _first(events: Any, upto: int) -> Any:
    async for event in events:
        if "seq" in event:
            yield event
            if event["seq"] >= upto:
                return


def test_decisions_and_approvals_are_shown_whole(server: Live) -> None:
    async def propose() -> None:
        for reason, workers in (("busy", 3), ("busier", 4)):
            observation = await server.port.observe()
            drafts = (
                Draft(action={"kind": "scale", "pool": "cpu", "workers": workers}, reason=reason, evidence=("q=9",)),
                Draft(action={"kind": "dance"}),
            )
            await server.port.hand_in(observation.cycle, BrainReport(brain="rule", drafts=drafts))
        observation = await server.port.observe()
        await server.port.hand_in(observation.cycle, BrainReport(brain="rule", hold="nothing to do"))

    server.command(cmd.SetMode(mode=Mode.approve, by="test"))
    server.ask(propose)

    async def scenario() -> None:
        async with server.client() as client:
            page = await client.decisions(limit=2)
            assert ([one.cycle for one in page.items], page.next, page.total) == ([3, 2], "2", 3)
            assert page.items[0].hold == "nothing to do"
            rest = await client.decisions(cursor=page.next or "")
            assert [one.cycle for one in rest.items] == [1]
            assert rest.items[0].observation is None
            whole = await client.decision(2)
            assert whole.observation is not None
            assert whole.observation["cycle"] == 2
            asked, malformed = whole.proposals
            assert (asked.state, asked.kind, asked.target, asked.reason) == ("open", "scale", "pool:cpu", "busier")
            assert asked.edit_fields["workers"]["type"] == "integer"
            assert asked.command == f"agentorch approve {asked.id}"
            assert (malformed.state, malformed.kind, malformed.action) == ("denied", "malformed", None)
            shown = await client.snapshot()
            assert [one.id for one in shown.approvals] == [asked.id]
            assert "superseded" in {one.state for one in shown.decided}
            assert {"asks", "denied", "superseded", "hold"} <= {line.verb for line in shown.log}
            assert len(shown.history.at) == 3

    asyncio.run(scenario())


class Standing:
    """A source that stands still, with a state of its own."""

    read_only = False
    name = "standing"
    last_seq = 0
    head_hash = ""

    def __init__(self, state: State) -> None:
        self.state = state
        self.failure: RuntimeStopped | None = None

    def now_ms(self) -> int:
        return 1_000_000

    async def view(self, at: int | None = None) -> State:
        return self.state

    async def settled(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def follow(self, after: int) -> Any:
        await asyncio.Event().wait()
        yield []

    def devices(self) -> tuple[()]:
        return ()


def crowd(count: int) -> State:
    """A state with so many queued jobs, every seventh of them red."""
    state = State()
    for name in ("red", "blue"):
        evolve(state, ev.TenantConfigured(at_ms=1, spec=TenantSpec(name=name)))
    spec = JobSpec(command=("true",), labels={"team": "x"})
    for number in range(1, count + 1):
        tenant = "red" if number % 7 == 0 else "blue"
        event = ev.JobSubmitted(at_ms=number, job=f"job-{number:06d}", number=number, tenant=tenant, spec=spec, by="t")
        evolve(state, event)
    return state


def test_pages_walk_through_everything_once_newest_first() -> None:
    source: Any = Standing(crowd(12_345))

    async def walk(wanted: JobFilter, limit: int) -> tuple[list[str], int]:
        found: list[str] = []
        cursor: str | None = ""
        total = 0
        while cursor is not None:
            page = await job_page(source, wanted, cursor, limit)
            found += [job.id for job in page.items]
            cursor, total = page.next, page.total
        return found, total

    async def scenario() -> None:
        everything, total = await walk(JobFilter(), 1_000)
        assert total == len(everything) == 12_345
        assert everything == sorted(everything, reverse=True)
        red, total = await walk(JobFilter(tenant="red"), 700)
        assert total == len(red) == 12_345 // 7
        assert len(set(red)) == len(red)
        for wanted, count in (
            (JobFilter(q="job-000012"), 1),
            (JobFilter(label=("team", "x")), 12_345),
            (JobFilter(label=("team", "y")), 0),
            (JobFilter(states=frozenset({JobState.running})), 0),
            (JobFilter(states=frozenset({JobState.queued}), tenant="red"), 12_345 // 7),
        ):
            assert (await job_page(source, wanted, "", 10)).total == count
        with pytest.raises(Refused):
            await job_page(source, JobFilter(), "x", 10)

    asyncio.run(scenario())


def test_filters_in_words() -> None:
    found = job_filter(READER, state="live,failed", tenant="", pool="", label="a=b", q="Train")
    assert JobState.failed in found.states
    assert JobState.held in found.states
    assert JobState.succeeded not in found.states
    assert (found.label, found.q) == (("a", "b"), "train")
    with pytest.raises(Refused, match="asleep"):
        job_filter(READER, state="asleep", tenant="", pool="", label="", q="")


def test_a_runtime_that_has_stopped_answers_503_and_is_still_alive(tmp_path: Path) -> None:
    source: Any = Standing(crowd(3))

    async def scenario() -> None:
        async with serving(source, tmp_path) as client:
            assert (await client.jobs()).total == 3
            source.failure = RuntimeStopped("the runtime has stopped: a commit failed")
            for call in (client.jobs(), client.job("job-000001"), client.submit({"command": []})):
                with pytest.raises(ServerRefused) as refused:
                    await call
                assert (refused.value.status, refused.value.code) == (503, "unavailable")
                assert refused.value.retry_after_s == 5
            await client.alive()

    asyncio.run(scenario())


def test_metrics_can_be_parsed_and_are_true(server: Live) -> None:
    for _ in range(3):
        httpx.post(f"{server.url}/v1/jobs", json={"command": ["true"], "start_at": "+1h", "tier": "flex"})
    httpx.post(f"{server.url}/v1/jobs", json={"command": ["true"], "pool": "dear", "tier": "batch"})
    answer = httpx.get(f"{server.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["agentorch_jobs_queued",] == 4
    assert samples["agentorch_jobs_in_line", "batch"] == 1
    assert samples["agentorch_jobs_submitted_total",] == 4
    assert samples["agentorch_pool_workers", "cpu"] == 2
    assert samples["agentorch_supervisor_mode", "guarded"] == 1
    assert samples["agentorch_spent_usd_total", "red"] == 0
    assert samples["agentorch_ledger_sequence",] == server.runtime.last_seq


def test_a_timeline_is_read_on_from_where_it_was(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            job = await client.submit({"command": ["true"], "start_at": "+1h"})
            assert [one["text"] for one in await client.job_events(job.id)] == ["submitted by local"]
            await client.patch_job(job.id, priority=3)
            await client.patch_job(job.id, hold=True, reason="lunch")
            await client.cancel(job.id)
            texts = [one["text"] for one in await client.job_events(job.id)]
            assert texts == ["submitted by local", "priority 3 changed by local", "held by local: lunch", "cancelled"]

    asyncio.run(scenario())


def test_every_event_has_words_and_only_some_become_lines() -> None:
    about_jobs = {ev.JobSubmitted, ev.JobStarted, ev.AttemptEnded, ev.JobProgressed, ev.ReservationExtended}
    assert not about_jobs & log._SHOWN
    assert log.actor_of("supervisor") == "agent"
    assert log.actor_of("config") == "system"
    assert log.actor_of("key-12ab") == "human"
    line = log.log_line(7, ev.ModeChanged(at_ms=1, mode=Mode.paused, by="alice", reason="smoke"), str)
    assert line is not None
    assert (line.seq, line.actor, line.text) == (7, "human", "paused, by alice: smoke")
    assert log.log_line(8, ev.JobHeld(at_ms=1, job="job-000001", by="x"), str) is None
