"""The stream of ended attempts that every executor tells: at least once, in order, resumable by cursor."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from agentorch.model import limits
from agentorch.model.attempts import AttemptStatus


class EventStream:
    """Numbers statuses from 1 and keeps them for followers.

    What was told is kept for a while, for a follower that resumes; what was told to nobody is always kept. Longer
    memory is not needed: the verdicts themselves lie in the attempt directories.
    """

    def __init__(self) -> None:
        self._events: deque[AttemptStatus] = deque()
        self._last = 0
        self._told = 0
        self._closed = False
        self._news = asyncio.Event()

    @property
    def told(self) -> int:
        """Cursor of the last status that any follower has had."""
        return self._told

    def publish(self, status: AttemptStatus) -> int:
        """Tell it; returns its cursor."""
        self._last += 1
        self._events.append(msgspec.structs.replace(status, cursor=self._last))
        while len(self._events) > limits.EXECUTOR_EVENTS_KEPT and self._events[0].cursor <= self._told:
            self._events.popleft()
        self._wake()
        return self._last

    def untold(self) -> set[str]:
        """Attempts whose end no follower has got yet."""
        return {status.id for status in self._after(self._told)}

    def close(self) -> None:
        """Followers get what is left, then end."""
        self._closed = True
        self._wake()

    async def follow(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        """Everything after `cursor` that is still kept, then what comes, until the stream is closed."""
        while True:
            news = self._news
            for status in self._after(cursor):
                cursor = status.cursor
                self._told = max(self._told, cursor)
                yield status
            if cursor >= self._last:
                if self._closed:
                    return
                await news.wait()

    def _after(self, cursor: int) -> list[AttemptStatus]:
        if not self._events:
            return []
        skip = max(0, cursor + 1 - self._events[0].cursor)
        return [self._events[index] for index in range(skip, len(self._events))]

    def _wake(self) -> None:
        # A new event for the next wait: every follower that waits on the old one wakes, and none can miss it.
        self._news.set()
        self._news = asyncio.Event()
