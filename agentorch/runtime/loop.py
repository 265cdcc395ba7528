"""The loop: commands in, events out, one commit at a time, and nothing leaves before its commit.

Memory may be ahead of the disk; acknowledgements, reads, followers and effects never are. While one commit is on its
way to the disk, everything that arrives gathers into the next: the batch adapts to the disk without a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from agentorch import __version__
from agentorch.core.decide import decide
from agentorch.core.instruct import Instruction, instruction
from agentorch.core.invariants import breaches
from agentorch.core.state import State
from agentorch.errors import LedgerCorrupt, LedgerError, LedgerFailed, Refused, RuntimeStopped
from agentorch.ledger.contract import Ledger
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event
from agentorch.runtime.broadcast import Batch, Broadcast
from agentorch.runtime.clock import Clock
from agentorch.runtime.fold import digest, encode, fold, snapshot_schema

#: How often time is looked at: expiries, extensions and back-offs are at most this late.
TICK_S = 0.5
#: With more jobs in memory, encoding a snapshot would stall the loop noticeably: only an orderly close writes one then.
SNAPSHOT_LIVE_JOBS = 20_000

#: Commands that people and executors give use a lane of their own: a flood of submits never shuts them out.
_SUBMITS = (cmd.SubmitJob,)


class Loop:
    """State, committer and ticker. `perform` is handed the instructions of each commit once it is durable."""

    def __init__(self, ledger: Ledger, clock: Clock, perform: Callable[[list[Instruction]], None]) -> None:
        self.ledger = ledger
        self.clock = clock
        self.state = State()
        self.durable_seq = 0
        self.commits = 0
        self.head_hash = ""
        self.failure: BaseException | None = None
        self.stopped = asyncio.Event()  # set when it has failed or closed
        self._perform = perform
        self._pending: list[Event] = []
        self._in_flight = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._snapshot_seq = 0
        self.broadcast: Broadcast

    # -- life

    async def open(self) -> int:
        """Fold the ledger, check it, and begin a new incarnation; returns its epoch, durable.

        Raises LedgerLocked, LedgerCorrupt, LedgerTooNew.
        """
        self.head_hash = (await self.ledger.open()).head_hash
        self.state = await fold(self.ledger)
        broken = breaches(self.state)
        if broken:
            raise LedgerCorrupt(self.state.facts.seq, f"the state breaks its invariants: {'; '.join(broken[:5])}")
        self.durable_seq = self._snapshot_seq = self.state.facts.seq
        self.broadcast = Broadcast(self.ledger, self.durable_seq)
        self._tasks = [asyncio.create_task(self._commit_loop(), name="committer")]
        epoch = await self.ask(cmd.StartRuntime(version=__version__))
        assert isinstance(epoch, int)
        return epoch

    def start(self) -> None:
        """Begin to schedule: call it once recovery has told the truth about every attempt."""
        self._tasks.append(self.watched(asyncio.create_task(self._tick_loop(), name="ticker")))

    async def close(self) -> None:
        """Record the orderly end, write a snapshot, and let go of the ledger. Running work goes on."""
        for task in self._tasks[1:]:
            task.cancel()
        if self.failure is None and self._tasks:
            with contextlib.suppress(RuntimeStopped):
                await self.ask(cmd.CloseRuntime())
        self._closing = True
        self._work.set()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.failure is None and self._tasks:
            await self._save_snapshot()
        self._fail_waiters(RuntimeStopped("the runtime is closing"))
        if self._tasks:
            self.broadcast.close()
        self.stopped.set()
        await self.ledger.close()

    async def abandon(self) -> None:
        """Drop everything at once, as a crash would: nothing is recorded, nothing is written. For simulation."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.fail(RuntimeStopped("the runtime was abandoned"))
        await self.ledger.close()

    # -- asking

    def now_ms(self) -> int:
        """The clock's time, but never before the newest event: the ledger's time does not run backwards."""
        return max(self.clock.now_ms(), self.state.facts.at_ms)

    async def ask(self, command: cmd.Command) -> Any:
        """Decide a command; return its result once its events are durable. Raises Refused, RuntimeStopped."""
        result = self.take(command)
        # Also a command that changed nothing rests on what it read, so it waits for that to be durable.
        await self.settled()
        return result

    async def ask_all(self, commands: Sequence[cmd.Command]) -> list[Any]:
        """Decide many commands with one wait for the disk: results in order, a Refused in the place of its command.

        Raises RuntimeStopped.
        """
        results: list[Any] = []
        for command in commands:
            try:
                results.append(self.take(command))
            except Refused as refused:
                results.append(refused)
        await self.settled()
        return results

    def take(self, command: cmd.Command) -> Any:
        """Decide a command at once. Whoever lets its result out awaits `settled` first. Raises as `ask` does."""
        self._admit(command)
        events, result = decide(self.state, command, self.now_ms())
        if events:
            self._pending.extend(events)
            self._work.set()
        return result

    def _admit(self, command: cmd.Command) -> None:
        if self.failure is not None or self._closing:
            raise RuntimeStopped("the runtime has stopped; nothing is accepted") from self.failure
        waiting = len(self._pending) + self._in_flight
        room = limits.UNDURABLE_EVENTS_MAX - (limits.RESERVED_LANE_EVENTS if isinstance(command, _SUBMITS) else 0)
        if waiting >= room:
            raise Refused("overloaded", f"{waiting} events wait for the disk; try again in a second", retry_after_s=1)

    async def settled(self) -> None:
        """Return once everything in memory now is durable. Raises RuntimeStopped."""
        seq = self.state.facts.seq
        if seq <= self.durable_seq:
            return
        if self.failure is not None:
            raise RuntimeStopped("the runtime has stopped: a commit failed") from self.failure
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, future))
        await future

    def follow(self, after: int) -> AsyncIterator[Batch]:
        """Durable events after a sequence, and then as they come."""
        return self.broadcast.follow(after)

    # -- committing

    async def _commit_loop(self) -> None:
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                self._dispatch()
                while self._pending:
                    await self._commit(self._pending)
                    self._dispatch()
                if self._closing:
                    return
        except LedgerError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - a defect in the core must stop the runtime, never be lived with
            self.fail(error)

    def _dispatch(self) -> None:
        """One scheduling pass over what the newest events made possible; its starts join the next commit."""
        if self._closing or len(self._tasks) < 2:
            return
        events, _ = decide(self.state, cmd.Schedule(), self.now_ms())
        self._pending.extend(events)

    async def _commit(self, events: list[Event]) -> None:
        batch, self._pending = events[: limits.COMMIT_EVENTS_MAX], events[limits.COMMIT_EVENTS_MAX :]
        self._in_flight = len(batch)
        last = await self.ledger.commit(batch, self.clock.now_ms())
        self._in_flight = 0
        self.head_hash = (await self.ledger.info()).head_hash
        self.commits += 1
        self.durable_seq = last
        while self._waiters and self._waiters[0][0] <= last:
            _, future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)
        self.broadcast.publish(last - len(batch) + 1, batch)
        orders = [order for event in batch if (order := instruction(event)) is not None]
        if orders:
            self._perform(orders)
        await self._maybe_snapshot()

    def fail(self, error: BaseException) -> None:
        """Fail-stop: what is not durable never happened, and nothing more is accepted."""
        self.failure = error
        self._fail_waiters(RuntimeStopped(f"the runtime has stopped: {error}"))
        self.broadcast.close()
        self.stopped.set()

    def watched(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """A task that must not die unnoticed: a defect in it stops the runtime instead of leaving half of one."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.fail(error)

        task.add_done_callback(ended)
        return task

    def _fail_waiters(self, error: RuntimeStopped) -> None:
        while self._waiters:
            _, future = self._waiters.popleft()
            if not future.done():
                future.set_exception(error)

    async def _maybe_snapshot(self) -> None:
        facts = self.state.facts
        due = facts.seq - self._snapshot_seq >= limits.SNAPSHOT_EVERY_EVENTS
        if due and not self._pending and facts.seq == self.durable_seq and len(facts.jobs) <= SNAPSHOT_LIVE_JOBS:
            await self._save_snapshot()

    async def _save_snapshot(self) -> None:
        facts = self.state.facts
        if facts.seq == self._snapshot_seq or facts.seq != self.durable_seq:
            return
        self._snapshot_seq = facts.seq
        body = encode(facts)
        with contextlib.suppress(LedgerFailed):  # a snapshot only saves time; the failure shows at the next commit
            await self.ledger.save_snapshot(facts.seq, snapshot_schema(), digest(body), body)

    # -- time

    async def _tick_loop(self) -> None:
        while True:
            try:
                await self.ask(cmd.Tick())
            except Refused:
                pass  # full for a moment; the next tick does it
            except RuntimeStopped:
                return
            self._work.set()  # sleepers may have woken: let a scheduling pass look
            await self.clock.wait(TICK_S)
