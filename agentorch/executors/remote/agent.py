"""The agent of a node: the local executor, under a lease, for a runtime that is elsewhere.

It owns nothing that must survive it: attempt directories, the lease and the epoch are files below its root, and shims
live on without it. So it may be killed at any time; the next one, a new incarnation, is opened again and asked about
everything that is believed to run here.

All questions may come twice, late, or from a runtime whose epoch is over; METHODS in `wire.py` lists them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentorch.errors import EpochOver, ExecutorError
from agentorch.executors import lease
from agentorch.executors.attempt_dir import boot_id
from agentorch.executors.local import LocalExecutor
from agentorch.executors.records import EPOCH
from agentorch.executors.remote import wire
from agentorch.executors.remote.wire import AgentRefused, Why
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.jobs import Cause
from agentorch.model.observation import DeviceSample

log = logging.getLogger(__name__)


class Telemetry(Protocol):
    """The node's devices, stamped with `clock_ms` of the agent. `agentorch.telemetry.sampler.Sampler` is one."""

    def latest(self) -> tuple[DeviceSample, ...]: ...

    def energy_mj(self, devices: Sequence[str]) -> int | None: ...


class NoTelemetry:
    def latest(self) -> tuple[DeviceSample, ...]:
        return ()

    def energy_mj(self, devices: Sequence[str]) -> int | None:
        return None


class NodeAgent:
    """Answers `handle`, forever, concurrently. `root` outlives it; `telemetry` is stamped by `clock_ms`.

    `clock_ns` is the clock of leases, which goes on while the machine sleeps. The GPUs that telemetry shows when the
    node is opened are those that it offers; `offered` may make the whole machine less.
    """

    def __init__(
        self,
        root: Path,
        node: str,
        *,
        telemetry: Telemetry | None = None,
        offered: Callable[[NodeInfo], NodeInfo] = lambda info: info,
        clock_ms: Callable[[], int] = lambda: lease.now_ns() // 1_000_000,
        clock_ns: Callable[[], int] = lease.now_ns,
    ) -> None:
        self.node = node
        self._root = root / "attempts"
        self._telemetry = telemetry or NoTelemetry()
        self._offered = offered
        self._clock_ms = clock_ms
        self._clock_ns = clock_ns
        self._view: _View | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._deadline_ns = 0
        self._methods: dict[str, Callable[[Any], Awaitable[msgspec.Struct]]] = {
            "open": self._open,
            "renew": self._renew,
            "launch": self._launch,
            "stop": self._stop,
            "inspect": self._inspect,
            "events": self._events,
            "logs": self._logs,
            "list": self._list,
        }

    async def handle(self, method: str, body: bytes) -> bytes:
        """The answer to one question, refusals included; it does not raise, whatever it is asked."""
        try:
            if method not in self._methods:
                raise AgentRefused(Why.failed, f"node {self.node}: no method {method!r}: another version?")
            question = wire.decode(wire.METHODS[method][0], body)
            return wire.answer(await self._methods[method](question))
        except AgentRefused as refused:
            return wire.refusal(refused.why, str(refused))
        except EpochOver as over:
            return wire.refusal(Why.epoch_over, str(over))
        except (ExecutorError, OSError) as error:
            return wire.refusal(Why.failed, f"node {self.node}: {error}")
        except Exception as error:
            # A defect; but whoever asked must not wait for an answer that never comes.
            log.exception("%s", method)
            return wire.refusal(Why.failed, f"node {self.node}: {type(error).__name__}: {error}")

    async def close(self) -> None:
        """Stop serving; what runs goes on, until its lease is over."""
        async with self._opening:
            view, self._view = self._view, None
        if view is not None:
            await view.close()
        await asyncio.gather(*self._closing)

    @property
    def zygote_pid(self) -> int:
        """Of the process that forks the shims; 0 = there is none just now."""
        return self._view.executor.zygote_pid if self._view else 0

    def is_idle(self) -> bool:
        """Nothing is allowed to run here: the lease is over, or there has never been one."""
        return self._clock_ns() >= self._deadline_ns

    # -- the view of one runtime

    async def _open(self, ask: wire.Open) -> wire.Opened:
        async with self._opening:
            old = self._view
            if old is not None and old.epoch > ask.epoch:
                raise _over(self.node, ask.epoch, old.epoch)
            if old is None or (old.epoch, old.control) != (ask.epoch, ask.control):
                self._view = await self._new_view(ask)
                if old is not None:
                    # Its launches are refused already, by the epoch in the root: it may take its time.
                    task = asyncio.create_task(old.close())
                    self._closing.add(task)
                    task.add_done_callback(self._closing.discard)
            assert self._view is not None
            return wire.Opened(
                incarnation=self._view.incarnation, clock_ns=self._clock_ns(), deadline_ns=self._deadline_ns
            )

    async def _new_view(self, ask: wire.Open) -> _View:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._deadline_ns = max(self._deadline_ns, self._stored_deadline_ns())
        devices = self._telemetry.latest()
        executor = LocalExecutor(
            self._root, node=self.node, devices=devices, lease=True, energy=self._telemetry.energy_mj
        )
        await executor.open(ask.epoch)
        (info,) = await executor.nodes()
        return _View(ask.epoch, ask.control, executor, self._offered(info))

    def _viewed(self, epoch: int, incarnation: str) -> _View:
        """The view that the question is for. Raises AgentRefused if it is over."""
        view = self._view
        if view is not None and view.epoch > epoch:
            raise _over(self.node, epoch, view.epoch)
        if view is None or view.epoch != epoch or view.incarnation != incarnation:
            raise AgentRefused(Why.not_open, f"node {self.node}: its agent has started anew: open it again")
        return view

    # -- the lease

    def _stored_deadline_ns(self) -> int:
        return lease.stored_lease(str(self._root / lease.LEASE), boot_id())[0]

    def _stored_epoch(self) -> int:
        """Of whoever opened the root last: an agent that stood still may not be the last one any more."""
        return int((self._root / EPOCH).read_text(encoding="ascii"))

    async def _renew(self, ask: wire.Renew) -> wire.Renewed:
        view = self._viewed(ask.epoch, ask.incarnation)
        now_ns = self._clock_ns()
        if ask.echo_ns > now_ns or not 0 < ask.seconds * 1_000 <= limits.LEASE_MAX_MS:
            raise AgentRefused(Why.failed, f"node {self.node}: a lease of {ask.seconds} s after {ask.echo_ns} is none")
        if (epoch := self._stored_epoch()) != view.epoch:
            raise _over(self.node, view.epoch, epoch)
        deadline_ns = ask.echo_ns + int(ask.seconds * 1e9)
        self._deadline_ns = max(self._deadline_ns, self._stored_deadline_ns())
        if deadline_ns > self._deadline_ns:
            lease.write_lease(self._root, deadline_ns)
            self._deadline_ns = deadline_ns
        now_ms = self._clock_ms()
        samples = [
            wire.AgedSample(age_ms=max(0, now_ms - sample.at_ms), sample=sample) for sample in self._telemetry.latest()
        ]
        return wire.Renewed(clock_ns=now_ns, deadline_ns=self._deadline_ns, info=view.info, samples=samples)

    # -- attempts

    async def _launch(self, ask: wire.Launch) -> wire.Statuses:
        view = self._viewed(ask.epoch, ask.incarnation)
        now_ns = self._clock_ns()
        if now_ns - ask.echo_ns > limits.LAUNCH_LATE_MS * 1_000_000:
            raise AgentRefused(Why.late, f"node {self.node}: this launch was under way for too long")
        if now_ns + limits.LEASE_SPARE_MS * 1_000_000 >= self._deadline_ns:
            raise AgentRefused(Why.no_lease, f"node {self.node}: {lease.OVER}")
        try:
            statuses = await view.executor.launch(ask.attempts)
        except (ExecutorError, OSError) as error:
            self._viewed(ask.epoch, ask.incarnation)  # if it was closed meanwhile, that is why
            statuses = await view.after_failure(ask.attempts, error)
        return wire.Statuses(statuses=statuses)

    async def _stop(self, ask: wire.Stop) -> wire.Nothing:
        view = self._viewed(ask.epoch, ask.incarnation)
        stops = [view.executor.stop(order.attempt, order.reason, order.grace_ms) for order in ask.orders]
        results = await asyncio.gather(*stops, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return wire.Nothing()

    async def _inspect(self, ask: wire.Inspect) -> wire.Statuses:
        view = self._viewed(ask.epoch, ask.incarnation)
        return wire.Statuses(statuses=await view.executor.inspect(ask.attempts))

    async def _events(self, ask: wire.Follow) -> wire.Statuses:
        view = self._viewed(ask.epoch, ask.incarnation)
        ended = await view.ends_after(ask.cursor, max(0.0, min(ask.wait_s, limits.LONG_POLL_MS / 1_000)))
        self._viewed(ask.epoch, ask.incarnation)
        return wire.Statuses(statuses=ended)

    async def _logs(self, ask: wire.Logs) -> wire.LogPage:
        view = self._viewed(ask.epoch, ask.incarnation)
        data, following, whole = await view.executor.logs(ask.attempt, ask.stream, ask.offset, ask.limit)
        return wire.LogPage(data=data, following=following, whole=whole)

    async def _list(self, ask: wire.List) -> wire.Listed:
        self._viewed(ask.epoch, ask.incarnation)
        return wire.Listed(attempts=await asyncio.to_thread(_attempts_below, self._root))


class _View:
    """The node as one runtime has opened it: an executor of its epoch, and the ends that it has not heard yet."""

    def __init__(self, epoch: int, control: str, executor: LocalExecutor, info: NodeInfo) -> None:
        self.epoch = epoch
        self.control = control
        self.executor = executor
        self.info = info
        self.incarnation = secrets.token_hex(8)
        self._ended: deque[AttemptStatus] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._pump = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for status in self.executor.events():
            self._ended.append(status)
            self._news.set()

    async def ends_after(self, cursor: int, wait_s: float) -> list[AttemptStatus]:
        """Up to a page of them; waits for the first one. What is not after `cursor` has been heard: it is dropped."""
        while self._ended and self._ended[0].cursor <= cursor:
            self._ended.popleft()
        try:
            async with asyncio.timeout(wait_s):
                while not self._ended and not self._closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        return [self._ended[index] for index in range(min(len(self._ended), limits.NODE_PAGE))]

    async def after_failure(self, specs: Sequence[AttemptSpec], error: Exception) -> list[AttemptStatus]:
        """A launch failed: each attempt's own truth; what has not started is fenced, and another one may be made."""
        return [
            AttemptStatus(id=status.id, phase=AttemptPhase.lost, cause=Cause.no_capacity, message=str(error))
            if status.phase is AttemptPhase.absent
            else status
            for status in await self.executor.inspect([spec.id for spec in specs])
        ]

    async def close(self) -> None:
        self._closed = True
        self._news.set()  # who waits for events is refused now
        await self.executor.close()
        await self._pump


def _over(node: str, epoch: int, newer: int) -> EpochOver:
    return EpochOver(f"epoch {epoch} is over: node {node} was opened by epoch {newer}")


def _attempts_below(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
