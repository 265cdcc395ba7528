"""The one place where the LLM brain meets a network: a transport that sends little, reads a bounded answer, and keeps
both. `cassette` has another with the same face, which answers from a record.

Needs the extra `llm`; import it through `brain.llm_brain`, which says so.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import asdict
from typing import Final, Protocol

import httpx2
import msgspec

from agentorch.config.brains import LlmSettings
from agentorch.errors import BrainError
from agentorch.graphs.llm.chat import LIBRARIES
from agentorch.graphs.llm.talk import CallTool
from agentorch.graphs.llm.tape import Tape
from agentorch.model.limits import BRAIN_EXCHANGE_MAX_CHARS

#: Several times what the longest useful reply has: everything that is read is kept.
RESPONSE_MAX_BYTES: Final = 256_000
assert RESPONSE_MAX_BYTES * 4 // 3 < BRAIN_EXCHANGE_MAX_CHARS, "in base64 it must fit into an exchange"
#: All that a server is told beside the body. The client library adds more, from the environment too.
HEADERS: Final = ("host", "content-type", "content-length", "connection")


#: Libraries that log every request: what was exchanged is in the ledger, without the key.
TALKATIVE: Final = ("httpx2", "httpcore2", "openai")


class Wire(Protocol):
    """What a brain's exchanges go through."""

    def tape(self) -> Tape:
        """An empty record for one cycle."""

    def transport(self, tape: Tape, tools_sha256: str) -> httpx2.AsyncBaseTransport:
        """What carries that cycle's requests, and keeps them on the tape."""

    def tools(self, call: CallTool) -> CallTool:
        """How the tools that read the world now are called."""


class LiveWire:
    """To the server that the settings name."""

    def __init__(self, settings: LlmSettings) -> None:
        self._settings = settings
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        # Loading what is trusted takes many milliseconds: once, and only where there is something to trust.
        self._trusted = ssl.create_default_context() if settings.base_url.startswith("https:") else None

    def tape(self) -> Tape:
        shown = {name: value for name, value in asdict(self._settings).items() if name != "api_key"}
        parameters = msgspec.json.encode(shown, order="deterministic").decode()
        return Tape(self._settings.model, key=self._settings.api_key, parameters=parameters, libraries=LIBRARIES)

    def transport(self, tape: Tape, tools_sha256: str) -> httpx2.AsyncBaseTransport:
        return Recorder(tape, tools_sha256, self._settings, self._trusted)

    def tools(self, call: CallTool) -> CallTool:
        return call


class Recorder(httpx2.AsyncBaseTransport):
    """Sends to one address. The library's retries, redirects, proxies and cookies have no part in it."""

    def __init__(self, tape: Tape, tools_sha256: str, settings: LlmSettings, trusted: ssl.SSLContext | None) -> None:
        self._tape = tape
        self._tools_sha256 = tools_sha256
        self._key = settings.api_key
        self._url = httpx2.URL(f"{settings.base_url}/chat/completions")
        self._inner = httpx2.AsyncHTTPTransport(verify=trusted if trusted is not None else False, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        status, content_type, content, fault = 0, "", bytearray(), ""
        began_s = time.monotonic()
        try:
            answer = await self._inner.handle_async_request(self._plain(request, body))
            status, content_type = answer.status_code, answer.headers.get("content-type", "")
            try:
                await _read(answer, content)
            finally:
                await answer.aclose()
        except BaseException as error:
            fault = type(error).__name__
            raise
        finally:
            self._tape.add(
                body,
                bytes(content),
                took_ms=round((time.monotonic() - began_s) * 1000),
                status=status,
                content_type=content_type,
                fault=fault,
                tools_sha256=self._tools_sha256,
            )
        # What is read on is what was kept, so that a replay sees the same.
        return answered(request, status, self._tape.exchanges[-1].content_type, self._tape.hide(bytes(content)))

    def _plain(self, request: httpx2.Request, body: bytes) -> httpx2.Request:
        if request.url != self._url:
            raise BrainError(f"the client library wants to call {request.url.host}, which nobody configured")
        headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
        headers |= {"accept": "application/json", "accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return httpx2.Request(request.method, request.url, headers=headers, content=body, extensions=request.extensions)

    async def aclose(self) -> None:
        await self._inner.aclose()


def answered(request: httpx2.Request, status: int, content_type: str, content: bytes) -> httpx2.Response:
    """An answer as the client library is shown it."""
    return httpx2.Response(status, headers={"content-type": content_type}, content=content, request=request)


async def _read(answer: httpx2.Response, content: bytearray) -> None:
    async for part in answer.aiter_raw():
        content += part
        if len(content) > RESPONSE_MAX_BYTES:
            del content[RESPONSE_MAX_BYTES:]
            raise BrainError(f"the answer is longer than {RESPONSE_MAX_BYTES:,} bytes")
