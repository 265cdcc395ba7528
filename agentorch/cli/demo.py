"""`agentorch demo`: a real server, a real trace in compressed time as real processes, and the supervisor at work."""

from __future__ import annotations

import asyncio
import csv
import secrets
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentorch.cli.child_server import child_server, free_port
from agentorch.cli.demo_summary import Summary, summarise
from agentorch.client import Client

#: Trace seconds per second; queue waits are compressed with them, prices per hour are not.
SPEED = 240
TRACE = "philly-11cb48-burst.csv"
TENANTS = ("research", "search", "ads")
#: A GPU of the trace is a slot of this many cores here: the processes only wait, as if for a device.
SLOT_CPUS = 0.05
SLOTS_PER_WORKER = 4
#: Dollars per GPU-hour on the cluster's own workers, and on rented ones: a rented one alone is dear enough to be asked.
OWN_USD, RENTED_USD = 1.0, 3.0
#: What it is worth that a job of the trace waits an hour less; here that hour is over in fifteen seconds.
WAITING_USD = 2.0
LONGEST_S = 110.0
#: Lines of the decision log that a short narration leaves out.
QUIET = ("holds", "hold", "key", "tenant", "guardrails")

CONFIG = f"""
[supervisor]
mode = "guarded"
cycle_s = 2
approval_ttl = "60s"
waiting_usd_per_hour = {WAITING_USD * SPEED}

[pools.cluster]
workers = 2
min_workers = 1
max_workers = 4
cpus = {SLOT_CPUS * SLOTS_PER_WORKER}
memory = "64MB"
price_usd_per_hour = {OWN_USD * SLOTS_PER_WORKER}
target_wait = "5s"

[pools.rented]
workers = 0
min_workers = 0
max_workers = 4
cpus = {SLOT_CPUS * SLOTS_PER_WORKER}
memory = "64MB"
price_usd_per_hour = {RENTED_USD * SLOTS_PER_WORKER}
target_wait = "5s"
region = "cloud"

[tenants.research]
weight = 200
hard_cap_usd = 30
[tenants.search]
hard_cap_usd = 20
[tenants.ads]
hard_cap_usd = 0.03
"""


@dataclass
class Show:
    """What the demo's threads share."""

    url: str
    key: str
    stop: threading.Event = field(default_factory=threading.Event)
    submitted: int = 0
    total: int = 0
    error: str = ""


def demo(*, data: Path | None = None, headless: bool = False) -> int:
    """Replay two hours of a real GPU cluster in about a minute, as real processes, under the supervisor's eyes.

    On a terminal the TUI opens: look at the inbox (6) and answer. Without one nobody answers, and a summary follows.

    Parameters
    ----------
    data
        Keep the ledger and the logs in this directory; by default they are removed at the end.
    headless
        Do not open the TUI, terminal or not.
    """
    with tempfile.TemporaryDirectory(prefix="agentorch-demo-") as scratch:
        folder = data if data is not None else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return _run(folder, headless=headless or not (sys.stdin.isatty() and sys.stdout.isatty()))


def _run(folder: Path, *, headless: bool) -> int:
    config = folder / "agentorch.toml"
    config.write_text(CONFIG)
    key = f"demo-{secrets.token_urlsafe(16)}"
    data = folder / "data"
    with child_server(data=data, port=free_port(), key=key, log=folder / "server.log", config=config) as server:
        narrate(f"server on {server.url}, data in {data}")
        show = Show(server.url, server.key)
        summary = _play(show, headless=headless)
    return 1 if summary is None else summary.print(data / "ledger.db")


def _play(show: Show, *, headless: bool) -> Summary | None:
    feeder = threading.Thread(target=lambda: asyncio.run(feed(show)), name="feed", daemon=True)
    feeder.start()
    if headless:
        asyncio.run(watch(show))
    else:
        from agentorch.tui.app import run

        run(show.url, show.key)
        narrate("the terminal UI was closed; summing up")
    show.stop.set()
    feeder.join(timeout=10)
    if show.error:
        narrate(f"submitting stopped: {show.error}")
        return None
    return asyncio.run(_summary(show))


async def _summary(show: Show) -> Summary:
    async with Client(show.url, show.key) as client:
        return await summarise(client, show.submitted)


def narrate(text: str) -> None:
    """Narration goes to stderr; stdout is the summary."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


def trace_rows() -> list[dict[str, str]]:
    """The slice of the Philly trace that ships with the package; its source and licence lie beside it."""
    return list(csv.DictReader((Path(__file__).parent / "demo_data" / TRACE).read_text().splitlines()))


def job_body(row: dict[str, str]) -> dict[str, Any]:
    """A job of the trace as a small real process that holds its slots for its compressed run time."""
    seconds = int(row["duration_s"]) / SPEED
    gpus = int(float(row["gpus"]))
    script = f"echo {row['job_id']} holds {gpus} slots for {seconds:.2f} s; sleep {seconds:.3f}; echo done"
    return {
        "name": row["job_id"],
        "command": ["sh", "-c", script],
        "resources": {"cpus": SLOT_CPUS * gpus},
        "max_duration": f"{max(4, round(2 * seconds + 2))}s",
        "labels": {"gpus": str(gpus)},
    }


async def feed(show: Show) -> None:
    """Submit the trace in compressed time, each job with the key of its tenant."""
    try:
        rows = trace_rows()
        show.total = len(rows)
        async with Client(show.url, show.key) as admin:
            keys = {name: (await admin.add_key(f"{name}-demo", ["submit"], tenant=name)).secret for name in TENANTS}
        clients = {name: Client(show.url, key) for name, key in keys.items()}
        start = asyncio.get_running_loop().time()
        for index, row in enumerate(rows):
            while (left := start + int(row["submit_s"]) / SPEED - asyncio.get_running_loop().time()) > 0:
                if show.stop.is_set():
                    return
                await asyncio.sleep(min(left, 0.25))
            await clients[TENANTS[index % len(TENANTS)]].submit(job_body(row), idempotency_key=row["job_id"])
            show.submitted += 1
        for client in clients.values():
            await client.aclose()
    except Exception as error:  # noqa: BLE001 - told to the person by the main thread
        if not show.stop.is_set():
            show.error = f"{type(error).__name__}: {error}"


async def watch(show: Show) -> None:
    """Without a terminal: say what happens, answer nothing, and return when it is over."""
    seen: set[str] = set()
    start = asyncio.get_running_loop().time()
    async with Client(show.url, show.key) as client:
        while (now := asyncio.get_running_loop().time() - start) < LONGEST_S and not show.error:
            snapshot = await client.snapshot()
            for line in reversed(snapshot.log):
                mark = f"{line.seq}"
                if mark not in seen and line.verb not in QUIET:
                    narrate(f"{now:5.1f}s  {line.actor:<6} {line.verb:<10} {line.text}")
                seen.add(mark)
            blocked = sum(budget.blocked_jobs for budget in snapshot.budgets)
            fed = show.total > 0 and show.submitted == show.total
            idle = snapshot.running == 0 and snapshot.queued <= blocked
            expired = any(proposal.state == "expired" for proposal in snapshot.decided)
            if fed and idle and not snapshot.approvals and (expired or now > 2 * LONGEST_S / 3):
                return
            await asyncio.sleep(1.0)
