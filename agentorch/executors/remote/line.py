"""A connection to an agent: many questions under way at once, made when it is needed and again when it broke."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from agentorch.executors.remote import frames
from agentorch.executors.remote.frames import Question, Reply

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """`connect` raises OSError while there is nobody to connect to; so does `ask`."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect_streams = connect
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._replies: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count()

    async def ask(self, method: str, body: bytes) -> bytes:
        async with self._connecting:
            if self._writer is None:
                await self._connect()
        assert self._writer is not None
        number = next(self._numbers)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            frames.write(self._writer, Question(number, method, body))
            return await reply
        finally:
            self._replies.pop(number, None)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _connect(self) -> None:
        reader, writer = await self._connect_streams()
        self._writer = writer
        self._reading = asyncio.create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why: Exception = ConnectionError("the connection was closed")
        try:
            while True:
                reply = await frames.read(reader, Reply)
                waiting = self._replies.get(reply.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply.body)
        except OSError as error:
            why = error
        finally:
            self._writer = None
            writer.close()
            for waiting in self._replies.values():
                if not waiting.done():
                    waiting.set_exception(why)
