"""A small HTTP load generator: raw sockets and prepared bytes, so that it takes little of the machine it shares.

`python -m benchmarks.load PORT CONNECTIONS SECONDS REQUEST_FILE` sends the same request on every connection again as
soon as its answer has come, and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.measure import percentile

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class _Connection(asyncio.Protocol):
    """One request at a time, as fast as the answers come, until `until`."""

    def __init__(self, request: bytes, until: float, took: list[float], wrong: list[bytes]) -> None:
        self._request = request
        self._until = until
        self._took = took
        self._wrong = wrong
        self._buffer = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(_END)
        if not found or len(body) < int(head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]):
            return
        now = time.perf_counter()
        self._took.append(now - self._sent)
        if not head.startswith(b"HTTP/1.1 20"):
            self._wrong.append(self._buffer[:300])
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(port: int, connections: int, seconds: float, request: bytes) -> dict[str, object]:
    """Requests a second, percentiles in seconds, and how many answers were not 2xx (with the first of them)."""
    took: list[float] = []
    wrong: list[bytes] = []
    began = time.perf_counter()
    ends = []
    for _ in range(connections):
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(request, began + seconds, took, wrong), "127.0.0.1", port
        )
        ends.append(protocol.ended)
    await asyncio.gather(*ends)
    elapsed = time.perf_counter() - began
    return {
        "per_s": len(took) / elapsed,
        "p50_s": percentile(took, 50),
        "p99_s": percentile(took, 99),
        "wrong": len(wrong),
        "first_wrong": wrong[0].decode(errors="replace") if wrong else "",
    }


def request(path: str, body: bytes, key: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(
        json.dumps(
            asyncio.run(
                load(int(arguments[0]), int(arguments[1]), float(arguments[2]), Path(arguments[3]).read_bytes())
            )
        )
    )
