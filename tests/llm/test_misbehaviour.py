"""What servers really do: each is recorded, nothing acts, and the loop goes on."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentorch.graphs.llm.brain import llm_brain
from agentorch.graphs.llm.replies import CALLS_MAX
from agentorch.model.limits import BRAIN_EXCHANGE_MAX_CHARS, BRAIN_FAILURES_BEFORE_FALLBACK, REASON_MAX_CHARS
from tests.graphs.port import MemoryPort
from tests.llm.asking import context, cycles, decided, settings
from tests.llm.server import DONE, HOLDS, Answer, answering, call, completion, proposals, says

GOOD = {"pool": "gpu", "workers": 3, "reason": "waits are long"}


def raw(text: str) -> Answer:
    """A proposal whose arguments are this text, beside a good one."""
    return says(call("propose_scale", text), call("propose_scale", GOOD, "call-2"))


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


#: What a server answers again and again -> what the report says of it.
NONSENSE: dict[str, tuple[Answer, str]] = {
    "arguments cut off": (raw('{"pool": "gpu", "workers": 3'), "no JSON object"),
    "arguments that are no JSON": (raw("scale it up"), "no JSON object"),
    "arguments that are a list": (raw('["gpu", 3]'), ""),
    "arguments that are a string": (raw('"gpu"'), ""),
    "arguments that are a number": (raw("7"), ""),
    "arguments deeper than anybody reads": (raw(deep(100_000)), ""),
    "an unknown tool": (says(call("rm_rf", {}), *proposals(3)), "no tool 'rm_rf'"),
    "a tool that approves": (says(call("approve", {"proposal": "p-000001"})), "no tool 'approve'"),
    "500 calls": (says(*proposals(*[3] * 500)), f"500 calls in one reply; at most {CALLS_MAX}"),
    "two calls with one id": (says(call("propose_scale", GOOD), call("propose_scale", GOOD)), "two calls have the id"),
    "a call without an id": (says(call("propose_scale", GOOD, None)), "has no id"),
    "a call with an empty id": (says(call("propose_scale", GOOD, "")), "has no id"),
    "an id that is a number": (says(call("propose_scale", GOOD, 7)), ""),
    "no choices": (Answer(json.dumps({**completion(), "choices": []}).encode()), ""),
    "choices that are null": (Answer(b'{"error": "overloaded", "choices": null}'), ""),
    "a choice without a message": (Answer(json.dumps({**completion(), "choices": [{}]}).encode()), ""),
    "a choice that is text": (Answer(json.dumps({**completion(), "choices": ["propose"]}).encode()), ""),
    "tool calls that are text": (
        Answer(
            json.dumps({**completion(), "choices": [{"message": {"role": "assistant", "tool_calls": "x"}}]}).encode()
        ),
        "",
    ),
    "HTML": (Answer(b"<html>nginx</html>", content_type="text/html"), ""),
    "HTML that says it is JSON": (Answer(b"<html>nginx</html>"), ""),
    "nothing": (Answer(b""), ""),
    "null": (Answer(b"null"), ""),
    "a list": (Answer(b"[]"), ""),
    "bytes that are no text": (Answer(b"\xff\xfe\x00" * 100), ""),
    "more than anybody reads": (Answer(b" " * (BRAIN_EXCHANGE_MAX_CHARS + 1)), "longer than"),
    "a connection that breaks": (Answer(b'{"choices": [', cut=True), "RemoteProtocolError"),
    "400": (Answer(b'{"error": {"message": "context too long"}}', status=400), "400"),
    "401": (Answer(b'{"error": {"message": "who are you?"}}', status=401), "401"),
    "404": (Answer(b"", status=404), "404"),
    "429": (Answer(b'{"error": {"message": "slow down"}}', status=429), "429"),
    "500": (Answer(b"boom", status=500), "500"),
    "302 to elsewhere": (Answer(b"", status=302), "302"),
    "words and no call": (says(content='<tool_call>{"name": "propose_scale"}</tool_call>'), "called no tool"),
    "neither words nor a call": (says(), "called no tool"),
    "a reply that was cut off": (says(*proposals(3), finish="length"), "not whole"),
    "a reply that was withheld": (says(content="no", finish="content_filter"), "not whole"),
    "reading for ever": (says(call("read_observation", {"section": "pools"})), "neither a proposal nor a reason"),
}


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_nonsense_is_recorded_and_nothing_acts(name: str) -> None:
    answer, why = NONSENSE[name]

    async def scenario() -> None:
        async with cycles(answer) as (supervisor, port, server):
            for _ in range(2):
                result = await supervisor.run_cycle()
                assert (result.error, result.failures, result.proposals) == ("", (), ())
            heard = len(server.heard)
            recorded = port.record.reports[-1]
            assert why in recorded.error
            assert 0 < len(recorded.error) <= REASON_MAX_CHARS
            assert recorded.error.isprintable()
            assert (recorded.drafts, port.record.effects) == ((), [])
            assert sum(len(report.exchanges) for report in port.record.reports) == heard
            assert all(one.status == answer.status for one in recorded.exchanges)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [Answer(silent=True), Answer(hang=True), Answer(body=b" " * 1_000, drip=True)],
    ids=["silence", "headers and no body", "one byte every half second"],
)
def test_a_server_that_takes_for_ever_is_left(answer: Answer) -> None:
    async def scenario() -> None:
        async with cycles(answer, timeout_s=0.2) as (supervisor, port, _):
            assert (await supervisor.run_cycle()).proposals == ()
            recorded = port.record.reports[-1]
            assert "no decision within 0.18 s" in recorded.error
            assert [one.fault for one in recorded.exchanges] == ["CancelledError"]
            assert recorded.exchanges[0].request

    asyncio.run(scenario())


def test_a_request_has_a_time_out_of_its_own() -> None:
    async def scenario() -> None:
        port = MemoryPort()
        async with answering(Answer(hang=True)) as server:
            report = await llm_brain(settings(server, timeout_s=0.05)).decide(await port.observe(), context(port))
        assert "timed out" in report.error
        assert report.exchanges[0].fault == "ReadTimeout"

    asyncio.run(scenario())


def test_a_server_that_is_not_there() -> None:
    async def scenario() -> None:
        port = MemoryPort()
        async with answering(DONE) as server:
            brain = llm_brain(settings(server))
        report = await brain.decide(await port.observe(), context(port))
        assert "ConnectError" in report.error
        assert [(one.status, one.response, one.fault) for one in report.exchanges] == [(0, "", "ConnectError")]

    asyncio.run(scenario())


def test_after_failures_the_fallback_decides_and_the_loop_goes_on() -> None:
    async def scenario() -> None:
        async with cycles(Answer(status=500)) as (supervisor, port, server):
            for _ in range(BRAIN_FAILURES_BEFORE_FALLBACK + 2):
                assert (await supervisor.run_cycle()).error == ""
            assert len(server.heard) == BRAIN_FAILURES_BEFORE_FALLBACK, "nothing is tried again within a cycle"
            assert port.record.reports[-1].fallback_from == "openai:scripted"
            assert [code for code, _ in port.record.alerts] == ["brain-fallback"]

    asyncio.run(scenario())


def test_one_bad_reply_can_be_corrected_and_its_calls_are_not_sent_back() -> None:
    async def scenario() -> None:
        async with cycles(raw("not JSON"), says(*proposals(4)), DONE) as (supervisor, port, server):
            (proposal,) = (await supervisor.run_cycle()).proposals
            assert (proposal.state, proposal.action.workers) == ("done", 4)
            assert port.record.reports[-1].error == ""
            said = server.heard[1][1]["messages"]
            assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
            assert "tool_calls" not in said[2]
            assert "no JSON object" in said[3]["content"]

    asyncio.run(scenario())


def test_a_second_bad_reply_drops_what_was_proposed_before() -> None:
    async def scenario() -> None:
        script = (says(*proposals(3)), raw("bad"), raw("worse"))
        async with cycles(*script) as (supervisor, port, _):
            assert (await supervisor.run_cycle()).proposals == ()
            assert "twice" in port.record.reports[-1].error

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "arguments",
    [
        {"pool": "gpu", "workers": "3", "reason": "r"},
        {"pool": "gpu", "workers": 3.0, "reason": "r"},
        {"pool": "gpu", "workers": True, "reason": "r"},
        {"pool": "gpu", "workers": -1, "reason": "r"},
        {"pool": "gpu", "workers": 10**30, "reason": "r"},
        {"pool": "gpu", "workers": 3},
        {"pool": ["gpu"], "workers": 3, "reason": "r"},
        {"pool": "gpu", "workers": 3, "reason": "r", "kind": "cordon"},
        '{"pool": "gpu", "workers": NaN, "reason": "r"}',
        "",
        "null",
        "{}",
    ],
    ids=str,
)
def test_arguments_of_the_wrong_type_propose_nothing(arguments: object) -> None:
    async def scenario() -> None:
        report, server = await decided(says(call("propose_scale", arguments)), HOLDS)
        assert report.drafts == ()
        if not report.error:
            answer = server.heard[1][1]["messages"][-1]
            assert "error" in answer["content"]

    asyncio.run(scenario())


EVIL = "a\x00b\x1b[2Jc\ud800d\u202ee\r"


def test_lone_surrogates_nul_and_escape_codes_in_every_string() -> None:
    evil_call = call("propose_scale", {"pool": EVIL, "workers": 3, "reason": EVIL, "evidence": [EVIL]}, f"id-{EVIL}")
    evil_alert = call("propose_alert", {"text": EVIL, "reason": EVIL}, f"other-{EVIL}")
    body = {**completion(evil_call, evil_alert, content=EVIL), "id": EVIL, "model": EVIL, "system_fingerprint": EVIL}
    evil = Answer(json.dumps(body).encode(), content_type="application/json; charset=utf-8")

    async def scenario() -> None:
        async with cycles(evil, DONE) as (supervisor, port, server):
            result = await supervisor.run_cycle()
            assert result.error == ""
            (report,) = port.record.reports
            assert report.error == ""
            texts = [report.drafts[0].action["pool"], report.drafts[0].reason, *report.drafts[0].evidence]
            assert all(text.isprintable() and "\x1b" not in text for text in texts)
            assert json.loads(report.exchanges[0].response) == body, "the exchange is kept as it was"
            assert len(server.heard) == 2, "what it said could be sent again"

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["rm\x1b[2J", "propose_scale\x00", "\ud800", ""])
def test_names_of_tools_are_shown_clean(name: str) -> None:
    report, _ = asyncio.run(decided(says(call(name, GOOD))))
    assert report.error.isprintable()
    assert report.drafts == ()
