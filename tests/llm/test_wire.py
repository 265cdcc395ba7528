"""What leaves the machine, and what is kept of it: the body, one key, and nothing that nobody configured."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("langchain_openai", reason="not installed: pip install 'agentorch[llm]'")

from agentorch.config.brains import OPENAI_URL, LlmSettings
from agentorch.graphs.llm.chat import chat_model
from agentorch.graphs.llm.wire import LiveWire
from tests.llm.asking import decided
from tests.llm.server import HOLDS, Answer

KEY = "sk-very-secret-1234567890"
#: Everything that the client libraries would listen to.
INHERITED = {
    "OPENAI_API_KEY": "sk-inherited",
    "OPENAI_ORG_ID": "org-inherited",
    "OPENAI_PROJECT_ID": "proj-inherited",
    "OPENAI_API_BASE": "http://elsewhere.invalid/v1",
    "OPENAI_BASE_URL": "http://elsewhere.invalid/v1",
    "OPENAI_PROXY": "http://proxy.invalid:3128",
    "HTTP_PROXY": "http://proxy.invalid:3128",
    "ALL_PROXY": "http://proxy.invalid:3128",
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_GATEWAY": "true",
    "LANGSMITH_API_KEY": "lsv2-inherited",
    "LC_OUTPUT_VERSION": "v1",
}


def test_only_what_is_configured_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in INHERITED.items():
        monkeypatch.setenv(name, value)
    report, server = asyncio.run(decided(HOLDS, api_key=KEY))
    assert report.error == ""
    ((headers, body),) = server.heard
    assert set(headers) == {
        "host", "content-type", "content-length", "connection", "accept", "accept-encoding", "authorization"
    }  # fmt: skip
    assert headers["authorization"] == f"bearer {KEY}"
    assert not any("inherited" in str(value) for value in (headers, body))
    assert set(body) == {"model", "messages", "max_tokens", "stream", "tool_choice", "tools"}


def test_without_a_key_none_is_sent() -> None:
    _, server = asyncio.run(decided(HOLDS))
    assert "authorization" not in server.heard[0][0]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'.encode(), status=401),
        Answer(KEY.encode(), content_type=f"text/{KEY}"),
        Answer(b"\xff" + KEY.encode()),
    ],
    ids=["an error", "a header", "no text"],
)
def test_the_key_is_in_no_record_and_no_log(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    report, _ = asyncio.run(decided(answer, api_key=KEY))
    assert report.error
    assert KEY not in msgspec.json.encode(report).decode()
    if report.exchanges[0].base64:
        from agentorch.graphs.llm.tape import response_of

        assert KEY.encode() not in response_of(report.exchanges[0])
    assert KEY not in caplog.text
    assert KEY not in repr(LlmSettings(model="m", api_key=KEY))


def test_openai_itself_is_spoken_to_in_its_newer_words() -> None:
    for url, word in ((OPENAI_URL, "max_completion_tokens"), ("http://127.0.0.1:9/v1", "max_tokens")):
        settings = LlmSettings(model="m", base_url=url)
        wire = LiveWire(settings)
        model, client = chat_model(settings, [], wire.transport(wire.tape(), ""), 1)
        payload = model.bound._get_request_payload([("user", "hello")], max_tokens=7)  # type: ignore[attr-defined]
        assert payload[word] == 7
        asyncio.run(client.aclose())


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    report, server = asyncio.run(decided(Answer(b"", status=307), api_key=KEY))
    assert "307" in report.error
    assert len(server.heard) == 1
