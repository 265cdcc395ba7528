"""Watches the nodes of executors and performs the orders for more or fewer of them. Nothing here decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from agentorch.core.instruct import Resize, resizes_to_repeat
from agentorch.errors import ExecutorError, Refused, RuntimeStopped
from agentorch.executors.contract import Executor
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.observation import DeviceSample

if TYPE_CHECKING:
    from agentorch.runtime.loop import Loop

log = logging.getLogger(__name__)


class SampleKeeper(Protocol):
    def absorb(self, samples: Sequence[DeviceSample]) -> None: ...


class Fleet:
    """One watcher and one queue of orders per executor, so that a slow one keeps nobody waiting."""

    def __init__(self, executors: Mapping[str, Executor], samples: SampleKeeper) -> None:
        self._executors = dict(executors)
        self._samples = samples
        self._orders: dict[str, dict[str, Resize]] = {name: {} for name in executors}  # by node type, merged
        self._news: dict[str, asyncio.Event] = {name: asyncio.Event() for name in executors}
        self._problems: dict[str, str] = {}
        self._looking: dict[str, asyncio.Lock] = {}  # so that no older look is told after a newer one
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: Loop

    def attach(self, loop: Loop) -> None:
        self._loop = loop

    # -- life

    async def look(self, executors: Iterable[str]) -> None:
        """Report the nodes of these executors now, as far as they can be known."""
        for name in executors:
            async with self._looking.setdefault(name, asyncio.Lock()):
                await self._report(name)

    def elastic(self) -> set[str]:
        """Executors of pools whose workers live on nodes, and of nodes that are still known."""
        facts = self._loop.state.facts
        pools = {pool.spec.executor for pool in facts.pools.values() if pool.spec.elastic}
        return pools | {node.executor for node in facts.nodes.values()}

    def repeat(self) -> None:
        """Give again what was ordered before a restart: it may never have been performed, and twice does no harm."""
        self.perform(resizes_to_repeat(self._loop.state.facts))

    def start(self) -> None:
        watchers = [self._watch(name) for name in sorted({*self._executors, *self.elastic()})]
        for work in (*watchers, *(self._work(name) for name in self._executors)):
            self._tasks.append(self._loop.watched(asyncio.create_task(work)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- nodes

    async def _watch(self, name: str) -> None:
        try:
            while True:
                pause_ms = limits.NODES_AWAITED_POLL_MS if self._expects(name) else limits.NODES_POLL_MS
                await self._loop.clock.wait(pause_ms / 1000)
                if name in self.elastic():
                    await self.look([name])
        except RuntimeStopped:
            return

    def _expects(self, name: str) -> bool:
        """Whether nodes of the executor are to come or to go."""
        facts = self._loop.state.facts
        coming = any(group.executor == name and group.since_ms is not None for group in facts.node_groups.values())
        return coming or any(node.executor == name and node.released for node in facts.nodes.values())

    async def _report(self, name: str) -> None:
        """What the core knows already is no event. While an executor can't say, its nodes take nothing new.

        The nodes of one that is not configured any more are nobody's, and go.
        """
        executor = self._executors.get(name)
        try:
            nodes = await executor.nodes() if executor is not None else []
        except (ExecutorError, OSError) as error:
            text = f"the nodes of {name} are not known just now: {error}"
            self._complain(name, text)
            await self._told(cmd.DoubtNodes(executor=name, problem=text))
            return
        self._samples.absorb([sample for node in nodes for sample in node.samples])
        bare = tuple(msgspec.structs.replace(node, samples=()) for node in nodes)
        problem = await self._told(cmd.ReportNodes(executor=name, nodes=bare))
        if not problem:
            self._problems.pop(name, None)
        elif self._complain(name, f"some nodes can't be used: {problem}"):
            with contextlib.suppress(Refused):  # full just now; the log has it
                self._loop.take(cmd.RaiseAlert(code="nodes-refused", text=self._problems[name], by="runtime"))

    async def _told(self, report: cmd.ReportNodes | cmd.DoubtNodes) -> str | None:
        """What the core says to it. What does not fit just now is told at the next look."""
        try:
            answer: str | None = await self._loop.ask(report)
        except Refused as error:
            log.info("%s", error)  # full just now
            return None
        return answer

    def _complain(self, name: str, text: str) -> bool:
        """Log it unless it was said just before; whether it was not."""
        if self._problems.get(name) == text:
            return False
        self._problems[name] = text
        log.warning("%s", text)
        return True

    # -- orders

    def perform(self, orders: Iterable[Resize]) -> None:
        """Called with the instructions of a durable commit. Of several for one type the newest number counts."""
        for order in orders:
            waiting = self._orders.get(order.executor)
            if waiting is None:
                log.warning("executor %s is not configured any more: its nodes stay as they are", order.executor)
                continue
            earlier = waiting.get(order.node_type)
            if earlier is not None:
                remove = tuple(dict.fromkeys([*self._still_going(earlier.remove), *order.remove]))
                order = msgspec.structs.replace(order, remove=remove)
            waiting[order.node_type] = order
            self._news[order.executor].set()

    def _still_going(self, names: Iterable[str]) -> tuple[str, ...]:
        """Without nodes that were taken back while the order waited: they may have work again."""
        nodes = self._loop.state.facts.nodes
        return tuple(name for name in names if name not in nodes or nodes[name].released)

    async def _work(self, name: str) -> None:
        waiting, news = self._orders[name], self._news[name]
        try:
            while True:
                if not waiting:
                    news.clear()
                    await news.wait()
                await self._resize(waiting.pop(next(iter(waiting))))
        except RuntimeStopped:
            return

    async def _resize(self, order: Resize) -> None:
        remove = self._still_going(order.remove)
        target = order.nodes + len(order.remove) - len(remove)
        order = msgspec.structs.replace(order, nodes=target, remove=remove)
        try:
            await self._executors[order.executor].scale(order.node_type, order.nodes, order.remove)
        except (ExecutorError, OSError) as error:
            log.warning("%d nodes of type %s could not be had: %s", order.nodes, order.node_type, error)
            report = cmd.ReportProvisioning(
                executor=order.executor, node_type=order.node_type, error=str(error), remove=order.remove
            )
            await self._tell(report)

    async def _tell(self, report: cmd.ReportProvisioning) -> None:
        while True:
            try:
                await self._loop.ask(report)
            except Refused as error:
                await self._loop.clock.wait(error.retry_after_s or 1.0)
            else:
                return
