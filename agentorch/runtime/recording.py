"""A ledger looked at as of some sequence: what replay, time travel and the terminal UI on a file are served from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agentorch.core.evolve import evolve
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.ledger.contract import Ledger
from agentorch.model import limits
from agentorch.model.commands import Command
from agentorch.model.events import CycleObserved, Event
from agentorch.model.observation import DeviceSample
from agentorch.runtime.broadcast import Batch
from agentorch.runtime.fold import decode, encode
from agentorch.runtime.source import Verification
from agentorch.runtime.verification import verify

#: A state is kept every so many events, so that stepping backwards refolds at most this many.
KEPT_EVERY = 2_000


class Recording:
    """Fulfils `runtime.source.Source`, read-only: every question that would change something is refused."""

    read_only = True

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.name = name
        self.ledger = ledger
        self.events: list[Event] = []
        self._state = State()
        self._kept: dict[int, bytes] = {0: encode(self._state.facts)}
        self._head = ""
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Read and fold the whole ledger. Raises LedgerCorrupt at the first sequence that can't be trusted."""
        info = await self.ledger.open()
        self._head = info.head_hash
        async for batch in self.ledger.read():
            for seq, event in batch:
                self.events.append(event)
                evolve(self._state, event)
                if seq % KEPT_EVERY == 0:
                    self._kept[seq] = encode(self._state.facts)

    async def close(self) -> None:
        self._closed.set()
        await self.ledger.close()

    def state_at(self, seq: int) -> State:
        """The state as of a sequence number, 0 to the last. Raises Refused("invalid") beyond."""
        if not 0 <= seq <= len(self.events):
            raise Refused("invalid", f"sequence must be 0 to {len(self.events)}, not {seq}")
        current = self._state.facts.seq
        start = max(kept for kept in self._kept if kept <= seq)
        if not start <= current <= seq:
            self._state = State(decode(self._kept[start]))
        while self._state.facts.seq < seq:
            evolve(self._state, self.events[self._state.facts.seq])
        return self._state

    def seq_at(self, at_ms: int) -> int:
        """The newest sequence number whose event happened at or before a time."""
        low, high = 0, len(self.events)
        while low < high:
            middle = (low + high) // 2
            if self.events[middle].at_ms <= at_ms:
                low = middle + 1
            else:
                high = middle
        return low

    # -- Source

    def now_ms(self) -> int:
        return self._state.facts.at_ms

    async def view(self, at: int | None = None) -> State:
        return self.state_at(len(self.events) if at is None else at)

    async def settled(self) -> None:
        """A recording is durable."""

    @property
    def last_seq(self) -> int:
        return len(self.events)

    @property
    def head_hash(self) -> str:
        return self._head

    async def ask(self, command: Command) -> Any:
        raise Refused("conflict", "this is a recording: nothing can be changed in it")

    async def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        return [await self.ask(command) for command in commands]

    async def follow(self, after: int) -> AsyncIterator[Batch]:
        for start in range(after, len(self.events), limits.PAGE_MAX):
            chunk = self.events[start : start + limits.PAGE_MAX]
            yield [(start + index + 1, event) for index, event in enumerate(chunk)]
        while not self._closed.is_set():
            try:
                async with asyncio.timeout(limits.SSE_HEARTBEAT_MS / 1000):
                    await self._closed.wait()
            except TimeoutError:
                yield []

    def devices(self) -> tuple[DeviceSample, ...]:
        for event in reversed(self.events[: self._state.facts.seq]):
            if isinstance(event, CycleObserved):
                return event.observation.devices
        return ()

    def device_history(self, device: str) -> list[DeviceSample]:
        return [
            sample
            for event in self.events[: self._state.facts.seq]
            if isinstance(event, CycleObserved)
            for sample in event.observation.devices
            if sample.id == device
        ][-limits.HISTORY_POINTS :]

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        raise Refused("not_found", "a ledger file holds no logs; they lie beside it, in attempts/")

    async def verify(self) -> Verification:
        return await verify(self.ledger)
