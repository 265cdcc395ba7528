"""The recorded time again, in virtual time: what came from outside is as it was, all else is decided anew.

The core schedules, guardrails judge and a brain decides as on a server. What people answered, they answer again, if
they are asked for the same within the time that an approval stays open; else nobody answers. Telemetry is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

import msgspec

from agentorch.config.overrides import Overrides
from agentorch.core.decide import decide
from agentorch.core.facts import Facts
from agentorch.core.instruct import Launch, Stop, instruction
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import ON_WORKER, Cause, Job, JobState
from agentorch.model.observation import DeviceSample, Observation
from agentorch.model.proposals import Answer, AnswerKind, Proposal, ProposalState
from agentorch.simulation.lives import Lives, Run
from agentorch.simulation.outside import Answered, Outside
from agentorch.simulation.supervised import Supervisor
from agentorch.simulation.tally import Tally

#: Time is looked at this often, but not more than so many times in all.
TICK_MS: Final = limits.SECOND_MS
TICKS_MAX: Final = 100_000
#: Everything that may happen at one instant, in this order.
STOPPED, LOST, ENDED, BEGAN, SAID, ANSWERED = range(6)

Tell = Callable[[int], None]


class Due(NamedTuple):
    at_ms: int
    what: int
    number: int  # of this entry: of one kind and time, what came first happens first
    job: str
    attempt: int
    more: Any


class Day:
    """Drives one course. Fulfils `supervised.Driven`."""

    def __init__(self, before: Facts, outside: Outside, lives: Lives, overrides: Overrides) -> None:
        self.state = State(before)
        self.outside = outside
        self.overrides = overrides
        self.lives = lives
        self.tally = Tally(before)
        self.now_ms = outside.begin_ms
        self.refused: dict[str, int] = {}
        self.ours: dict[str, str] = {name: name for name in before.jobs}  # the recording's job -> ours
        self.theirs: dict[str, str] = dict(self.ours)
        self.stopping: dict[str, int] = {}
        self._due: list[Due] = []
        self._number = 0
        self._answers: list[Answered | None] = list(outside.answers)
        self._asked: list[Proposal] = []
        self._devices = 0
        self._supervisor: Supervisor | None = None
        self._seen: tuple[int, Observation] | None = None  # what is decided about, and when that ends
        for command in configured(before, overrides):
            self.try_to(command)
        for name in list(before.running):
            self._goes_on(before.jobs[name])
        self._asked += [before.proposals[name] for name in before.unsettled]

    # -- driving

    def take(self, command: cmd.Command) -> Any:
        """Decide a command now, and do what its events order. Raises Refused."""
        events, result = decide(self.state, command, self.now_ms)
        for event in events:
            self.tally.take(event)
            order = instruction(event)
            if isinstance(order, Launch):
                self._launch(order)
            elif isinstance(order, Stop):
                self._put(self.now_ms + self.outside.stop_ms, STOPPED, order.job, order.attempt)
            if isinstance(event, ev.ProposalJudged | ev.ProposalChanged):
                self._asked.append(event.proposal)
        return result

    def try_to(self, command: cmd.Command) -> Any:
        """As `take`; a refusal is counted: in another course not everything can happen as it did."""
        try:
            return self.take(command)
        except Refused:
            name = type(command).__name__
            self.refused[name] = self.refused.get(name, 0) + 1
            return None

    async def run(self, supervisor: Supervisor | None, tell: Tell = lambda cycles: None) -> None:
        """From the first instant to the last; cycles at the times at which there were some, if there were any."""
        outside = self.outside
        tick_ms = max(TICK_MS, -(-(outside.end_ms - outside.begin_ms) // TICKS_MAX))
        happened = cycled = 0
        self._supervisor = supervisor
        next_tick_ms = outside.begin_ms
        if supervisor is not None:
            supervisor.begin(outside.begin_ms)
        while True:
            cycle_ms = self._next_cycle_ms(supervisor, cycled)
            times = [next_tick_ms, *([cycle_ms] if cycle_ms is not None else [])]
            times += [self._seen[0]] if self._seen is not None else []
            times += [due.at_ms for due in self._due[:1]]
            times += [at_ms for at_ms, _ in outside.happenings[happened : happened + 1]]
            at_ms = min(times)
            if at_ms > outside.end_ms:
                break
            self.now_ms = max(self.now_ms, at_ms)
            while self._due and self._due[0].at_ms <= self.now_ms:
                self._happens(heappop(self._due))
            while happened < len(outside.happenings) and outside.happenings[happened][0] <= self.now_ms:
                self._comes(outside.happenings[happened][1])
                happened += 1
            self.take(cmd.Tick())
            if cycle_ms is not None and cycle_ms <= self.now_ms:
                self._observe(cycled)
                cycled += 1
            if self._seen is not None and self._seen[0] <= self.now_ms:
                await self._conclude(self._seen[1])
                tell(cycled)
            self._listen()
            while self.take(cmd.Schedule()):
                pass
            if next_tick_ms <= self.now_ms:
                next_tick_ms = self.now_ms + tick_ms

    def _next_cycle_ms(self, supervisor: Supervisor | None, cycled: int) -> int | None:
        if supervisor is None:
            return None
        times = self.outside.cycles
        if times:
            return times[cycled][0] if cycled < len(times) else None
        return supervisor.due_ms(self)

    def _observe(self, cycled: int) -> None:
        """A brain takes as long as the recorded one did; in a cycle that was never decided, for ever."""
        assert self._supervisor is not None, "somebody supervises"
        times = self.outside.cycles
        if self.outside.health:
            self.take(cmd.ReportHealth(samples=self.devices(self.state, self.now_ms)))
        seen = self._supervisor.observe(self)
        decided_ms = times[cycled][1] if times else self.now_ms
        self._seen = None if decided_ms is None else (decided_ms, seen)

    async def _conclude(self, seen: Observation) -> None:
        assert self._supervisor is not None, "somebody supervises"
        self._seen = None
        await self._supervisor.conclude(self, seen)

    def devices(self, state: State, now_ms: int) -> tuple[DeviceSample, ...]:
        """The newest recorded telemetry."""
        known = self.outside.devices
        while self._devices + 1 < len(known) and known[self._devices + 1][0] <= now_ms:
            self._devices += 1
        return known[self._devices][1] if known else ()

    # -- what comes from outside

    def _comes(self, command: cmd.Command) -> None:
        match command:
            case cmd.SubmitJob():
                self._submit(command)
            case cmd.CancelJob() | cmd.PatchJob():
                if command.job in self.ours:
                    self.try_to(msgspec.structs.replace(command, job=self.ours[command.job]))
            case cmd.SetMode() if self.overrides.mode is not None:
                return
            case cmd.ReportNodes():
                self.try_to(command)
                self._lose_what_is_gone()
            case _:
                self.try_to(altered(command, self.overrides))

    def _submit(self, command: cmd.SubmitJob) -> None:
        theirs = self.lives.submitted()
        needed = tuple(self.ours[name] for name in command.spec.depends_on if name in self.ours)
        spec = msgspec.structs.replace(command.spec, depends_on=needed)
        done = self.try_to(msgspec.structs.replace(command, spec=spec))
        if done is not None:
            self.ours[theirs] = done[0]
            self.theirs[done[0]] = theirs

    def _lose_what_is_gone(self) -> None:
        """Whatever ran on a node that is gone is reported lost, once its lease is over."""
        facts = self.state.facts
        for name in list(facts.running):
            job = facts.jobs[name]
            nodes = {one.node for one in job.attempts[-1].members if one.node}
            if any(node not in facts.nodes or facts.nodes[node].state is NodeState.down for node in sorted(nodes)):
                self._put(self.now_ms + self.outside.lost_ms, LOST, job.id, job.attempts_made)

    # -- attempts

    def _put(self, at_ms: int, what: int, job: str, attempt: int, more: Any = None) -> None:
        self._number += 1
        heappush(self._due, Due(at_ms, what, self._number, job, attempt, more))

    def _launch(self, order: Launch) -> None:
        took_ms = self.lives.launch_ms(self.theirs[order.job])
        self._put(self.now_ms + took_ms, BEGAN, order.job, order.attempt)

    def _goes_on(self, job: Job) -> None:
        """It was on a worker when the window began."""
        attempt = job.attempts[-1]
        if attempt.started_ms is None:
            begins_ms = max(self.now_ms, attempt.ordered_ms + self.lives.launch_ms(job.id))
            self._put(begins_ms, BEGAN, job.id, attempt.number)
        else:
            self._runs(job.id, attempt.number, self.lives.begins(job.id, attempt.started_ms))
        if job.state is JobState.stopping:
            self._put(self.now_ms + self.outside.stop_ms, STOPPED, job.id, attempt.number)

    def _runs(self, job: str, attempt: int, run: Run) -> None:
        if run.end_ms is not None:
            self._put(max(self.now_ms, run.end_ms), ENDED, job, attempt)
        for at_ms, said in run.said:
            if at_ms >= self.now_ms:
                self._put(at_ms, SAID, job, attempt, said)

    def _happens(self, due: Due) -> None:
        if due.what == ANSWERED:
            self._answer(due.job, due.more)
            return
        job = self.state.facts.jobs.get(due.job)
        if job is None or job.state not in ON_WORKER or job.attempts_made != due.attempt:
            return
        theirs = self.theirs[due.job]
        match due.what:
            case t if t == BEGAN:
                run = self.lives.begins(theirs, self.now_ms)
                if run.never is not None:
                    self._report(job, due.attempt, run.never)
                    return
                for rank in range(job.spec.gang):
                    self.take(cmd.ReportRunning(job=job.id, attempt=due.attempt, rank=rank))
                self._runs(due.job, due.attempt, run)
            case t if t == SAID:
                said: ev.JobProgressed = due.more
                self.try_to(
                    cmd.ReportProgress(
                        job=job.id,
                        by="job",
                        percent=said.percent,
                        message=said.message,
                        checkpointed=said.checkpointed,
                    )
                )
            case t if t in (STOPPED, LOST):
                self.lives.stops(theirs, self.now_ms)
                self._report(job, due.attempt, Cause.error if t == STOPPED else Cause.node_lost)
            case _:
                self._ends(job, due.attempt)

    def _ends(self, job: Job, attempt: int) -> None:
        ending = self.lives.ends(self.theirs[job.id])
        self._report(job, attempt, ending.cause, ending.exit_code, ending.signal, ending.message, ending.result)

    def _report(
        self,
        job: Job,
        attempt: int,
        cause: Cause,
        exit_code: int | None = None,
        signal: int | None = None,
        message: str = "",
        result: str = "",
    ) -> None:
        started_ms = job.attempts[-1].started_ms
        for rank in range(job.spec.gang):
            self.take(
                cmd.ReportEnded(
                    job=job.id,
                    attempt=attempt,
                    rank=rank,
                    cause=cause,
                    started_ms=started_ms,
                    ended_ms=self.now_ms,
                    exit_code=exit_code,
                    signal=signal,
                    message=message,
                    result=result,
                )
            )

    # -- people

    def _listen(self) -> None:
        """Whoever is asked what was answered then answers it again, after as long."""
        for asked in self._asked:
            now = self.state.facts.proposals.get(asked.id)
            if now is None or now.state is not ProposalState.open or now.action is None:
                continue
            at = self._same(now)
            if at is not None:
                found = self._answers[at]
                assert found is not None, "an answer is given once"
                self._answers[at] = None
                self._put(max(self.now_ms, now.created_ms + found.after_ms), ANSWERED, now.id, 0, found.answer)
        self._asked = []

    def _same(self, proposal: Proposal) -> int | None:
        """The place of the answer to the same question that was asked nearest to now."""
        ttl_ms = self.state.facts.settings.approval_ttl_ms
        near = [
            (abs(one.asked_ms - proposal.created_ms), at)
            for at, one in enumerate(self._answers)
            if one is not None and one.action == proposal.action
        ]
        best = min(near, default=None)
        return best[1] if best is not None and best[0] <= ttl_ms else None

    def _answer(self, name: str, answer: Answer) -> None:
        proposal = self.state.facts.proposals.get(name)
        if proposal is None or proposal.state is not ProposalState.open:
            return
        given = cmd.AnswerApproval(
            proposal=name,
            kind=answer.kind,
            by=answer.by,
            hash=proposal.hash,
            reason=answer.reason,
            edits=_edits(answer),
        )
        if self.try_to(given) is not None and answer.kind is not AnswerKind.reject:
            self.try_to(cmd.CarryOut(proposal=name))


def _edits(answer: Answer) -> dict[str, int | str]:
    if answer.edited is None or answer.previous is None:
        return {}
    before, after = (msgspec.to_builtins(action) for action in (answer.previous, answer.edited))
    return {key: value for key, value in after.items() if before.get(key) != value}


def altered(command: cmd.Command, overrides: Overrides) -> cmd.Command:
    """The command as it would have been, had the overrides been in force."""
    match command:
        case cmd.ConfigurePool():
            return msgspec.structs.replace(command, spec=overrides.pool(command.spec))
        case cmd.ConfigureTenant():
            return msgspec.structs.replace(command, spec=overrides.tenant(command.spec))
        case cmd.ConfigureGuardrails():
            return msgspec.structs.replace(command, settings=overrides.guardrails(command.settings))
    return command


def configured(facts: Facts, overrides: Overrides) -> Sequence[cmd.Command]:
    """What to change at the beginning, so that the overrides are in force."""
    if not overrides.given:
        return ()
    out: list[cmd.Command] = [cmd.ConfigureGuardrails(settings=overrides.guardrails(facts.settings))]
    if overrides.mode is not None:
        out.append(cmd.SetMode(mode=overrides.mode, by="replay"))
    for name, pool in facts.pools.items():
        if name in overrides.pools:
            devices = tuple(facts.pool_devices.get(name, ()))
            out.append(cmd.ConfigurePool(spec=overrides.pool(pool.spec), devices=devices))
    out += [
        cmd.ConfigureTenant(spec=overrides.tenant(tenant.spec))
        for name, tenant in facts.tenants.items()
        if name in overrides.tenants
    ]
    return out
