"""What is still to be said to one node: launches and stops, in batches, said again until they are answered.

A call that got no answer may have been carried out. Saying it again is harmless: an attempt starts once, and a stop
can only hurry. Orders wait while the node is in doubt; who gave them is answered then, and the end is told later.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from agentorch.errors import EpochOver, ExecutorError
from agentorch.executors.remote import wire
from agentorch.executors.remote.wire import AgentRefused, Why
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus

Reply = TypeVar("Reply", bound=msgspec.Struct)


class Line(Protocol):
    """The way to the node: the link."""

    async def work(self, kind: type[Reply], method: str, **fields: Any) -> Reply:
        """One call that may take long. Raises EpochOver, AgentRefused, ExecutorError."""

    def end(self, status: AttemptStatus) -> None:
        """An answer has said that this attempt runs no more."""

    def failed(self) -> None:
        """A call has failed: `Courier.go` is called when the node has been spoken to."""

    @property
    def echo_ns(self) -> int: ...

    @property
    def retry_s(self) -> float: ...


@dataclasses.dataclass(eq=False, kw_only=True)
class _Order:
    """`answer` is for whoever gave it, and may come before the node's."""

    answer: asyncio.Future[Any] = dataclasses.field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sent: bool = False


@dataclasses.dataclass(eq=False)
class _Launch(_Order):
    spec: AttemptSpec


@dataclasses.dataclass(eq=False)
class _Stop(_Order):
    order: wire.StopOrder


class Courier:
    def __init__(self, line: Line) -> None:
        self._line = line
        self._launches: dict[str, _Launch] = {}
        self._stops: list[_Stop] = []
        self._may_send = False
        self._deliveries: set[asyncio.Task[None]] = set()

    # -- orders

    def launch(self, spec: AttemptSpec) -> asyncio.Future[AttemptStatus]:
        """Its status when the node has answered, or `running` when the node is in doubt."""
        order = self._launches.get(spec.id)
        if order is None:
            order = self._launches[spec.id] = _Launch(spec)
            self._push()
        return order.answer

    def stop(self, order: wire.StopOrder) -> asyncio.Future[None]:
        """Done when the node has it durably, or is in doubt."""
        stop = _Stop(order)
        self._stops.append(stop)
        self._push()
        return stop.answer

    def waiting(self) -> set[str]:
        """Attempts about which the node has still to be told something: their truth is not known there yet."""
        return {*self._launches, *(stop.order.attempt for stop in self._stops)}

    def end(self, status: AttemptStatus) -> None:
        """It runs no more: nothing about it is to be said to the node any more."""
        launch = self._launches.pop(status.id, None)
        if launch is not None:
            _resolve(launch.answer, status)
        for stop in [stop for stop in self._stops if stop.order.attempt == status.id]:
            self._stops.remove(stop)
            _resolve(stop.answer, None)

    # -- when they may go out

    def go(self) -> None:
        """The node has just answered."""
        self._may_send = True
        self._push()

    def hold(self) -> None:
        self._may_send = False

    def doubt(self) -> None:
        """Nobody knows when the node will answer: who waits need not."""
        self.hold()
        for launch in self._launches.values():
            _resolve(launch.answer, _running(launch.spec.id))
        for stop in self._stops:
            _resolve(stop.answer, None)

    def restart(self) -> None:
        """Another incarnation of the agent: what was under way to the last one is to be said again."""
        for task in self._deliveries:
            task.cancel()
        for order in self._orders():
            order.sent = False

    async def close(self, error: ExecutorError) -> None:
        """Whoever still waits gets the error."""
        self.hold()
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        self.refuse(error)

    def refuse(self, error: ExecutorError) -> None:
        self.hold()
        for order in self._orders():
            if not order.answer.done():
                order.answer.set_exception(error)
                order.answer.exception()  # nobody has to be listening
        self._launches.clear()
        self._stops.clear()

    def _orders(self) -> list[_Order]:
        return [*self._launches.values(), *self._stops]

    # -- sending

    def _push(self) -> None:
        """Send what waits, as long as calls are free. Stops first: what is stopped need not start."""
        while self._may_send and len(self._deliveries) < limits.NODE_CALLS_AT_ONCE:
            work: Coroutine[Any, Any, None]
            stops = [stop for stop in self._stops if not stop.sent][: limits.DISPATCH_PER_PASS]
            launches = [launch for launch in self._launches.values() if not launch.sent][: limits.DISPATCH_PER_PASS]
            if stops:
                work = self._deliver_stops(stops)
            elif launches:
                work = self._deliver_launches(launches)
            else:
                return
            for order in stops or launches:
                order.sent = True
            task = asyncio.create_task(work)
            self._deliveries.add(task)
            task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Nobody awaits this: the loop's handler logs it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "orders could not be delivered", "exception": task.exception(), "task": task}
            )
        self._push()

    async def _deliver_launches(self, batch: list[_Launch]) -> None:
        try:
            specs = [launch.spec for launch in batch]
            reply = await self._line.work(wire.Statuses, "launch", echo_ns=self._line.echo_ns, attempts=specs)
        except EpochOver:
            return  # the link has told it to everybody
        except ExecutorError as error:
            await self._again(batch, error)
            return
        for launch, status in zip(batch, reply.statuses, strict=True):
            if self._launches.get(status.id) is not launch:
                continue  # it was told lost meanwhile
            del self._launches[status.id]
            _resolve(launch.answer, status)
            if status.phase is not AttemptPhase.running:
                self._line.end(status)

    async def _deliver_stops(self, batch: list[_Stop]) -> None:
        try:
            await self._line.work(wire.Nothing, "stop", orders=[stop.order for stop in batch])
        except EpochOver:
            return
        except AgentRefused as refused:
            if refused.why is not Why.failed:
                await self._again(batch, refused)
                return
            for stop in batch:
                if not stop.answer.done():
                    stop.answer.set_exception(refused)
                    stop.answer.exception()
        except ExecutorError as error:
            await self._again(batch, error)
            return
        for stop in batch:
            if stop in self._stops:
                self._stops.remove(stop)
            _resolve(stop.answer, None)

    async def _again(self, batch: list[_Launch] | list[_Stop], error: ExecutorError) -> None:
        self.hold()
        self._line.failed()
        if isinstance(error, AgentRefused) and error.why is Why.failed:
            await asyncio.sleep(self._line.retry_s)  # the node answers, and can't: a full disk, say
        for order in batch:
            order.sent = False


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _running(attempt: str) -> AttemptStatus:
    """It may run: nobody can say more just now."""
    return AttemptStatus(id=attempt, phase=AttemptPhase.running)
