"""An executor behind a bad network: what is said to it takes time, arrives twice or late, or seems to have failed.

A message that is under way outlives whoever sent it. The machine behind runs on true time and stamps with the wall
clock, as real ones do; it runs on while nobody is connected.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.fake import FakeExecutor, FakeMachine, Script
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.simulation.faults.clock import JumpingClock

T = TypeVar("T")

LOOK_S: Final = 1.0  # how often the way to a machine that was cut off is tried


class Weather(msgspec.Struct, kw_only=True):
    """How bad it is: chances per message, and how long things take. All zero: a network without faults."""

    latency_ms: tuple[int, int] = (0, 0)  # shortest and longest
    stuck: float = 0.0  # it takes fifty times as long
    unsent: float = 0.0  # the message never left, and the sender hears of it
    unheard: float = 0.0  # it was done, and the answer got lost
    twice: float = 0.0  # the end of an attempt is told once more, later
    late_ms: int = 0  # the end of an attempt may be told so much later, and so in any order


async def _undisturbed() -> None:
    """Nobody dies."""


class Machine:
    """What outlives the runtime: a machine, the way to it, and the messages that are on it.

    `launched` hears of each attempt that begins to run, and `stopping` of each that is told to stop, as it happens.
    `passing` is awaited while something is on its way, and after it was answered: who says it may die there.
    """

    def __init__(
        self,
        clock: JumpingClock,
        chance: random.Random,
        script: Script,
        *,
        launched: Callable[[AttemptSpec], None] = lambda spec: None,
        stopping: Callable[[str], None] = lambda attempt: None,
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.weather = Weather()
        self.inner = FakeMachine()
        self.cut = False  # no message gets through
        self.launched = launched
        self.stopping = stopping
        self.passing: Callable[[], Awaitable[None]] = _undisturbed
        self._script = script
        self._connected: FakeExecutor | None = None
        self._alone = self._executor("alone")  # turns the machine while nobody is connected
        self._news = asyncio.Event()
        self._messages: set[asyncio.Task[Any]] = set()
        self.task: asyncio.Task[None] | None = None

    def _executor(self, name: str) -> FakeExecutor:
        return FakeExecutor(self.clock.true_ms, script=self._begins, machine=self.inner, name=name)

    def _begins(self, spec: AttemptSpec) -> Any:
        self.launched(spec)
        return self._script(spec)

    @property
    def driver(self) -> FakeExecutor:
        """Through whom nodes and attempts can be made to fail."""
        return self._connected or self._alone

    def connect(self, name: str) -> FakeExecutor:
        """For a new incarnation of the runtime."""
        self._connected = self._executor(name)
        return self._connected

    def disconnect(self, executor: FakeExecutor) -> None:
        if self._connected is executor:
            self._connected = None

    def poke(self) -> None:
        """Something may be due earlier than it was."""
        self._news.set()

    def start(self) -> None:
        self.task = asyncio.create_task(self._turn(), name="machine")

    async def _turn(self) -> None:
        while True:
            self._news.clear()
            self.driver.advance()
            due_ms = self.driver.next_due_ms()
            try:
                async with asyncio.timeout(None if due_ms is None else max(0, due_ms - self.clock.true_ms()) / 1000):
                    await self._news.wait()
            except TimeoutError:
                continue

    def send(self, message: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Done after a while, also when the sender is gone by then; the result is its answer."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def travel() -> None:
            stuck = self.chance.random() < self.weather.stuck
            await asyncio.sleep(self.chance.randint(*self.weather.latency_ms) * (50 if stuck else 1) / 1000)
            try:
                if self.cut:
                    raise NodeUnreachable("the machine does not answer")
                result = await message()
            except ExecutorError as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)
            self.poke()

        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # the sender may be gone by then
        task = asyncio.create_task(travel())
        self._messages.add(task)
        task.add_done_callback(self._messages.discard)
        return answer


class SimulatedExecutor:
    """Keeps `agentorch.executors.contract.Executor`, for one incarnation of the runtime. `kill` it with that one."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine
        self._inner = machine.connect(name)
        self._told: asyncio.Queue[AttemptStatus | None] = asyncio.Queue()
        self._doubtful: dict[str, None] = {}  # asked about while cut off: what became of them is to be told
        self._tasks: list[asyncio.Task[None]] = []
        self._dead = False

    def kill(self) -> None:
        """Its process is gone: it says and hears nothing more, but what is under way arrives."""
        self._dead = True
        self.machine.disconnect(self._inner)
        for task in self._tasks:
            task.cancel()

    # -- the contract

    async def open(self, epoch: int) -> None:
        await self._inner.open(epoch)
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._look())]

    async def nodes(self) -> list[NodeInfo]:
        listed = await self._ask(self._inner.nodes)
        return [self._stamped(node) for node in listed]

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        return [self._dated(status) for status in await self._ask(lambda: self._inner.launch(attempts))]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        self.machine.stopping(attempt)
        await self._ask(lambda: self._inner.stop(attempt, reason, grace_ms))

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        if self.machine.cut:
            self._doubtful.update(dict.fromkeys(attempts))
            return [AttemptStatus(id=attempt, phase=AttemptPhase.running) for attempt in attempts]
        return [self._dated(status) for status in await self._inner.inspect(attempts)]

    async def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        while (status := await self._told.get()) is not None:
            yield status

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        return await self._ask(lambda: self._inner.logs(attempt, stream, offset, limit))

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        await self._ask(lambda: self._inner.scale(pool, target, remove))

    async def close(self) -> None:
        if self._dead:
            return
        self.kill()
        self._told.put_nowait(None)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inner.close()

    # -- the network

    async def _ask(self, message: Callable[[], Awaitable[T]]) -> T:
        weather, chance = self.machine.weather, self.machine.chance
        if chance.random() < weather.unsent:
            raise ExecutorError(f"{self.name}: the message could not be sent")
        answered = self.machine.send(message)
        await self.machine.passing()
        answer = await answered
        await self.machine.passing()
        if chance.random() < weather.unheard:
            raise ExecutorError(f"{self.name}: no answer came")
        return answer

    async def _hear(self) -> None:
        """Ends of attempts, each when the network lets it through."""
        async for status in self._inner.events():
            self._tell(status, self.machine.chance.randint(0, self.machine.weather.late_ms))
            if self.machine.chance.random() < self.machine.weather.twice:
                self._tell(status, self.machine.chance.randint(0, 10 * self.machine.weather.late_ms))

    def _tell(self, status: AttemptStatus, after_ms: int) -> None:
        asyncio.get_running_loop().call_later(after_ms / 1000, self._arrive, self._dated(status))

    def _arrive(self, status: AttemptStatus) -> None:
        if self._dead:
            return  # whoever comes next asks
        if self.machine.cut:
            self._tell(status, round(LOOK_S * 1000))
        else:
            self._told.put_nowait(status)

    async def _look(self) -> None:
        """What was not known while the machine was cut off is told once it is known."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._doubtful and not self.machine.cut:
                doubtful, self._doubtful = list(self._doubtful), {}
                try:
                    found = await self._inner.inspect(doubtful)
                except ExecutorError:
                    return  # a newer incarnation has opened the machine, and asks itself
                for status in found:
                    if status.phase is AttemptPhase.absent:
                        status = msgspec.structs.replace(
                            status, phase=AttemptPhase.lost, ended_ms=self.machine.clock.true_ms()
                        )
                    if status.phase is not AttemptPhase.running:
                        self._tell(status, 0)

    # -- clocks

    def _dated(self, status: AttemptStatus) -> AttemptStatus:
        """As the machine's wall clock showed it."""
        wall = self.machine.clock.wall_ms
        return msgspec.structs.replace(
            status,
            started_ms=None if status.started_ms is None else wall(status.started_ms),
            ended_ms=None if status.ended_ms is None else wall(status.ended_ms),
        )

    def _stamped(self, node: NodeInfo) -> NodeInfo:
        wall = self.machine.clock.wall_ms
        samples = tuple(msgspec.structs.replace(sample, at_ms=wall(sample.at_ms)) for sample in node.samples)
        notice_ms = None if node.notice_ms is None else wall(node.notice_ms)
        devices = tuple(f"{node.id}/{device}" for device in node.devices)  # no two nodes have the same one
        return msgspec.structs.replace(node, samples=samples, notice_ms=notice_ms, devices=devices)
