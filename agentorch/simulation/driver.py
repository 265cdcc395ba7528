"""The policy `default`: the very core, driven by a trace in virtual time.

Submits, starts and ends are what the runtime would see on a cluster that starts at once and whose jobs succeed after
their durations; the core is asked as `runtime.loop` asks it, and knows no duration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import msgspec

from agentorch import __version__
from agentorch.core.decide import decide
from agentorch.core.explain import reason
from agentorch.core.instruct import Launch, Stop, instruction
from agentorch.core.state import State
from agentorch.errors import ConfigError
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import ON_WORKER, WAITING, Cause, Checkpoint, Constraints, JobSpec, Resources
from agentorch.simulation.reference import silent
from agentorch.simulation.run import TELL_EVERY, Moment, Run, Tell
from agentorch.simulation.supervised import Supervisor
from agentorch.simulation.traces import TraceJob

#: When a trace begins. Not 0, which in places stands for a time that is not known.
BEGIN_MS = limits.DAY_MS
#: A job asks for so much beside each GPU, and a node of ours has as much: GPUs alone decide what fits.
CPU_MILLI_PER_GPU = 1_000
POOL = "cluster"
#: What a preempted job loses: saving its work and starting again, seconds.
PREEMPT_COST_S = 60
#: Everything that may happen at one instant, in this order.
ENDED, SUBMITTED, LOOK = range(3)
#: How often the core is asked while jobs wait and nothing else happens; a server asks twice a second.
LOOK_EVERY_MS = limits.MINUTE_MS

#: So long a supervisor is waited for when nothing runs, nothing is to come, and jobs wait.
STUCK_MS = limits.HOUR_MS

Sink = Callable[[Sequence[Event]], None]


def _nobody(events: Sequence[Event]) -> None:
    """Nobody keeps the events."""


def one_pool(nodes: int, gpus_per_node: int) -> PoolSpec:
    """One fixed pool, a worker for each node."""
    shape = Resources(cpu_milli=gpus_per_node * CPU_MILLI_PER_GPU, gpus=gpus_per_node)
    return PoolSpec(name=POOL, min_workers=nodes, max_workers=nodes, workers=nodes, shape=shape)


def fixed(spec: PoolSpec) -> PoolSpec:
    """The pool on machines that are there: nothing is provisioned, and GPUs alone decide what fits."""
    shape = msgspec.structs.replace(spec.shape, cpu_milli=spec.shape.gpus * CPU_MILLI_PER_GPU)
    return msgspec.structs.replace(spec, executor="local", node_type="", shape=shape)


def ranks_of(gpus: int, largest: int) -> int:
    """Into how many equal ranks a job is split so that each fits on a worker: the fewest."""
    return next(ranks for ranks in range(-(-gpus // largest), gpus + 1) if gpus % ranks == 0)


def job_spec(job: TraceJob, pools: Sequence[PoolSpec]) -> JobSpec:
    """What the submitter would have asked for. A job whose `vc` names a pool goes there, any other anywhere.

    Where any pool lends, it has leave to borrow.
    Raises ConfigError when no pool is big enough.
    """
    own = tuple(pool for pool in pools if pool.name == job.vc)
    allowed = own or tuple(pools)
    largest = max(pool.shape.gpus for pool in allowed)
    if not any(job.gpus <= pool.max_workers * pool.shape.gpus for pool in allowed):
        where = f"pool {own[0].name}" if own else "any pool"
        raise ConfigError(f"{job.id} asks for {job.gpus} GPUs, more than {where} has")
    ranks = ranks_of(job.gpus, largest)
    if ranks > limits.GANG_MAX:
        raise ConfigError(f"{job.id} asks for {job.gpus} GPUs, {ranks} ranks; a gang has at most {limits.GANG_MAX}")
    each = job.gpus // ranks
    return JobSpec(
        command=("true",),
        checkpoint=Checkpoint(),
        gang=ranks,
        resources=Resources(cpu_milli=each * CPU_MILLI_PER_GPU, gpus=each),
        constraints=Constraints(
            pools=tuple(pool.name for pool in own), borrow=bool(own) and any(pool.lends for pool in pools)
        ),
    )


class Driver:
    """A state, and what is still to happen to it. `sink` is given the events of each instant, in order."""

    def __init__(
        self,
        jobs: Sequence[TraceJob],
        pools: Sequence[PoolSpec],
        sink: Sink,
        *,
        preempt_cost_s: int = PREEMPT_COST_S,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.jobs = jobs
        self.state = State()
        self.now_ms = self.happened_ms = BEGIN_MS
        self.sink = sink
        self.preempt_cost_s = preempt_cost_s
        self.supervisor = supervisor
        self.left_s = [job.duration_s for job in jobs]
        self.names: list[str] = [""] * len(jobs)
        self.index: dict[str, int] = {}
        self.run = Run(gpus=sum(pool.workers * pool.shape.gpus for pool in pools), ends_s=[0.0] * len(jobs))
        self.waiting = self.busy = self.ended = 0
        self._looking = False  # a look at those that wait is to come
        self._freed = False  # something was stopped since the last scheduling pass
        self._news: list[Event] = []
        self._due: list[tuple[int, int, int, int]] = []  # (when, what, which, attempt)
        self._specs = [job_spec(job, pools) for job in jobs]
        for command in configuration(jobs, pools):
            self.take(command)
        for at, job in enumerate(jobs):
            self._due.append((BEGIN_MS + job.submit_s * limits.SECOND_MS, SUBMITTED, at, 0))
        if supervisor is not None and self._due:
            supervisor.begin(self._due[0][0])

    def take(self, command: cmd.Command) -> Any:
        """Decide a command now, and do what its events order. Raises Refused."""
        events, result = decide(self.state, command, self.now_ms)
        self._news += events
        for event in events:
            order = instruction(event)
            if isinstance(order, Launch):
                self._launch(order)
            elif isinstance(order, Stop):
                self._stop(order)
        return result

    def steps(self) -> Iterator[int]:
        """From instant to instant until all jobs have ended; yields how many have."""
        while self._due or self._may_be_helped():
            supervisor = self._advance()
            if supervisor is None and not self._happens():
                continue
            self.take(cmd.Tick())
            if supervisor is not None:
                supervisor.step(self)
            while self.take(cmd.Schedule()) or self._freed:
                self._freed = False
            self.flush()
            self.run.moments.append(Moment(trace_time_s(self.now_ms), self.waiting, self.busy))
            yield self.ended
        if self.waiting:
            raise ConfigError(self._stuck())

    def _stuck(self) -> str:
        """Why the rest never starts, in words."""
        name = next(name for name in self.names if self.state.facts.jobs[name].state in WAITING)
        found = reason(self.state, self.state.facts.jobs[name], self.now_ms)
        text = f"{self.waiting} job{'s' if self.waiting > 1 else ''} never start{'s' if self.waiting == 1 else ''}"
        text += f"; the first is {self.jobs[self.index[name]].id}{f': {found[1]}' if found else ''}"
        asked = self.supervisor.counts.asked if self.supervisor is not None else 0
        if not asked:
            return text
        return (
            f"{text}; the supervisor asked {asked} times for what guardrails leave to a person, and nobody answers "
            "here: raise the pool's min_workers, or leave out --supervised"
        )

    def _advance(self) -> Supervisor | None:
        """Go to the next instant; returns the supervisor when that is a cycle of its. Else something happens then."""
        if self.supervisor is not None:
            cycle_ms = self.supervisor.due_ms(self)
            if not self._due or cycle_ms < self._due[0][0]:
                self.now_ms = cycle_ms
                return self.supervisor
        self.now_ms = self.happened_ms = self._due[0][0]
        return None

    def _may_be_helped(self) -> bool:
        """Whether a supervisor may still find room for jobs that wait when nothing else is to come."""
        return self.supervisor is not None and self.waiting > 0 and self.now_ms < self.happened_ms + STUCK_MS

    def flush(self) -> None:
        """Hand over the events that nobody was given yet."""
        self.sink(self._news)
        self._news = []

    def _happens(self) -> bool:
        """Everything of this instant; returns whether the core has anything to look at."""
        looked = False
        while self._due and self._due[0][0] == self.now_ms:
            _, what, at, attempt = heappop(self._due)
            if what == SUBMITTED:
                self._submit(at)
            elif what == ENDED and self._is_on(at, attempt):
                self._report(at, attempt, Cause.completed)
            elif what == LOOK and not attempt:
                self._looking = False
                if not (self.waiting and self._due):  # when nothing else is to come, time alone helps nobody
                    continue
                self._look_again(at)
            elif not (what == LOOK and self._is_on(at, attempt)):
                continue
            looked = True
        return looked

    def _is_on(self, at: int, attempt: int) -> bool:
        """Whether that attempt still runs: it may have been stopped."""
        job = self.state.facts.jobs.get(self.names[at])
        return job is not None and job.attempts_made == attempt and job.state in ON_WORKER

    # -- what happens

    def _submit(self, at: int) -> None:
        job = self.jobs[at]
        name, _ = self.take(cmd.SubmitJob(tenant=job.tenant, spec=self._specs[at], by="trace"))
        self.names[at] = name
        self.index[name] = at
        self._waits(at)

    def _waits(self, at: int) -> None:
        """With time alone the core may keep room for it, or make room: it looks when it is asked."""
        self.waiting += 1
        if not self._looking:
            self._look_again(at)

    def _look_again(self, at: int) -> None:
        self._looking = True
        heappush(self._due, (self.now_ms + LOOK_EVERY_MS, LOOK, at, 0))

    def _launch(self, order: Launch) -> None:
        at = self.index[order.job]
        for rank in range(self._specs[at].gang):
            self.take(cmd.ReportRunning(job=order.job, attempt=order.attempt, rank=rank))
        if order.attempt > 1:
            self.left_s[at] += self.preempt_cost_s
        heappush(self._due, (self.now_ms + self.left_s[at] * limits.SECOND_MS, ENDED, at, order.attempt))
        if order.job in self.state.facts.borrowed:  # from then on it can be given back
            oldest_ms = self.now_ms + self.state.facts.settings.preempt_min_run_ms
            heappush(self._due, (oldest_ms, LOOK, at, order.attempt))
        self.waiting -= 1
        self.busy += self.jobs[at].gpus

    def _stop(self, order: Stop) -> None:
        """It saves its work and goes at once; what that and the next start take is the cost of a preemption."""
        self._freed = True
        at = self.index[order.job]
        started_ms = self.state.facts.jobs[order.job].attempts[-1].ordered_ms
        self.left_s[at] -= (self.now_ms - started_ms) // limits.SECOND_MS
        self._report(at, order.attempt, Cause.error)
        self.run.preemptions += 1

    def _report(self, at: int, attempt: int, cause: Cause) -> None:
        found = self.state.facts.jobs[self.names[at]]
        self.busy -= self.jobs[at].gpus
        for rank in range(found.spec.gang):
            self.take(
                cmd.ReportEnded(
                    job=found.id,
                    attempt=attempt,
                    rank=rank,
                    cause=cause,
                    started_ms=found.attempts[-1].ordered_ms,
                    ended_ms=self.now_ms,
                    exit_code=0 if cause is Cause.completed else None,
                )
            )
        if found.state in WAITING:
            self._waits(at)
        else:
            self.ended += 1
            self.run.ends_s[at] = trace_time_s(self.now_ms)


def trace_time_s(at_ms: int) -> float:
    """Seconds since the trace's beginning."""
    return (at_ms - BEGIN_MS) / limits.SECOND_MS


def configuration(jobs: Sequence[TraceJob], pools: Sequence[PoolSpec]) -> Iterator[cmd.Command]:
    """What is there before the first job comes: every tenant weighs the same, no GPU is ever sick."""
    yield cmd.StartRuntime(version=__version__)
    for pool in pools:
        devices = tuple(f"GPU-{pool.name}-{at}" for at in range(pool.max_workers * pool.shape.gpus))
        yield cmd.ConfigurePool(spec=pool, devices=devices)
    for tenant in dict.fromkeys(job.tenant for job in jobs):
        yield cmd.ConfigureTenant(spec=TenantSpec(name=tenant))


def drive(
    jobs: Sequence[TraceJob],
    pools: Sequence[PoolSpec],
    tell: Tell = silent,
    sink: Sink = _nobody,
    *,
    preempt_cost_s: int = PREEMPT_COST_S,
    supervisor: Supervisor | None = None,
) -> Run:
    """Run the trace to its end. A job that was stopped goes on where it was, and loses `preempt_cost_s` more.

    Raises ConfigError when a job can never start.
    """
    driver = Driver(jobs, pools, sink, preempt_cost_s=preempt_cost_s, supervisor=supervisor)
    for step, ended in enumerate(driver.steps(), 1):
        if not step % TELL_EVERY:
            tell(ended)
    return driver.run
