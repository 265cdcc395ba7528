"""The real server as a child process, and a plain HTTP client to it, for tests of the whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

KEY = "system-test-key"
WAIT_S = 60.0

#: One pool that may grow and a supervisor that must ask before it does, looking five times a second.
ASKING = """
[supervisor]
cycle_s = "200ms"
[guardrails]
always_ask = ["scale"]
[pools.small]
workers = 1
max_workers = 3
cpus = 0.2
memory = "64MB"
target_wait = "1s"
"""
#: What a job of that pool asks for.
SMALL = {"cpus": 0.2}


def eventually(look: Callable[[], T | None], what: str) -> T:
    """The first thing that `look` finds. Raises AssertionError when nothing is found in `WAIT_S`."""
    give_up = time.monotonic() + WAIT_S
    pause = threading.Event()
    while time.monotonic() < give_up:
        found = look()
        if found:
            return found
        pause.wait(0.05)
    raise AssertionError(f"never happened: {what}")


class Server:
    """`agentorch serve` on a port and a folder of its own; may be killed and started again."""

    def __init__(self, folder: Path, config: str = "", program: Sequence[str] = ("agentorch.cli", "serve")) -> None:
        self.program = program
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "agentorch.toml"
        self.config.write_text(config)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        self.process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """For commands that speak to this server."""
        return {**os.environ, "AGENTORCH_URL": self.url, "AGENTORCH_KEY": KEY, "NO_COLOR": "1"}

    def start(self) -> None:
        log = (self.folder / "server.log").open("ab")
        command = [sys.executable, "-m", *self.program, "--data", str(self.data)]
        command += ["--port", str(self.port), "--config", str(self.config)]
        with log:
            self.process = subprocess.Popen(command, env={**os.environ, "AGENTORCH_KEY": KEY}, stdout=log, stderr=log)
        eventually(self._answers, f"the server answers; it said: {(self.folder / 'server.log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)

    def cancel_all(self) -> None:
        """Leave no work behind: it would outlive the server, as it should."""
        for state in ("queued", "running", "starting"):
            for job in self.get(f"/v1/jobs?state={state}&limit=500")["items"]:
                self.http.delete(f"/v1/jobs/{job['id']}")
        eventually(lambda: not self.get("/v1/snapshot")["running"], "nothing runs any more")

    # -- what tests ask again and again

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, script: str, **body: Any) -> str:
        answer = self.http.post("/v1/jobs", json={"command": ["sh", "-c", script], **body})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def until(self, job: str, *states: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            document: dict[str, Any] = self.get(f"/v1/jobs/{job}")
            return document if document["state"] in states else None

        return eventually(look, f"{job} becomes {' or '.join(states)}")

    def ended(self, job: str) -> dict[str, Any]:
        return self.until(job, "succeeded", "failed", "cancelled")

    def open_approval(self) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            items = self.get("/v1/approvals")["items"]
            return items[0] if items else None

        return eventually(look, "an approval is open")

    def answer(self, proposal: dict[str, Any], answer: str, **body: Any) -> httpx.Response:
        body = {"answer": answer, "proposal_hash": proposal["proposal_hash"], **body}
        return self.http.post(f"/v1/approvals/{proposal['id']}/answer", json=body)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """An `agentorch` command against this server."""
        return subprocess.run(
            [sys.executable, "-m", "agentorch.cli", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )


@contextmanager
def running(folder: Path, config: str = "", program: Sequence[str] = ("agentorch.cli", "serve")) -> Iterator[Server]:
    server = Server(folder, config, program)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.cancel_all()
            server.stop()
        server.http.close()
