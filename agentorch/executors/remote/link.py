"""One node as the runtime sees it: its lease, and what is believed to run there.

A keeper renews the lease, a follower waits for ends, a courier carries orders. None of them waits for another node.

`up` while the newest renewal was answered. `suspect` from a failure on, or when the engine says that the node is gone;
for such a one no renewal is sent. `down` when the lease is certainly over: then, and not before, its attempts are told
lost. A node that comes back after that is up again only when nothing of what was told lost can run there: before that
no lease is renewed, because a new one could spare what the old one is about to kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from agentorch.errors import EpochOver, ExecutorError, NodeUnreachable
from agentorch.executors.remote import wire
from agentorch.executors.remote.courier import Courier
from agentorch.executors.remote.tenure import Tenure
from agentorch.executors.remote.terms import Terms
from agentorch.executors.remote.transport import Member
from agentorch.executors.remote.wire import AgentRefused, Why
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause

Reply = TypeVar("Reply", bound=msgspec.Struct)


class Owner(Protocol):
    """Who has the links: the executor."""

    def tell(self, status: AttemptStatus, node: str) -> None:
        """This attempt has ended, or is lost; told as often as it is heard."""

    def over(self, error: EpochOver) -> None:
        """A newer runtime has taken over."""


class NodeLink:
    """Everything between the runtime and one node. `close` leaves the node as it is.

    `safe_s` is when every lease that earlier runtimes gave it is over.
    """

    def __init__(self, member: Member, owner: Owner, terms: Terms, safe_s: float) -> None:
        self.member = member
        self.listed = True  # by the engine
        self.state = NodeState.suspect
        self.problem = "it has not answered yet"
        self.believed: set[str] = set()  # may run there
        self.answered = asyncio.Event()  # it was up at least once, has refused, or is gone
        self._owner = owner
        self._terms = terms
        self._tenure = Tenure(safe_s)
        self._courier = Courier(self)
        self._news: wire.Renewed | None = None
        self._news_ms = 0
        self._incarnation = ""
        self._unsettled: set[str] = set()  # told lost, not yet seen to have ended
        self._cursor = 0
        self._wake = asyncio.Event()
        self._doubted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=f"node-{self.member.id}")
        self._keeper.add_done_callback(report_defect)

    async def close(self) -> None:
        tasks = [task for task in (self._keeper, self._follower) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._courier.close(ExecutorError("the executor is not open"))

    def refuse(self, error: EpochOver) -> None:
        """A newer runtime has taken over: whoever waits for this node is told so."""
        self.answered.set()
        self._courier.refuse(error)

    # -- what the executor asks for

    def launch(self, spec: AttemptSpec) -> asyncio.Future[AttemptStatus]:
        """Its status when the node has answered, or `running` when the node turns out not to."""
        self.believed.add(spec.id)
        return self._courier.launch(spec)

    def stop(self, attempt: str, reason: str, grace_ms: int) -> asyncio.Future[None]:
        """Done when the node has it durably, or is in doubt; it is kept, and said again, until the node has it."""
        self.believed.add(attempt)
        return self._courier.stop(wire.StopOrder(attempt=attempt, reason=reason, grace_ms=grace_ms))

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        """The truth, or `running` for what can't be known now: then it is found out when the node answers."""
        found = {attempt: AttemptStatus(id=attempt, phase=AttemptPhase.running) for attempt in attempts}
        # Believed first: if the lease ends meanwhile, they are told lost like all others.
        self.believed.update(attempts)
        waiting = self._courier.waiting()
        if self.state is NodeState.up:
            try:
                statuses = await self._inspect([attempt for attempt in found if attempt not in waiting], self.work)
            except EpochOver:
                raise
            except ExecutorError:
                self.failed()
            else:
                for status in statuses:
                    found[status.id] = status
                    if status.phase is not AttemptPhase.running:
                        self.believed.discard(status.id)
        return [found[attempt] for attempt in attempts]

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> wire.LogPage:
        """Raises NodeUnreachable, or AgentRefused with the node's words."""
        return await self.work(wire.LogPage, "logs", attempt=attempt, stream=stream, offset=offset, limit=limit)

    async def attempts(self) -> list[str]:
        """Every attempt that has a directory there. Raises as `logs` does."""
        return (await self.work(wire.Listed, "list")).attempts

    def report(self) -> NodeInfo | None:
        """The node as it is now; None = it has told nothing yet."""
        if self._news is None:
            return None
        return msgspec.structs.replace(
            self._news.info,
            type=self.member.type,
            address=self.member.address,
            labels=self.member.labels,
            notice_ms=self.member.notice_ms,
            state=self.state,
            problem=self.problem,
            samples=tuple(
                msgspec.structs.replace(aged.sample, at_ms=self._news_ms - aged.age_ms, node=self.member.id)
                for aged in self._news.samples
            ),
        )

    def engine_says(self, member: Member | None) -> None:
        """What the engine lists of it now; None = nothing any more."""
        before = self._is_alive()
        self.listed = member is not None
        self.member = member or self.member
        if self._is_alive() != before:
            self._wake.set()

    def _is_alive(self) -> bool:
        return self.listed and self.member.alive

    # -- the lease

    async def _keep(self) -> None:
        while True:
            pause_s = self._terms.retry_s
            try:
                if not self._is_alive():
                    self.answered.set()
                    raise NodeUnreachable(f"the engine says that node {self.member.id} is gone")
                if not self._incarnation:
                    await self._join()
                await self._renew()
                self._set_up()
                pause_s = self._terms.renew_every_s
            except EpochOver:
                return
            except ExecutorError as error:
                self._doubt(error)
            self._judge()
            await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _join(self) -> None:
        """Open this incarnation of the agent, and settle what is believed of it. Raises ExecutorError."""
        terms = self._terms
        opened = await self._ask(wire.Opened, "open", wire.Open(epoch=terms.epoch, control=terms.control), terms.work_s)
        if self._follower is not None:
            self._follower.cancel()
        self._tenure.begin(opened.clock_ns, opened.deadline_ns, terms.clock_s())
        self._cursor = 0
        self._incarnation = opened.incarnation
        try:
            await self._settle()
            for status in await self._inspect(sorted(self.believed - self._courier.waiting()), self._work):
                if status.phase is AttemptPhase.absent:
                    why = "never started: node {} did not answer for a while"
                    self.end(self._lost(status.id, Cause.requeued, why))
                elif status.phase is not AttemptPhase.running:
                    self.end(status)
        except BaseException:
            self._incarnation = ""
            raise
        self._courier.restart()

    async def _settle(self) -> None:
        """What was told lost must not be able to run before anything may. Raises NodeUnreachable until that is so."""
        running = []
        for status in await self._inspect(sorted(self._unsettled), self._work):
            if status.phase is AttemptPhase.running:
                running.append(wire.StopOrder(attempt=status.id, reason=Cause.node_lost, grace_ms=0))
            else:
                self._unsettled.discard(status.id)
        if running:
            await self._work(wire.Nothing, "stop", orders=running)
            raise NodeUnreachable(f"node {self.member.id} is back; {len(running)} of its lost attempts still end")

    async def _renew(self) -> None:
        terms = self._terms
        ask = wire.Renew(
            epoch=terms.epoch,
            incarnation=self._incarnation,
            echo_ns=self._tenure.promise(terms.lease_s),
            seconds=terms.lease_s,
        )
        self._news = await self._ask(wire.Renewed, "renew", ask, terms.call_s)
        self._tenure.heard(self._news.clock_ns, terms.clock_s())
        self._news_ms = terms.clock_ms()

    def _set_up(self) -> None:
        if self.state is not NodeState.up or self._follower is None or self._follower.done():
            if self._follower is not None:
                self._follower.cancel()  # a poll from before may hang
            self._follower = asyncio.create_task(self._follow(), name=f"ends-{self.member.id}")
        self.state, self.problem = NodeState.up, ""
        self._doubted.clear()
        self.answered.set()
        self._courier.go()

    def _doubt(self, error: ExecutorError) -> None:
        self.problem = str(error)
        if self.state is NodeState.up:
            self.state = NodeState.suspect
        self._doubted.set()
        self._courier.doubt()

    def _judge(self) -> None:
        """Tell what can't be running any more, once that is certain."""
        if self.state is NodeState.up or not self._tenure.is_over(self._terms.clock_s(), self._terms.margin_s):
            return
        self.state = NodeState.down
        self._incarnation = ""
        lost = sorted(self.believed)
        self._unsettled.update(lost)
        for attempt in lost:
            self.end(self._lost(attempt, Cause.node_lost, "node_lost: node {} does not answer, and its lease is over"))

    def failed(self) -> None:
        """A call has failed: nothing more is sent until the keeper has spoken to the node."""
        self._courier.hold()
        self._wake.set()

    # -- ends

    def end(self, status: AttemptStatus) -> None:
        """This attempt runs no more."""
        self.believed.discard(status.id)
        self._courier.end(status)
        self._owner.tell(status, self.member.id)

    def _lost(self, attempt: str, cause: Cause, message: str) -> AttemptStatus:
        return AttemptStatus(
            id=attempt,
            phase=AttemptPhase.lost,
            cause=cause,
            message=message.format(self.member.id),
            ended_ms=self._terms.clock_ms(),
        )

    async def _follow(self) -> None:
        poll_s = self._terms.poll_s
        while True:
            try:
                ask = wire.Follow(
                    epoch=self._terms.epoch, incarnation=self._incarnation, cursor=self._cursor, wait_s=poll_s
                )
                page = await self._ask(wire.Statuses, "events", ask, poll_s + self._terms.call_s)
            except EpochOver:
                return
            except ExecutorError:
                self.failed()  # the keeper finds out what it means, and starts another follower
                return
            for status in page.statuses:
                self._cursor = status.cursor
                self.end(status)

    # -- calls

    @property
    def echo_ns(self) -> int:
        return self._tenure.echo_ns

    @property
    def retry_s(self) -> float:
        return self._terms.retry_s

    async def work(self, kind: type[Reply], method: str, **fields: Any) -> Reply:
        """One call in this incarnation, given up as soon as the node is in doubt.

        Raises EpochOver, AgentRefused, NodeUnreachable, ExecutorError.
        """
        call = asyncio.ensure_future(self._work(kind, method, **fields))
        doubt = asyncio.ensure_future(self._doubted.wait())
        try:
            await asyncio.wait({call, doubt}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
            raise NodeUnreachable(f"node {self.member.id} does not answer: {self.problem}")
        finally:
            call.cancel()
            doubt.cancel()

    async def _work(self, kind: type[Reply], method: str, **fields: Any) -> Reply:
        question = wire.METHODS[method][0](epoch=self._terms.epoch, incarnation=self._incarnation, **fields)
        return await self._ask(kind, method, question, self._patience_s())

    def _patience_s(self) -> float:
        """Long enough for real work, but while the node is in doubt no longer than until that is decided."""
        terms = self._terms
        if self.state is not NodeState.suspect or not self.believed:
            return terms.work_s
        return max(terms.call_s, min(terms.work_s, self._tenure.safe_s + terms.margin_s - terms.clock_s()))

    async def _inspect(
        self, attempts: Sequence[str], ask: Callable[..., Awaitable[wire.Statuses]]
    ) -> list[AttemptStatus]:
        found: list[AttemptStatus] = []
        for start in range(0, len(attempts), limits.NODE_PAGE):
            page = list(attempts[start : start + limits.NODE_PAGE])
            found += (await ask(wire.Statuses, "inspect", attempts=page)).statuses
        return found

    async def _ask(self, kind: type[Reply], method: str, question: msgspec.Struct, patience_s: float) -> Reply:
        node = self.member.id
        data = await self._terms.transport.call(node, method, wire.encode(question), patience_s)
        try:
            return wire.opened(kind, data)
        except AgentRefused as refused:
            if refused.why is Why.not_open and getattr(question, "incarnation", "") == self._incarnation:
                self._incarnation = ""
            if refused.why is not Why.epoch_over:
                raise
            over = EpochOver(str(refused))
            self._owner.over(over)
            raise over from refused


def report_defect(task: asyncio.Task[None]) -> None:
    """A task that fails is a defect; if it was a keeper, its node's work ends with the lease: the log says so."""
    if not task.cancelled() and task.exception() is not None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "part of an executor of other nodes has failed", "exception": task.exception(), "task": task}
        )
