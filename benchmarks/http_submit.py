"""Durable submits over HTTP: 32 connections, one job a request and a hundred a request.

A 201 is sent only once the job is on the disk. The server is agentorch as it ships, its supervisor and telemetry
included; its pool is paused, so that what is measured is submitting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from benchmarks import load
from benchmarks.measure import Size, Table, in_turns, milliseconds, rate, spread
from benchmarks.peers import environment as peers
from benchmarks.servers import KEY

CONNECTIONS = 32
BATCH = 100
JOB = b'{"command": ["true"], "name": "noop"}'
UP_S = 20.0


async def run(size: Size) -> Table:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        async with contextlib.AsyncExitStack() as stack:
            ours = await stack.enter_async_context(server("durable", root / "data"))
            bare = await stack.enter_async_context(server("bare", root))
            batch = b'{"jobs": [' + b", ".join([JOB] * BATCH) + b"]}"
            contenders = {
                "agentorch, one job a request": Client(root, ours, "/v1/jobs", JOB, size),
                f"agentorch, {BATCH} jobs a request": Client(root, ours, "/v1/jobs:batch", batch, size, jobs=BATCH),
                "limit: Starlette + uvicorn, nothing done": Client(root, bare, "/v1/jobs", JOB, size),
            }
            await paused_pool(ours.port)
            turns: dict[str, Callable[[], Awaitable[float]]] = {name: one.run for name, one in contenders.items()}
            peer, missing = await stack.enter_async_context(saq(root, size))
            if peer is not None:
                turns["peer: SAQ enqueue, Redis with fsync always (no HTTP)"] = peer.run
            rates = await in_turns(turns, size.rounds)
    clients: list[Any] = [*contenders.values(), *([peer] if peer is not None else [])]
    rows = [[name, spread(rates[name]), *one.cells()] for name, one in zip(rates, clients, strict=True)]
    return Table(
        name="http_submit",
        question="How many durable submits a second does the server take over HTTP, and how long does each wait?",
        columns=["", "jobs/s (lowest-highest)", "request p50 ms", "request p99 ms", "server CPU µs/job"],
        rows=[*rows, *missing],
        notes=[
            f"{CONNECTIONS} connections, keep-alive, load from a process of its own; median of {size.rounds} windows "
            f"of {seconds(size):g} s in turns; percentiles are medians of the windows'.",
        ],
    )


def seconds(size: Size) -> float:
    return size.of(20, 6) / 10


class Server:
    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class Client:
    """One kind of request, in windows."""

    def __init__(self, root: Path, server: Server, path: str, body: bytes, size: Size, jobs: int = 1) -> None:
        self._server = server
        self._seconds = seconds(size)
        self._jobs = jobs
        self._file = root / f"request-{server.port}-{jobs}"
        self._file.write_bytes(load.request(path, body, KEY))
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.cpu_s: list[float] = []

    async def run(self) -> float:
        """Jobs a second. Raises RuntimeError when an answer was not 2xx."""
        before = self._server.cpu_s()
        command = [str(self._server.port), str(CONNECTIONS), str(self._seconds), str(self._file)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.load", *command, stdout=subprocess.PIPE
        )
        printed, _ = await child.communicate()
        said: dict[str, Any] = json.loads(printed)
        if said["wrong"]:
            raise RuntimeError(f"{said['wrong']} answers were not 2xx: {said['first_wrong']}")
        self.p50.append(said["p50_s"])
        self.p99.append(said["p99_s"])
        self.cpu_s.append((self._server.cpu_s() - before) / (said["per_s"] * self._seconds * self._jobs))
        return float(said["per_s"] * self._jobs)

    def cells(self) -> list[str]:
        return [milliseconds(median(self.p50)), milliseconds(median(self.p99)), rate(median(self.cpu_s) * 1e6)]


class Saq:
    def __init__(self, path: Path, size: Size) -> None:
        self._path = path
        self._seconds = seconds(size)
        self.p50: list[float] = []
        self.p99: list[float] = []

    async def run(self) -> float:
        arguments = (str(self._path), str(self._seconds), str(CONNECTIONS))
        said = await asyncio.to_thread(peers.run, "saq_enqueue", "saq", *arguments)
        self.p50.append(said["p50_s"])
        self.p99.append(said["p99_s"])
        return said["per_s"]

    def cells(self) -> list[str]:
        return [milliseconds(median(self.p50)), milliseconds(median(self.p99)), ""]


@contextlib.asynccontextmanager
async def saq(root: Path, size: Size) -> AsyncIterator[tuple[Saq | None, list[list[str]]]]:
    """The peer with a Redis of its own on a socket in our folder; or a row that says why there is none."""
    try:
        peers.python_with("saq")
        redis = peers.program("redis-server", "redis-server")
    except peers.PeerMissing as error:
        yield None, [["peer: SAQ and Redis", str(error), "", "", ""]]
        return
    path = root / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    with started([redis, *options, "--dir", str(root)]) as process:
        await up(path.exists, process)
        yield Saq(path, size), []


@contextlib.asynccontextmanager
async def server(kind: str, folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    with started([sys.executable, "-m", "benchmarks.servers", kind, str(port), str(folder)]) as process:
        await up(lambda: answers(port), process)
        yield Server(port, process.pid)


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the context lasts."""
    with subprocess.Popen(command, env={**os.environ, "AGENTORCH_KEY": KEY}, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


async def up(is_up: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError when it ended or is not up in time."""
    until = time.monotonic() + UP_S
    while not is_up():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} did not come up")
        await asyncio.sleep(0.05)


async def paused_pool(port: int) -> None:
    """Pause every pool of the server."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        for pool in (await client.get("/v1/pools")).raise_for_status().json():
            (await client.patch(f"/v1/pools/{pool['name']}", json={"paused": True})).raise_for_status()
