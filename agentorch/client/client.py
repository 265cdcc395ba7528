"""The client: all calls, the snapshot and the event stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self

from agentorch.client.fleet import FleetCalls
from agentorch.client.jobs import JobCalls
from agentorch.client.supervision import SupervisionCalls
from agentorch.client.transport import STREAM_SILENCE_S, Transport
from agentorch.errors import ServerUnreachable
from agentorch.schemas.documents import VerifyDocument
from agentorch.schemas.supervision import SnapshotDocument


class Client(JobCalls, FleetCalls, SupervisionCalls):
    """`async with Client("http://127.0.0.1:7070", key) as client:`. Opens nothing until the first call."""

    def __init__(self, base_url: str, key: str | None = None, *, stream_silence_s: float = STREAM_SILENCE_S) -> None:
        """A stream that says nothing for `stream_silence_s` counts as lost."""
        self.wire = Transport(base_url, key, stream_silence_s=stream_silence_s)

    async def aclose(self) -> None:
        await self.wire.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def snapshot(self, at: int | None = None) -> SnapshotDocument:
        """Everything that a screen shows; `at` looks back to a sequence, in recordings only."""
        return await self.wire.ask(SnapshotDocument, "GET", "/v1/snapshot", query={"at": at})

    async def verify(self) -> VerifyDocument:
        return await self.wire.ask(VerifyDocument, "GET", "/v1/ledger/verify")

    async def alive(self) -> None:
        """Returns when the process answers; needs no key."""
        await self.wire.send("GET", "/healthz")

    async def events(self, after: int | None) -> AsyncGenerator[dict[str, Any], None]:
        """Events with sequence > `after` (None: from now on) as `{"seq", "event", ...}`, and `{"heartbeat": True}`.

        Raises ServerUnreachable when the connection is lost or silent for longer than two heartbeats; come back with
        the last `seq`. Never ends by itself: who leaves early closes it, best with `contextlib.aclosing`.
        """
        async with self.wire.stream("/v1/events", {"after": after}) as events:
            async for event in events:
                if event.event == "heartbeat":
                    yield {"heartbeat": True, **json.loads(event.data)}
                elif event.data:
                    yield {"seq": int(event.id), **json.loads(event.data)}
        raise ServerUnreachable(f"{self.wire.base_url} ended the event stream")
