"""Logs of an attempt: a page of text, or a stream that goes on from attempt to attempt until the job has ended."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from agentorch.api.problems import of_refusal
from agentorch.api.services import Services
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.attempts import attempt_id, parse_attempt_id
from agentorch.model.jobs import FINISHED, Job, JobState
from agentorch.runtime.source import Source

#: How soon what was written is shown: the first pause, doubled up to the second while nothing comes.
POLL_S = 0.05
POLL_CAP_S = 0.5

STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def log_page(source: Source, job: Job, attempt: int | None, rank: int, stream: str, offset: int) -> Response:
    """Plain text from byte `offset` on; `X-Next-Offset` says where to read on. Empty before the first attempt.

    Raises Refused("not_found") for an attempt that never was.
    """
    number = attempt or job.attempts_made
    data, following, whole = b"", offset, False
    if number:
        data, following, whole = await _read(
            source, attempt_id(job.id, number, rank), stream, offset, limits.LOG_PAGE_BYTES
        )
    headers = {
        "x-next-offset": str(following),
        "x-log-complete": "1" if whole else "0",
        "x-content-type-options": "nosniff",
    }
    return Response(data, headers=headers, media_type="text/plain; charset=utf-8")


async def _read(source: Source, name: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
    """As `Source.logs`; an attempt that was ordered and not launched yet has written nothing so far."""
    try:
        return await source.logs(name, stream, offset, limit)
    except Refused:
        job_id, number, _ = parse_attempt_id(name)
        job = (await source.view()).facts.jobs.get(job_id)
        if job is not None and job.attempts_made == number and job.state is JobState.starting:
            return b"", offset, False
        raise


def followed(services: Services, job_id: str, attempt: int | None, rank: int, stream: str, offset: int) -> Response:
    """SSE: `{"text", "attempt", "offset"}` as it is written, then an event `end`. Raises Refused("overloaded")."""
    if services.hub.subscribers >= limits.SSE_CLIENTS_MAX:
        raise Refused("overloaded", f"{limits.SSE_CLIENTS_MAX} streams are open", retry_after_s=5)
    body = _follow(services, job_id, attempt, rank, stream, offset)
    return StreamingResponse(body, headers=STREAM_HEADERS, media_type="text/event-stream")


async def _follow(
    services: Services, job_id: str, attempt: int | None, rank: int, stream: str, offset: int
) -> AsyncIterator[bytes]:
    services.hub.subscribers += 1
    try:
        shown = 0  # the newest attempt that has been shown to its end
        while not services.hub.closed:
            job = (await services.source.view()).facts.jobs.get(job_id)
            if job is None:
                break
            number = attempt or (shown + 1 if shown else job.attempts_made)
            if shown < number <= job.attempts_made:
                async for data in _attempt(services, attempt_id(job_id, number, rank), stream, offset):
                    yield data
                shown, offset = number, 0
                continue
            if job.state in FINISHED or (attempt and shown):
                break
            yield await _quiet(services, limits.SSE_HEARTBEAT_MS / 1000)
        yield b"event: end\ndata: {}\n\n"
    finally:
        services.hub.subscribers -= 1


async def _quiet(services: Services, limit_s: float) -> bytes:
    """Wait for any event of the ledger, or for the time to say that we are alive."""
    try:
        async with asyncio.timeout(limit_s):
            await services.hub.next_news()
    except TimeoutError:
        return b"event: heartbeat\ndata: {}\n\n"
    return b""


async def _attempt(services: Services, name: str, stream: str, offset: int) -> AsyncIterator[bytes]:
    """One attempt's log until it is whole. Characters are never torn apart between two events."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pause_s, quiet_s = POLL_S, 0.0
    whole = False
    while not whole and not services.hub.closed:
        try:
            data, offset, whole = await _read(services.source, name, stream, offset, limits.LOG_CHUNK_BYTES)
        except Refused as refused:
            if refused.code != "unreachable":  # the answer has begun: all that is left is to say it in the stream
                yield b"event: problem\ndata: %b\n\n" % bytes(of_refusal(refused).body)
                return
            data = b""  # its node will be back, or the attempt will have ended as lost
        if data or whole:
            text = decoder.decode(data, final=whole)
            document = {"text": text, "attempt": parse_attempt_id(name)[1], "offset": offset}
            if text:
                yield b"data: %b\n\n" % msgspec.json.encode(document)
            pause_s, quiet_s = POLL_S, 0.0
            continue
        await asyncio.sleep(pause_s)
        quiet_s += pause_s
        pause_s = min(POLL_CAP_S, 2 * pause_s)
        if quiet_s * 1000 >= limits.SSE_HEARTBEAT_MS:
            quiet_s = 0.0
            yield b"event: heartbeat\ndata: {}\n\n"
