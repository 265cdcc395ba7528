"""A restart from the ledger alone: verify the chain of a million events, fold them, check the invariants.

No snapshot is used: that is the slowest start there is, and the one that proves everything.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import msgspec

from agentorch.core.decide import decide
from agentorch.core.invariants import breaches
from agentorch.core.state import State
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.events import Event
from agentorch.model.jobs import Cause
from agentorch.runtime.fold import fold
from benchmarks import rig
from benchmarks.measure import Size, Table, in_turns, rate

SEGMENT = 256
PARTS = ("open: verify the chain, check the file", "fold: read, verify, decode, evolve", "check the invariants")


async def run(size: Size) -> Table:
    events = size.of(1_000_000, 50_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "ledger.db"
        await write(path, events)
        parts: list[tuple[float, ...]] = []

        async def restart() -> float:
            parts.append(await timed_restart(path, events))
            return sum(parts[-1])

        contenders: dict[str, Callable[[], Awaitable[float]]] = {
            "restart, verified": restart,
            "limit: sha256 and JSON decoding of the same bytes, twice": lambda: bare(path),
        }
        found = await in_turns(contenders, size.rounds)
    rows = [row(name, values, events) for name, values in found.items()]
    rows[1:1] = [
        row(f"of it {name}", list(values), events) for name, values in zip(PARTS, zip(*parts, strict=True), strict=True)
    ]
    return Table(
        name="fold",
        question=f"How long does a verified restart from a ledger of {events:,} events take?",
        columns=["", "seconds", "events/s"],
        rows=rows,
        notes=[
            f"Jobs of four events each, {SEGMENT} events a commit; median of {size.rounds} runs in turns. The chain is "
            "verified twice: before anything is believed, and again as it is folded. The limit decodes into untyped "
            "objects in one thread.",
        ],
    )


def row(name: str, seconds: list[float], events: int) -> list[str]:
    return [name, f"{median(seconds):.2f}", rate(events / median(seconds))]


async def timed_restart(path: Path, events: int) -> tuple[float, ...]:
    """Seconds of each part."""
    ledger = SqliteLedger(path)
    marks = [time.perf_counter()]
    await ledger.open()
    marks.append(time.perf_counter())
    state = await fold(ledger, snapshots=False)
    marks.append(time.perf_counter())
    broken = breaches(state)
    marks.append(time.perf_counter())
    await ledger.close()
    assert not broken and state.facts.seq == events, broken
    return tuple(later - earlier for earlier, later in itertools.pairwise(marks))


async def bare(path: Path) -> float:
    """Seconds to do the least that any verified fold must, on bodies that are in memory already."""
    ledger = SqliteLedger(path, read_only=True)
    await ledger.open()
    bodies = [segment.body async for segment in ledger.segments()]
    await ledger.close()
    decode = msgspec.json.Decoder().decode
    began = time.perf_counter()
    for body in bodies:
        hashlib.sha256(body).digest()
    for body in bodies:
        hashlib.sha256(body).digest()
        decode(body)
    return time.perf_counter() - began


async def write(path: Path, count: int) -> None:
    """A ledger of exactly so many events: jobs that were submitted, started and ended well, as the core decides it."""
    ledger = SqliteLedger(path)
    await ledger.open()
    state = State()
    events: list[Event] = []
    now_ms = 1_800_000_000_000
    for command in rig.configuration("at-once", 1_000):
        events.extend(decide(state, command, now_ms)[0])
    written = 0
    while written < count:
        now_ms += 1
        events.extend(lives(state, now_ms))
        while len(events) >= SEGMENT or written + len(events) >= count > written:
            part, events = events[: min(SEGMENT, count - written)], events[min(SEGMENT, count - written) :]
            await ledger.commit(part, now_ms)
            written += len(part)
    await ledger.close()


def lives(state: State, now_ms: int) -> list[Event]:
    """The whole lives of 64 jobs."""
    events: list[Event] = []
    for index in range(64):
        events.extend(decide(state, rig.submission(index), now_ms)[0])
    events.extend(decide(state, cmd.Schedule(), now_ms)[0])
    for job in list(state.facts.running):
        end = cmd.ReportEnded(
            job=job, attempt=1, cause=Cause.completed, started_ms=now_ms, ended_ms=now_ms, exit_code=0
        )
        events.extend(decide(state, end, now_ms)[0])
    return events


if __name__ == "__main__":
    print(asyncio.run(run(Size(rounds=1, quick=False))).markdown())
