"""A transport that answers from a record, with the server gone. Needs the extra `llm`; import it through `cassette`."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from agentorch.graphs.llm.tape import Tape, response_of
from agentorch.graphs.llm.wire import answered
from agentorch.model.proposals import Exchange

#: (number of the request, its body) -> the recorded exchange; None: there is none any more.
Next = Callable[[int, str], Exchange | None]


class Player(httpx2.AsyncBaseTransport):
    """What it answers is kept on the tape, as a live transport would."""

    def __init__(self, next_exchange: Next, tape: Tape, tools_sha256: str) -> None:
        self._next = next_exchange
        self._tape = tape
        self._tools_sha256 = tools_sha256

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        one = self._next(len(self._tape.exchanges), body.decode())
        if one is None:
            raise httpx2.TransportError("the recording ends here", request=request)
        content = response_of(one)
        self._tape.add(
            body,
            content,
            took_ms=one.took_ms,
            status=one.status,
            content_type=one.content_type,
            fault=one.fault,
            tools_sha256=self._tools_sha256,
        )
        if one.fault:
            raise httpx2.TransportError(f"as recorded: {one.fault}", request=request)
        return answered(request, one.status, one.content_type, content)
