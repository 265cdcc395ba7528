"""A recorded brain decides again, with its server gone: the same report, byte for byte."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from agentorch.errors import Refused
from agentorch.graphs.llm.cassette import replayed
from agentorch.graphs.llm.tape import requests_of
from agentorch.model.brain import BrainContext
from agentorch.model.proposals import BrainReport, Draft, Exchange, Verdict
from agentorch.model.twin import Outlook
from agentorch.tools.reports import checked_report
from tests.graphs.port import MemoryPort
from tests.llm.asking import context, settings
from tests.llm.server import DONE, HOLDS, Answer, Server, answering, call, proposals, says

SCALE = {"kind": "scale", "pool": "ask-gpu", "workers": 4}
SCRIPTS: dict[str, tuple[Answer, ...]] = {
    "reads, previews, proposes": (
        says(call("read_observation", {"section": "pools"}), call("preview", {"actions": [SCALE]}, "b")),
        says(call("foresee", {"actions": [SCALE]})),
        says(*proposals(3, 4)),
        DONE,
    ),
    "holds": (HOLDS,),
    "corrected": (says(call("propose_scale", "no JSON")), says(*proposals(3)), DONE),
    "HTML": (Answer(b"<html>", content_type="text/html"),),
    "no text": (Answer(b"\xff\xfe"),),
    "500": (Answer(b"boom", status=500),),
    "cut": (Answer(b"{", cut=True),),
    "hangs": (says(call("read_observation", {"section": "pools"})), Answer(hang=True)),
    "words": (DONE,),
    "too long": (Answer(b" " * 1_000_000),),
}


def gone(timeout_s: float = 0.0) -> BrainContext:
    """A world that answers nothing any more."""

    async def preview(drafts: tuple[Draft, ...]) -> list[Verdict]:
        raise Refused("unreachable", "there is no state any more")

    async def foresee(drafts: tuple[Draft, ...]) -> Outlook:
        raise Refused("unreachable", "there is no state any more")

    return BrainContext(preview=preview, foresee=foresee, timeout_s=timeout_s)


async def recorded(*answers: Answer, timeout_s: float = 20.0, **fields: Any) -> tuple[MemoryPort, BrainReport, Server]:
    """As the ledger gives it back."""
    from agentorch.graphs.llm.brain import llm_brain

    port = MemoryPort()
    async with answering(*answers) as server:
        report = await llm_brain(settings(server, **fields)).decide(await port.observe(), context(port, timeout_s))
    checked = checked_report(report, report.brain)
    return port, msgspec.json.decode(msgspec.json.encode(checked), type=BrainReport), server


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_same_report_comes_out_again(name: str) -> None:
    async def scenario() -> None:
        _, report, _ = await recorded(*SCRIPTS[name], timeout_s=0.4 if name == "hangs" else 20.0)
        brain = replayed(report)
        seen = await MemoryPort().observe()
        again = await brain.decide(seen, gone())
        assert msgspec.json.encode(again) == msgspec.json.encode(report)
        assert (brain.differs, brain.id) == (0, report.brain)

    asyncio.run(scenario())


def test_what_repeats_is_kept_once_and_nothing_is_lost() -> None:
    async def scenario() -> None:
        _, report, server = await recorded(*SCRIPTS["reads, previews, proposes"])
        assert [json.loads(one) for one in requests_of(report.exchanges)] == [body for _, body in server.heard]
        sizes = [len(one.request) for one in report.exchanges]
        assert all(size < sizes[0] / 5 for size in sizes[1:])
        first = report.exchanges[0]
        assert json.loads(first.parameters)["model"] == "scripted"
        assert "langchain-openai" in first.libraries
        assert len(first.tools_sha256) == 64
        assert (first.status, first.tokens_in, first.tokens_out) == (200, 100, 20)

    asyncio.run(scenario())


def test_another_observation_is_told_apart() -> None:
    async def scenario() -> None:
        port, report, _ = await recorded(*SCRIPTS["holds"])
        brain = replayed(report)
        again = await brain.decide(await port.observe(), gone())
        assert again.hold == report.hold, "the answers are what was recorded"
        assert brain.differs == 1, "and it was not asked what was recorded"

    asyncio.run(scenario())


def test_a_report_without_exchanges_is_itself() -> None:
    async def scenario() -> None:
        report = BrainReport(brain="openai:m", error="out of budget: all of it")
        again = await replayed(report).decide(await MemoryPort().observe(), gone())
        assert again == report

    asyncio.run(scenario())


def test_exchanges_of_somebody_else_are_refused() -> None:
    for damaged in (
        Exchange(model="m", request="{}", response="{}"),
        Exchange(model="m", request="not JSON", response="{}", parameters='{"model": "m"}'),
        Exchange(model="m", request="", response="{}", same_start=5, parameters='{"model": "m"}'),
    ):
        with pytest.raises(ValueError, match=r"."):
            replayed(BrainReport(brain="x", exchanges=(damaged,)))
