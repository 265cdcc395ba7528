"""kill -9 the server again and again under load; nothing acknowledged may be lost or run twice.

`python -m tests.soak --kills 50 --jobs 200` is the long version of `tests/runtime/test_kill.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import random
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

KEY = "soak-key-of-no-secret"
HEADERS = {"Authorization": f"Bearer {KEY}"}
CONFIG = """
[pools.a]
workers = 4
cpus = 0.2
memory = "64MB"
[pools.b]
workers = 4
cpus = 0.2
memory = "64MB"
"""


@dataclass
class Outcome:
    """What a soak found. `problems` is empty when every promise was kept."""

    kills: int = 0
    acknowledged: int = 0
    attempts_lost: int = 0
    verified: str = ""
    problems: list[str] = field(default_factory=list)


class Server:
    """The real server as a child process on a fixed port and data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "agentorch.toml").write_text(CONFIG)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Spawn it and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentorch.cli", "serve", "--data", str(self.folder / "data")),
                *("--port", str(self.port), "--config", str(self.folder / "agentorch.toml")),
                env={**os.environ, "AGENTORCH_KEY": KEY},
                stdout=log,
                stderr=log,
            )
        async with httpx.AsyncClient(base_url=self.url, headers=HEADERS) as http:
            while True:
                if self.process.returncode is not None:
                    raise RuntimeError(f"the server ended: {(self.folder / 'server.log').read_text()[-2000:]}")
                try:
                    if (await http.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await pause(0.02)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


async def pause(seconds: float) -> None:
    """Let real time pass: the load of a soak is made of it."""
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, lambda: waiting.done() or waiting.set_result(None))
    await waiting


class Soak:
    """`jobs` jobs, each appending its number to a file and exiting with a code of its own, under `kills` kills."""

    def __init__(self, folder: Path, *, jobs: int, kills: int, seed: int) -> None:
        self.server = Server(folder)
        self.file = folder / "ran.txt"
        self.file.touch()
        self.jobs, self.kills = jobs, kills
        self.random = random.Random(seed)
        self.acknowledged: dict[int, str] = {}
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        await self.server.start()
        try:
            submitting = asyncio.create_task(self.submit_all())
            for _ in range(self.kills):
                await pause(self.random.uniform(0.0, 0.8))
                await self.server.kill()
                self.outcome.kills += 1
                await self.server.start()
            await submitting
            documents = await self.finish()
            await self.check(documents)
        finally:
            await self.server.stop()
        return self.outcome

    async def submit_all(self) -> None:
        spacing = (self.kills * 1.8) / self.jobs
        async with httpx.AsyncClient(base_url=self.server.url, headers=HEADERS, timeout=10) as http:
            for number in range(self.jobs):
                await self.submit(http, number)
                await pause(self.random.uniform(0, 2 * spacing))
        self.outcome.acknowledged = len(self.acknowledged)

    async def submit(self, http: httpx.AsyncClient, number: int) -> None:
        """Until it is acknowledged, always with the same key."""
        nap = self.random.choice(["0", "0", "0.05", "0.3", "1"])
        body = {
            "name": f"soak-{number}",
            "command": ["sh", "-c", f"echo {number} >> {self.file}; sleep {nap}; exit {number % 3}"],
            "resources": {"cpus": 0.1},
        }
        while True:
            try:
                answer = await http.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"soak-{number}"})
            except httpx.TransportError:
                await pause(0.05)
                continue
            if answer.status_code in (200, 201):
                self.acknowledged[number] = answer.json()["id"]
                return
            if answer.status_code not in (429, 503):
                self.outcome.problems.append(f"job {number}: {answer.status_code} {answer.text[:200]}")
                return
            await pause(0.05)

    async def finish(self) -> dict[int, dict[str, Any]]:
        """Wait until every acknowledged job has ended; their documents by number."""
        out: dict[int, dict[str, Any]] = {}
        async with httpx.AsyncClient(base_url=self.server.url, headers=HEADERS, timeout=30) as http:
            for number, job in self.acknowledged.items():
                while True:
                    answer = await http.get(f"/v1/jobs/{job}")
                    if answer.status_code != 200:
                        self.outcome.problems.append(f"job {number} ({job}) is gone: {answer.status_code}")
                        break
                    if answer.json()["state"] in ("succeeded", "failed", "cancelled"):
                        out[number] = answer.json()
                        break
                    await pause(0.05)
        return out

    async def check(self, documents: dict[int, dict[str, Any]]) -> None:
        ran = collections.Counter(int(line) for line in self.file.read_text().split())
        for number, job in documents.items():
            causes = [attempt["cause"] for attempt in job["attempts"]]
            lost = causes.count("lost")
            self.outcome.attempts_lost += lost
            if not lost and ran[number] != 1:
                self.outcome.problems.append(f"job {number} ran {ran[number]} times: {causes}")
            if job["exit_code"] != number % 3:
                self.outcome.problems.append(f"job {number} ended with {job['exit_code']}, not {number % 3}: {causes}")
        for number in set(ran) - set(self.acknowledged):
            self.outcome.problems.append(f"job {number} ran and was never acknowledged")
        async with httpx.AsyncClient(base_url=self.server.url, headers=HEADERS, timeout=120) as http:
            report = (await http.get("/v1/ledger/verify")).json()
        self.outcome.verified = str(report.get("ok"))
        if report.get("ok") is not True:
            self.outcome.problems.append(f"verify: {report}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agentorch-soak-") as folder:
        soak = Soak(Path(folder), jobs=options.jobs, kills=options.kills, seed=options.seed)
        outcome = asyncio.run(soak.run())
    print(
        f"{outcome.kills} kills, {outcome.acknowledged} jobs acknowledged, {outcome.attempts_lost} attempts lost, "
        f"verified: {outcome.verified}, problems: {len(outcome.problems)}"
    )
    for problem in outcome.problems[:20]:
        print("  ", problem)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
