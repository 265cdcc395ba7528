"""The real server asks a model: what it proposes is judged, asked and done as anybody's, and is in the ledger whole."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_openai", reason="not installed: pip install 'agentorch[llm]'")

from agentorch.graphs.llm.cassette import replayed
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import events as ev
from agentorch.runtime.recording import Recording
from tests.llm.server import Answer, Server, answering, call, says
from tests.llm.test_cassette import gone
from tests.system.server import ASKING, SMALL, eventually, running

KEY = "sk-system-test-0123456789"


def supervise(request: dict[str, Any]) -> Answer:
    """A model with one idea: a pool with a queue gets a worker more."""
    told = json.loads(request["messages"][1]["content"])
    (pool,) = told["pools"]
    if len(request["messages"]) > 2:
        return says(content="that is all")
    if not pool.get("queued") or pool["workers"] > 1 or told.get("open_targets"):
        return says(call("hold", {"reason": "nobody waits"}))
    reason = f"{pool['queued']} jobs wait"
    return says(call("propose_scale", {"pool": pool["name"], "workers": pool["workers"] + 1, "reason": reason}))


@contextmanager
def model() -> Iterator[Server]:
    """The scripted model in a thread of its own."""
    up, ended = threading.Event(), threading.Event()
    found: list[Server] = []

    async def serve() -> None:
        async with answering(supervise) as server:
            found.append(server)
            up.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="model")
    thread.start()
    up.wait()
    try:
        yield found[0]
    finally:
        ended.set()
        thread.join()


def test_a_model_supervises_and_its_ledger_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", KEY)
    with model() as scripted:
        table = f'[supervisor.llm]\nmodel = "scripted"\nbase_url = "{scripted.url}"\napi_key_env = "MODEL_KEY"\n'
        config = ASKING.replace("[supervisor]", '[supervisor]\nbrain = "openai"') + table
        with running(tmp_path, config) as server:
            for _ in range(3):
                server.submit("sleep 300", resources=SMALL)
            asked = server.open_approval()
            assert (asked["brain"], asked["title"]) == ("openai:scripted", "Grow small from 1 to 2 workers")
            server.answer(asked, "approve")
            eventually(lambda: server.get("/v1/pools")[0]["workers"] == 2, "the pool has grown")
            server.cancel_all()
            server.stop()
            other = server.command(
                "replay", str(server.data), "--brain", f"openai:scripted@{scripted.url}", "--no-day", "-o", "json"
            )
            assert json.loads(other.stdout)["different"] == 0, "the same model decides alike"
    assert scripted.heard[0][0]["authorization"] == f"bearer {KEY}"
    assert KEY not in (tmp_path / "server.log").read_text()
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    asyncio.run(comes_out_again(server.data / "ledger.db"))
    told = json.loads(server.command("replay", str(server.data), "--verify", "-o", "json").stdout)
    assert told["same"]
    assert told["talks"]["talks_same"] == told["talks"]["talks_held_again"] > 0


async def comes_out_again(file: Path) -> None:
    """Every report of the ledger, from the ledger alone."""
    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    try:
        seen = {e.observation.cycle: e.observation for e in recording.events if isinstance(e, ev.CycleObserved)}
        decided = [event for event in recording.events if isinstance(event, ev.CycleDecided)]
    finally:
        await recording.close()
    assert any(event.report.drafts for event in decided)
    for event in decided:
        assert KEY not in str(event.report)
        brain = replayed(event.report)
        again = await brain.decide(seen[event.cycle], gone())
        assert (again.drafts, again.hold, again.error) == (event.report.drafts, event.report.hold, event.report.error)
        assert (brain.differs, again.exchanges) == (0, event.report.exchanges)
