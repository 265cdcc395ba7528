"""An HTTP server on loopback that answers chat requests with whatever bytes a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Union

LINE_MAX = 64 * 1024

Script = Union["Answer", Callable[[dict[str, Any]], "Answer"]]


@dataclass
class Answer:
    """One HTTP answer. `hang`: the headers come, nothing after them, until the server is closed."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    hang: bool = False
    drip: bool = False  # one byte each half second
    cut: bool = False  # the connection ends before the body does
    silent: bool = False  # not even headers


@dataclass
class Server:
    """`answers` are given in order, the last one again and again; `heard` are the requests, headers and bodies."""

    answers: list[Script]
    url: str = ""
    heard: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(
                    line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ": " in line
                )
                body = await reader.readexactly(int(headers["content-length"]))
                self.heard.append((headers, json.loads(body)))
                answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
                await self._write(writer, answer if isinstance(answer, Answer) else answer(json.loads(body)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # whoever asked has gone, or was to be left alone
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if answer.silent:
            await self.closing.wait()
            raise ConnectionError
        length = len(answer.body) + (1_000 if answer.cut or answer.hang else 0)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.content_type}\r\n"
            f"content-length: {length}\r\n\r\n".encode("latin-1")
        )
        if answer.drip:
            for byte in answer.body:
                writer.write(bytes([byte]))
                await writer.drain()
                if await _set_within(self.closing, 0.5):
                    raise ConnectionError
        else:
            writer.write(answer.body)
        await writer.drain()
        if answer.cut:
            raise ConnectionError
        if answer.hang:
            await self.closing.wait()
            raise ConnectionError


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def answering(*answers: Script) -> AsyncIterator[Server]:
    """A server that is up on entry and gone on exit, whatever hangs there."""
    scripted = Server(list(answers))
    server = await asyncio.start_server(scripted.accept, "127.0.0.1", 0, limit=LINE_MAX)
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield scripted
    finally:
        scripted.closing.set()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*scripted.tasks)


# -- answers in the shape of OpenAI's


def call(name: str, arguments: Any, ident: Any = "call-1") -> dict[str, Any]:
    """A tool call; `arguments` that are no text are written as JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": text}}


def completion(
    *calls: dict[str, Any], content: str | None = None, finish: str = "", usage: Any = (100, 20)
) -> dict[str, Any]:
    """A chat completion; `usage` None leaves it out."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish or ("tool_calls" if calls else "stop"), "message": message}],
    }
    if isinstance(usage, tuple):
        body["usage"] = dict(
            zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*usage, sum(usage)), strict=True)
        )
    elif usage is not None:
        body["usage"] = usage
    return body


def says(*calls: dict[str, Any], **fields: Any) -> Answer:
    return Answer(json.dumps(completion(*calls, **fields)).encode())


def proposals(*workers: int, pool: str = "gpu") -> Sequence[dict[str, Any]]:
    return [
        call("propose_scale", {"pool": pool, "workers": count, "reason": "waits are long"}, f"call-{at}")
        for at, count in enumerate(workers)
    ]


DONE = says(content="that is all")
HOLDS = says(call("hold", {"reason": "nothing is wrong"}))
