"""Durable events for whoever follows: the past from the ledger, then live from a bounded ring in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from agentorch.ledger.contract import Ledger
from agentorch.model import limits
from agentorch.model.events import Event

Batch = list[tuple[int, Event]]


class Broadcast:
    """One writer, many followers. A follower that falls out of the ring reads the ledger until it is back in it."""

    def __init__(self, ledger: Ledger, last_seq: int) -> None:
        self._ledger = ledger
        self._ring: deque[tuple[int, Event]] = deque(maxlen=limits.SSE_BACKLOG_EVENTS)
        self._news = asyncio.Event()
        self.last_seq = last_seq
        self.closed = False

    def publish(self, first_seq: int, events: Sequence[Event]) -> None:
        """Called by the committer once these are durable."""
        self._ring.extend(enumerate(events, first_seq))
        self.last_seq = first_seq + len(events) - 1
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, after: int) -> AsyncIterator[Batch]:
        """Events with sequence > `after`; an empty batch when nothing happened for a heartbeat's time."""
        while not self.closed:
            if after < self.last_seq:
                batch = self._from_ring(after)
                if batch is None:
                    async for past in self._ledger.read(after=after, upto=self.last_seq):
                        after = past[-1][0]
                        yield past
                    continue
                after = batch[-1][0]
                yield batch
                continue
            news = self._news
            try:
                # Not wait_for: before Python 3.12 it swallows a cancellation that arrives together with the news.
                async with asyncio.timeout(limits.SSE_HEARTBEAT_MS / 1000):
                    await news.wait()
            except TimeoutError:
                yield []

    def _from_ring(self, after: int) -> Batch | None:
        """What the ring has after this sequence, or None when it no longer reaches back that far."""
        if not self._ring or self._ring[0][0] > after + 1:
            return None
        start = after + 1 - self._ring[0][0]
        return [self._ring[index] for index in range(start, min(len(self._ring), start + limits.PAGE_MAX))]
