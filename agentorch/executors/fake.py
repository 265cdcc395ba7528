"""An executor in memory: the same contract, driven by a script and a clock that somebody else turns.

For simulation and for tests of the floors above. It starts no process and reads no clock of its own; whoever turns the
clock calls `advance`. A `FakeMachine` outlives the executors on it, as a real machine outlives a runtime. Its nodes
come as `machine.nodes.offers` say, and go by `scale`, `lose_node` or when a `notice` runs out.
"""

from __future__ import annotations

import heapq
import signal
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.fake_nodes import FakeNodes
from agentorch.executors.records import STREAMS
from agentorch.executors.stream import EventStream
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause, Usage
from agentorch.model.observation import DeviceSample


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt behaves. `run_ms` None = it runs until somebody says otherwise."""

    run_ms: int | None = None
    exit_code: int | None = 0
    signal: int | None = None
    cause: Cause | None = None  # None = what exit code and signal say
    message: str = ""
    usage: Usage = Usage()
    stdout: bytes = b""
    stderr: bytes = b""
    heeds_stop: bool = True  # False: only KILL ends it, after the grace
    exec_error: str = ""  # not "": the program can't be executed


Script = Callable[[AttemptSpec], Plan]


class _Run(msgspec.Struct):
    spec: AttemptSpec
    plan: Plan
    status: AttemptStatus
    logs: dict[str, bytearray]
    ending: Plan | None = None  # what a stop, a timeout or the plan will make of it
    due_ms: int | None = None
    stopped_for: Cause | None = None  # the first stop's reason, which stays


class FakeMachine:
    """What survives the executor's process: attempts, fences, logs and the newest epoch."""

    def __init__(self) -> None:
        self.epoch = -1
        self.runs: dict[str, _Run] = {}
        self.verdicts: dict[str, AttemptStatus] = {}  # of attempts that never ran: fenced, or stopped before
        self.due: list[tuple[int, str]] = []
        self.nodes = FakeNodes()


def forever(_spec: AttemptSpec) -> Plan:
    """The script in which everything runs until it is finished or stopped."""
    return Plan()


class FakeExecutor:
    """Keeps `agentorch.executors.contract.Executor`. `clock` tells milliseconds; `script` is asked once an attempt."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        script: Script = forever,
        nodes: Sequence[NodeInfo] = (),
        machine: FakeMachine | None = None,
        name: str = "fake",
    ) -> None:
        self.name = name
        self.machine = machine or FakeMachine()
        self._clock = clock
        self._script = script
        for node in nodes:
            self.machine.nodes.there.setdefault(node.id, node)
        self._stream = EventStream()
        self._epoch: int | None = None

    # -- the contract

    async def open(self, epoch: int) -> None:
        if self.machine.epoch > epoch:
            raise ExecutorError(f"epoch {epoch} is over: epoch {self.machine.epoch} has opened this machine")
        self.machine.epoch = self._epoch = epoch

    async def nodes(self) -> list[NodeInfo]:
        if self.machine.nodes.silent:
            raise NodeUnreachable(self.machine.nodes.silent)
        self.machine.nodes.arrive(self._clock())
        return [msgspec.structs.replace(node, samples=self._sample(node)) for node in self.machine.nodes.there.values()]

    def _sample(self, node: NodeInfo) -> tuple[DeviceSample, ...]:
        """What runs there, as a share of its CPUs; a node that does not answer measures nothing."""
        if node.state in (NodeState.suspect, NodeState.down):
            return node.samples
        used = sum(run.spec.cpu_milli for run in self._running_on(node.id))
        busy = min(100.0, 100 * used / node.cpu_milli) if node.cpu_milli else None
        cpu = DeviceSample(id="cpu", kind="cpu", node=node.id, at_ms=self._clock(), utilization_percent=busy)
        return (cpu, *node.samples)

    def _running_on(self, node: str) -> list[_Run]:
        runs = self.machine.runs.values()
        return [run for run in runs if run.spec.node == node and run.status.phase is AttemptPhase.running]

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        self._require_epoch()
        return [self._launch(spec) for spec in attempts]

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        self._require_epoch()
        if reason not in set(Cause):
            raise ExecutorError(f"attempt {attempt}: can't stop it for {reason!r}; a reason is one of {list(Cause)}")
        run = self.machine.runs.get(attempt)
        if run is None:
            if attempt not in self.machine.verdicts:
                self._end_unstarted(attempt, Cause(reason), "stopped before it started")
        elif run.status.phase is AttemptPhase.running:
            self._stop(run, Cause(reason), grace_ms)

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        self._require_epoch()
        found = []
        for attempt in attempts:
            run = self.machine.runs.get(attempt)
            absent = AttemptStatus(id=attempt, phase=AttemptPhase.absent)
            found.append(run.status if run else self.machine.verdicts.setdefault(attempt, absent))
        return found

    def events(self, cursor: int = 0) -> AsyncIterator[AttemptStatus]:
        return self._stream.follow(cursor)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        self._require_epoch()
        if stream not in STREAMS:
            raise ExecutorError(f"attempt {attempt}: no log {stream!r}; there are {list(STREAMS)}")
        run = self.machine.runs.get(attempt)
        if run is None:
            if attempt in self.machine.verdicts:
                return b"", offset, True
            raise ExecutorError(f"attempt {attempt}: unknown here")
        text = run.logs[stream]
        data = bytes(text[offset : offset + min(limit, limits.LOG_PAGE_BYTES)])
        over = run.status.phase is not AttemptPhase.running
        return data, offset + len(data), over and offset + len(data) >= len(text)

    async def scale(self, pool: str, target: int, remove: Sequence[str]) -> None:
        self._require_epoch()
        busy = [name for name in remove if self._running_on(name)]
        if busy:
            raise ExecutorError(f"node {busy[0]}: it still runs {self._running_on(busy[0])[0].spec.id}")
        self.machine.nodes.resize(pool, target, remove, self._clock())

    async def close(self) -> None:
        self._epoch = None
        self._stream.close()

    # -- whoever drives it

    def advance(self) -> int:
        """End everything that is due at the clock's time, in order of its due time; returns how many that were.

        Nodes that are due come, and those whose notice has run out go.
        """
        ended = 0
        self.machine.nodes.arrive(self._clock())
        while (due := self._next_end_ms()) is not None and due <= self._clock():
            run = self.machine.runs[heapq.heappop(self.machine.due)[1]]
            assert run.ending is not None
            self._end(run, run.ending, due)
            ended += 1
        return ended + sum(self.lose_node(name) for name in self.machine.nodes.expired(self._clock()))

    def next_due_ms(self) -> int | None:
        """When `advance` has something to do next; None = nothing is planned."""
        times = (self._next_end_ms(), self.machine.nodes.next_due_ms())
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    def _next_end_ms(self) -> int | None:
        due = self.machine.due
        while due:
            at_ms, attempt = due[0]
            if self.machine.runs[attempt].due_ms == at_ms:
                return at_ms
            heapq.heappop(due)  # it was replanned, or has ended
        return None

    def finish(self, attempt: str, plan: Plan | None = None) -> None:
        """The attempt ends now, as the plan says (by default with exit code 0). Raises ExecutorError if not running."""
        self._end(self._running(attempt), plan or Plan(), self._clock())

    def lose(self, attempt: str, message: str = "its shim was killed") -> None:
        """The attempt vanishes without a verdict. Raises ExecutorError if it is not running."""
        run = self._running(attempt)
        lost = Plan(cause=Cause.lost, exit_code=None, message=message)
        self._end(run, lost, self._clock(), AttemptPhase.lost)

    def lose_node(self, node: str) -> int:
        """The node vanishes, and with it what ran there, which can't be running any more; returns how many that were.

        Raises ExecutorError for a node that is not there.
        """
        self.machine.nodes.change(node, state=NodeState.down)
        lost = self._running_on(node)
        for run in lost:
            gone = Plan(cause=Cause.node_lost, exit_code=None, message=f"node {node} is lost")
            self._end(run, gone, self._clock(), AttemptPhase.lost)
        self.machine.nodes.drop(node)
        return len(lost)

    def notice(self, node: str, at_ms: int) -> None:
        """Its provider takes the node away at that time: `advance` does it. Raises ExecutorError if it is not there."""
        self.machine.nodes.change(node, notice_ms=at_ms)

    def doubt(self, node: str, problem: str = "it does not answer") -> None:
        """The node is suspect from now on. Raises ExecutorError if it is not there."""
        self.machine.nodes.change(node, state=NodeState.suspect, problem=problem)

    def trust(self, node: str) -> None:
        """It answers again. Raises ExecutorError if it is not there."""
        self.machine.nodes.change(node, state=NodeState.up, problem="")

    def write(self, attempt: str, stream: str, data: bytes) -> None:
        """Append to a log of a running attempt."""
        self._running(attempt).logs[stream] += data

    # -- one attempt

    def _launch(self, spec: AttemptSpec) -> AttemptStatus:
        known = self.machine.runs.get(spec.id)
        if known is not None:
            return known.status
        if spec.id in self.machine.verdicts:
            return self.machine.verdicts[spec.id]
        if spec.node in self.machine.nodes.gone:
            return self._end_unstarted(spec.id, Cause.no_capacity, f"node {spec.node} is gone")
        plan = self._script(spec)
        if plan.exec_error:
            return self._end_unstarted(spec.id, Cause.exec_failed, plan.exec_error)
        now_ms = self._clock()
        status = AttemptStatus(id=spec.id, phase=AttemptPhase.running, started_ms=now_ms)
        logs = {"stdout": bytearray(plan.stdout), "stderr": bytearray(plan.stderr)}
        run = self.machine.runs[spec.id] = _Run(spec, plan, status, logs)
        if plan.run_ms is not None and (spec.timeout_ms is None or plan.run_ms <= spec.timeout_ms):
            self._end_at(run, plan, now_ms + plan.run_ms)
        elif spec.timeout_ms is not None:
            grace_ms = 0 if plan.heeds_stop else spec.grace_ms
            message = f"ran longer than {spec.timeout_ms} ms"
            self._end_at(run, self._stopped(run, Cause.timeout, message), now_ms + spec.timeout_ms + grace_ms)
        return status

    def _stop(self, run: _Run, cause: Cause, grace_ms: int) -> None:
        at_ms = self._clock() + (0 if run.plan.heeds_stop else grace_ms)
        run.stopped_for = run.stopped_for or cause
        if run.due_ms is None or at_ms <= run.due_ms:
            self._end_at(run, self._stopped(run, run.stopped_for, ""), at_ms)
        self.advance()

    def _stopped(self, run: _Run, cause: Cause, message: str) -> Plan:
        by = signal.Signals[run.spec.stop_signal] if run.plan.heeds_stop else signal.SIGKILL
        return Plan(cause=cause, exit_code=None, signal=int(by), message=message, usage=run.plan.usage)

    def _end_at(self, run: _Run, ending: Plan, at_ms: int) -> None:
        run.ending, run.due_ms = ending, at_ms
        heapq.heappush(self.machine.due, (at_ms, run.spec.id))

    def _end(self, run: _Run, plan: Plan, at_ms: int, phase: AttemptPhase = AttemptPhase.ended) -> None:
        run.due_ms = None
        run.status = msgspec.structs.replace(
            run.status,
            phase=phase,
            ended_ms=at_ms,
            cause=plan.cause or (Cause.completed if plan.exit_code == 0 and plan.signal is None else Cause.error),
            exit_code=plan.exit_code if plan.signal is None else None,
            signal=plan.signal,
            message=plan.message,
            usage=plan.usage,
        )
        self._stream.publish(run.status)

    def _end_unstarted(self, attempt: str, cause: Cause, message: str) -> AttemptStatus:
        status = AttemptStatus(
            id=attempt, phase=AttemptPhase.ended, ended_ms=self._clock(), cause=cause, message=message
        )
        self.machine.verdicts[attempt] = status
        self._stream.publish(status)
        return status

    def _running(self, attempt: str) -> _Run:
        run = self.machine.runs.get(attempt)
        if run is None or run.status.phase is not AttemptPhase.running:
            raise ExecutorError(f"attempt {attempt}: it is not running")
        return run

    def _require_epoch(self) -> None:
        if self._epoch is None:
            raise ExecutorError("the executor is not open")
        if self._epoch != self.machine.epoch:
            raise ExecutorError(f"epoch {self._epoch} is over: epoch {self.machine.epoch} has opened this machine")
