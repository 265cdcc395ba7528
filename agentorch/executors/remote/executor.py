"""The executor of many machines: the contract over a transport that only carries bytes.

What is true of an attempt is known on its node, or follows from the node's lease. Here it is kept which node that is,
what was told, and who is to be asked. One link to each node does the rest; they share nothing but the epoch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from agentorch.errors import EpochOver, ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.executors.records import STREAMS
from agentorch.executors.remote.archive import Archive
from agentorch.executors.remote.link import NodeLink, report_defect
from agentorch.executors.remote.tenure import remember_lease
from agentorch.executors.remote.terms import Terms
from agentorch.executors.remote.transport import Member, Transport
from agentorch.executors.stream import EventStream
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause

log = logging.getLogger(__name__)

_LEASE: Final = "lease_s"
_ARCHIVE: Final = "archive"
_MEMBERS_EVERY_S: Final = 1.0
_ENGINE_PATIENCE_S: Final = 10.0

Value = TypeVar("Value")


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _time_of_day_ms() -> int:
    return time.time_ns() // 1_000_000


def _nowhere(_attempt: str) -> str | None:
    return None


class RemoteExecutor:
    """Keeps `agentorch.executors.contract.Executor` over the nodes of `transport`.

    `directory` is on the runtime's side and outlives it: archived logs, and how long leases may be that it gave.
    `placement` says on which node an attempt was ordered, as the ledger has it: for attempts of earlier runtimes.
    Work on a node that does not answer ends after `lease_s` at most, and is told lost `margin_s` after that.
    `clock_s` goes on while the machine sleeps; `clock_ms` is the time of day. Calls wait for a node's answer for
    `patience_s` at most; what was not answered by then is `running` until more is known.
    """

    def __init__(
        self,
        transport: Transport,
        directory: Path,
        *,
        name: str = "remote",
        placement: Callable[[str], str | None] = _nowhere,
        lease_s: float = limits.LEASE_MS / 1_000,
        margin_s: float = limits.LEASE_MARGIN_MS / 1_000,
        patience_s: float = 10.0,
        clock_s: Callable[[], float] = _boottime_s,
        clock_ms: Callable[[], int] = _time_of_day_ms,
    ) -> None:
        if not 0 < lease_s <= limits.LEASE_MAX_MS / 1_000:
            raise ExecutorError(f"{name}: a lease is at most {limits.LEASE_MAX_MS / 1_000:g} s long, not {lease_s:g} s")
        self.name = name
        self._transport = transport
        self._directory = directory
        self._placement = placement
        self._lease_s = lease_s
        self._margin_s = margin_s
        self._patience_s = patience_s
        self._clock_s = clock_s
        self._clock_ms = clock_ms
        self._archive = Archive(directory / _ARCHIVE)
        self._stream = EventStream()
        self._links: dict[str, NodeLink] = {}
        self._engine_answered = False
        self._released: set[str] = set()
        self._where: dict[str, str] = {}  # attempt -> node, of those launched by this runtime
        self._told: dict[str, AttemptStatus] = {}
        self._over: ExecutorError | None = ExecutorError("the executor is not open")
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the contract

    async def open(self, epoch: int) -> None:
        if self._over is None:
            raise ExecutorError("this executor is open already")
        earlier_s = await asyncio.to_thread(self._remember_lease)
        self._safe_s = self._clock_s() + earlier_s
        self._terms = Terms(
            transport=self._transport,
            epoch=epoch,
            control=secrets.token_hex(8),
            lease_s=self._lease_s,
            margin_s=self._margin_s,
            clock_s=self._clock_s,
            clock_ms=self._clock_ms,
        )
        await self._transport.open()
        self._over = None
        try:
            await self._look_for_members()
        except ExecutorError as error:
            log.warning("%s: %s", self.name, error)  # the watch goes on asking
        self._later(self._watch())
        await self._wait([asyncio.ensure_future(link.answered.wait()) for link in self._links.values()])
        try:
            self._require_open()
        except EpochOver:
            await self._let_go()
            raise

    async def nodes(self) -> list[NodeInfo]:
        self._require_open()
        if not self._engine_answered:
            raise NodeUnreachable(f"{self.name}: the engine has not said yet which nodes there are")
        reports = [link.report() for link in self._links.values()]
        for link in [link for link in self._links.values() if self._is_gone(link)]:
            # Told lost and now told down: nothing is left to say of it.
            del self._links[link.member.id]
            self._later(link.close())
        return [report for report in reports if report is not None]

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        self._require_open()
        found: dict[str, AttemptStatus] = {}
        answers: dict[str, asyncio.Future[AttemptStatus]] = {}
        for spec in attempts:
            told = self._told.get(spec.id)
            link = self._link_for(spec.node)
            if told is not None:
                found[spec.id] = told
            elif link is None or link.state is NodeState.down:
                found[spec.id] = self._unplaced(spec)
            else:
                self._remember(self._where, spec.id, link.member.id)
                answers[spec.id] = link.launch(spec)
        await self._wait(answers.values())
        self._require_open()
        for attempt, answer in answers.items():
            found[attempt] = answer.result() if answer.done() else _running(attempt)
        return [found[spec.id] for spec in attempts]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        self._require_open()
        if reason not in set(Cause):
            raise ExecutorError(f"attempt {attempt}: can't stop it for {reason!r}; a reason is one of {list(Cause)}")
        if attempt in self._told:
            return
        link = self._link_of(attempt)
        if link is None:
            self.tell(self._unstarted(attempt, Cause(reason)), "")
            return
        answer = link.stop(attempt, reason, max(0, min(grace_ms, limits.STOP_GRACE_CAP_MS)))
        await self._wait([answer])
        self._require_open()
        if answer.done():
            answer.result()

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        self._require_open()
        found: dict[str, AttemptStatus] = {}
        by_link: dict[NodeLink, list[str]] = {}
        for attempt in attempts:
            told = self._told.get(attempt)
            link = self._link_of(attempt)
            if told is not None and (link is None or told.phase is not AttemptPhase.ended):
                found[attempt] = told
            elif link is None:
                # Never ordered anywhere, so no node can start it; this runtime will not either.
                self._remember(self._told, attempt, AttemptStatus(id=attempt, phase=AttemptPhase.absent))
                found[attempt] = self._told[attempt]
            else:
                by_link.setdefault(link, []).append(attempt)
        for statuses in await asyncio.gather(*(link.inspect(asked) for link, asked in by_link.items())):
            found.update((status.id, status) for status in statuses)
        return [found[attempt] for attempt in attempts]

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        return self._stream.follow(cursor)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        self._require_open()
        if stream not in STREAMS:
            raise ExecutorError(f"attempt {attempt}: no log {stream!r}; there are {list(STREAMS)}")
        offset, limit = max(0, offset), max(0, min(limit, limits.LOG_PAGE_BYTES))
        node = self._node_of(attempt)
        link = self._links.get(node) if node else None
        unreachable: NodeUnreachable | None = None
        if link is not None and link.state is NodeState.up:
            try:
                page = await link.logs(attempt, stream, offset, limit)
                return page.data, page.following, page.whole
            except NodeUnreachable as error:
                unreachable = error  # maybe it is just being released: its logs are kept here by then
        kept = await asyncio.to_thread(self._archive.read, attempt, stream, offset, limit)
        if kept is not None:
            return kept
        if unreachable is not None:
            raise unreachable
        if link is not None and link.state is NodeState.suspect:
            raise NodeUnreachable(f"attempt {attempt}: its node {node} does not answer just now: {link.problem}")
        if node:
            raise ExecutorError(f"attempt {attempt}: its log was on node {node}, which is gone")
        raise ExecutorError(f"attempt {attempt}: unknown to {self.name}")

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        """`pool` is the type of node. Logs on nodes that are to go are fetched first."""
        self._require_open()
        for node in remove:
            link = self._links.get(node)
            if link is not None and link.believed:
                busy = ", ".join(sorted(link.believed)[:3])
                raise ProvisioningError(f"node {node} can't be released: {busy} may still run there")
        going = [link for node in remove if (link := self._links.get(node)) is not None]
        await asyncio.gather(*(self._archive_node(link) for link in going))
        await self._transport.resize(pool, target, remove)
        for link in going:
            if link.believed:
                continue  # work was sent there meanwhile: what becomes of it is told when the lease is over
            self._released.add(link.member.id)
            self._links.pop(link.member.id, None)
            await link.close()

    async def close(self) -> None:
        if self._over is None or isinstance(self._over, EpochOver):
            await self._let_go()

    # -- what links say

    def tell(self, status: AttemptStatus, node: str) -> None:
        """See `Owner.tell`: told further once."""
        if status.id in self._told:
            return
        self._remember(self._told, status.id, status, limits.EXECUTOR_EVENTS_KEPT)
        self._stream.publish(status)
        link = self._links.get(node)
        if link is not None and link.member.notice_ms is not None and link.state is NodeState.up:
            self._later(self._archive.take(link, status.id))  # before its provider takes the node

    def over(self, error: EpochOver) -> None:
        """See `Owner.over`."""
        self._over = error
        for link in self._links.values():
            link.refuse(error)

    # -- nodes

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_MEMBERS_EVERY_S)
            try:
                await self._look_for_members()
            except ExecutorError as error:
                # The engine, not the nodes: what they do is seen by calling them.
                log.warning("%s: the engine can't be asked for its nodes: %s", self.name, error)

    async def _look_for_members(self) -> None:
        try:
            async with asyncio.timeout(_ENGINE_PATIENCE_S):
                listed = {member.id: member for member in await self._transport.members()}
        except TimeoutError as error:
            raise NodeUnreachable(f"no answer within {_ENGINE_PATIENCE_S:g} s") from error
        self._engine_answered = True
        for node, member in listed.items():
            if node in self._released:
                continue
            link = self._links.get(node)
            if link is None:
                self._add_link(member)
                continue
            noticed = link.member.notice_ms is None and member.notice_ms is not None
            link.engine_says(member)
            if noticed:
                self._later(self._archive_node(link))
        for node, link in self._links.items():
            if node not in listed:
                link.engine_says(None)

    def _add_link(self, member: Member, *, listed: bool = True) -> NodeLink:
        link = self._links[member.id] = NodeLink(member, self, self._terms, self._safe_s)
        link.listed = listed
        link.start()
        return link

    def _is_gone(self, link: NodeLink) -> bool:
        return link.state is NodeState.down and not link.listed and not link.believed

    def _link_for(self, node: str) -> NodeLink | None:
        """Of that node; of the only one there is, if none is named."""
        if node:
            return self._links.get(node)
        return next(iter(self._links.values())) if len(self._links) == 1 else None

    def _node_of(self, attempt: str) -> str:
        if attempt in self._where:
            return self._where[attempt]
        node = self._placement(attempt)
        if not node and len(self._links) == 1:
            node = next(iter(self._links))
        return node or ""

    def _link_of(self, attempt: str) -> NodeLink | None:
        """Of the node where the attempt was ordered; None = nowhere, or on one that was released.

        A node that the engine does not list may still run it: it has a link until its leases are certainly over.
        """
        node = self._node_of(attempt)
        if not node or node in self._released:
            return None
        return self._links.get(node) or self._add_link(Member(id=node), listed=False)

    # -- logs that outlive their node

    async def _archive_node(self, link: NodeLink) -> None:
        here = [attempt for attempt, node in self._where.items() if node == link.member.id]
        await self._archive.take_all(link, link.member.id, here, link.believed)

    # -- small things

    def _remember_lease(self) -> float:
        """How long leases of earlier runtimes may be, in seconds; from now on this one's too."""
        try:
            self._archive.open()
            return remember_lease(self._directory / _LEASE, self._lease_s)
        except (OSError, ValueError) as error:
            raise ExecutorError(f"{self.name}: can't use {self._directory}: {error}") from error

    async def _let_go(self) -> None:
        self._over = ExecutorError("the executor is not open")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(link.close() for link in self._links.values()), return_exceptions=True)
        self._links.clear()
        self._stream.close()
        await self._transport.close()

    def _require_open(self) -> None:
        if self._over is not None:
            raise type(self._over)(*self._over.args)

    async def _wait(self, answers: Iterable[asyncio.Future[Value]]) -> None:
        pending = set(answers)
        if pending:
            await asyncio.wait(pending, timeout=self._patience_s)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        report_defect(task)

    def _remember(
        self, memory: dict[str, Value], key: str, value: Value, most: int = limits.FINISHED_JOBS_KEPT
    ) -> None:
        memory[key] = value
        if len(memory) > most:
            del memory[next(iter(memory))]

    def _unplaced(self, spec: AttemptSpec) -> AttemptStatus:
        where = f"node {spec.node} is not there" if spec.node else "no node was named for it"
        return AttemptStatus(
            id=spec.id,
            phase=AttemptPhase.lost,
            cause=Cause.no_capacity,
            message=f"{where}: nothing was started",
            ended_ms=self._clock_ms(),
        )

    def _unstarted(self, attempt: str, cause: Cause) -> AttemptStatus:
        return AttemptStatus(
            id=attempt,
            phase=AttemptPhase.ended,
            cause=cause,
            message="stopped before it started",
            ended_ms=self._clock_ms(),
        )


def _running(attempt: str) -> AttemptStatus:
    return AttemptStatus(id=attempt, phase=AttemptPhase.running)
