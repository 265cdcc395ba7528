"""The wire of the client: requests that end as documents or as one of two errors, and event streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, TypeAdapter, ValidationError

from agentorch.errors import ServerRefused, ServerUnreachable

#: A server sends a heartbeat every five seconds: more than two of them missing means that it is gone.
STREAM_SILENCE_S: Final = 12.0
CONNECT_S: Final = 5.0
#: Longest that an ordinary answer may take: a verification of a long ledger is the slowest.
ANSWER_S: Final = 60.0

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


class Transport:
    """One connection pool to one server. `key` goes out with every request."""

    def __init__(self, base_url: str, key: str | None = None, *, stream_silence_s: float = STREAM_SILENCE_S) -> None:
        self.base_url = base_url.rstrip("/")
        self._stream_timeout = httpx.Timeout(stream_silence_s, connect=CONNECT_S)
        # No proxy of the environment stands between a machine and its own loopback, and a key follows no redirect.
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=False,
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Raises ServerUnreachable, ServerRefused. Empty query values are left out."""
        params = {name: value for name, value in (query or {}).items() if value not in ("", None)}
        try:
            response = await self._http.request(method, self.base_url + path, params=params, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnreachable(f"no answer from {self.base_url}: {_why(error)}") from error
        if response.status_code >= 300:
            raise refusal(response)
        return response

    async def ask(self, model: type[Model], method: str, path: str, **rest: Any) -> Model:
        """As `send`, read as a document. An answer that is none of ours counts as refused, code `not_agentorch`."""
        response = await self.send(method, path, **rest)
        return _read(response, TypeAdapter(model))

    async def ask_list(self, model: type[Model], method: str, path: str, **rest: Any) -> list[Model]:
        response = await self.send(method, path, **rest)
        return _read(response, TypeAdapter(list[model]))  # type: ignore[valid-type]

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """Server-sent events. Raises ServerUnreachable when the stream breaks or is silent for too long."""
        params = {name: value for name, value in query.items() if value not in ("", None)}
        try:
            async with self._http.stream(
                "GET",
                self.base_url + path,
                params=params,
                headers={"accept": "text/event-stream"},
                timeout=self._stream_timeout,
            ) as response:
                if response.status_code >= 300:
                    await response.aread()
                    raise refusal(response)
                yield EventSource(response).aiter_sse()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, SSEError) as error:
            raise ServerUnreachable(f"the stream from {self.base_url} broke: {_why(error)}") from error


def _why(error: Exception) -> str:
    """Some of httpx's errors have no text of their own."""
    return str(error) or type(error).__name__


def _read(response: httpx.Response, adapter: TypeAdapter[Value]) -> Value:
    try:
        return adapter.validate_json(response.content)
    except ValidationError as error:
        raise ServerRefused(
            response.status_code, "not_agentorch", f"{response.url.path}: the answer is not what agentorch answers"
        ) from error


def refusal(response: httpx.Response) -> ServerRefused:
    """A problem document as an error; anything else, such as a proxy's page, by its status alone."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        return ServerRefused(response.status_code, "not_agentorch", f"HTTP status {response.status_code}")
    known = {"type", "title", "status", "detail", "code", "retry_after"}
    extra = {key: value for key, value in document.items() if key not in known and key.isidentifier()}
    for taken in ("status", "code", "message", "retry_after_s", "self"):
        extra.pop(taken, None)
    return ServerRefused(
        response.status_code,
        str(document["code"]),
        str(document.get("detail", "")),
        document.get("retry_after"),
        **extra,
    )
