"""Events to commit, and what a test reads back."""

from __future__ import annotations

from agentorch.ledger.contract import Ledger
from agentorch.model.events import AlertRaised, Event, JobSubmitted, PoolPaused
from agentorch.model.jobs import JobSpec


def event(number: int, text: str = "") -> Event:
    """One of three kinds, different for each number."""
    if number % 3 == 0:
        return AlertRaised(at_ms=number, code=f"code-{number}", text=text, by="test")
    if number % 3 == 1:
        return PoolPaused(at_ms=number, pool=f"pool-{number}", paused=number % 2 == 0, by="test", reason=text)
    spec = JobSpec(name=f"name-{number}", command=("echo", text))
    return JobSubmitted(at_ms=number, job=f"job-{number}", number=number, tenant="default", spec=spec, by="test")


def events(first: int, count: int, text: str = "") -> list[Event]:
    return [event(number, text) for number in range(first, first + count)]


async def contents(ledger: Ledger, after: int = 0, upto: int | None = None) -> list[tuple[int, Event]]:
    return [pair async for batch in ledger.read(after, upto) for pair in batch]


async def fill(ledger: Ledger, counts: list[int], text: str = "") -> int:
    """One commit per count, of events numbered like their sequence. Returns the last sequence."""
    last = (await ledger.info()).last_seq
    for at_ms, count in enumerate(counts):
        last = await ledger.commit(events(last + 1, count, text), at_ms)
    return last
