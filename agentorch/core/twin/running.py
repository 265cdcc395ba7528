"""One draw of one course: a fork is driven in virtual time, as the runtime drives the state in real time.

Starts begin at once and succeed after the time drawn for them; work that is stopped goes within its grace. Nodes that
are asked for come after the time that such nodes took lately. Nothing fails, and nobody proposes anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

from agentorch.core.decide import decide
from agentorch.core.instruct import Instruction, Launch, Resize, Stop, instruction
from agentorch.core.placement import Search
from agentorch.core.state import State
from agentorch.core.turn import Turn
from agentorch.core.twin.chance import Dice
from agentorch.core.twin.lives import RESTART_MS, Arrival, Lives, before_ms
from agentorch.core.twin.nodes import Provider
from agentorch.core.twin.record import Record
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event
from agentorch.model.jobs import ON_WORKER, Cause, Job, JobState, Reason

#: Samples of the fleet over the horizon; at each of them time passes for the core too.
SAMPLES = 12
#: How often the scheduler is asked while some wait, others may have to give way, and nothing else happens.
LOOK_EVERY_MS = limits.MINUTE_MS
#: A pass counts as many events as this part of the lines that it looks at, for it takes about as long.
LINES_A_STEP = 2
#: What happens nearer to each other than this is one instant, with one pass of the scheduler, unless somebody who comes
#: could start at once.
INSTANT_MS = 5 * limits.SECOND_MS
#: Everything that may happen at one instant, in this order.
_ENDS, _COMES, _NODES, _AGAIN, _LOOK = range(5)


class Run:
    """Drives its fork until the horizon. `steps` counts simulated events and passes; `record` is what came of it."""

    def __init__(self, state: State, lives: Lives, dice: Dice, coming: list[Arrival], horizon_ms: int) -> None:
        self.state = state
        self.lives = lives
        self.dice = dice
        self.coming = coming
        self.begin_ms = self.now_ms = lives.now_ms
        self.end_ms = self.begin_ms + horizon_ms
        self.steps = self.ranks = 0
        self.looks_ms = 0  # when it is asked next for that
        self.freed = False  # room has come since the last pass
        self.may_start = False  # somebody came for whom there is room
        self.provider = Provider(state.facts, dice)
        self.record = Record(state, self.begin_ms, series=dice.draw % 4 == 0)
        self.whole_ms: dict[str, int | None] = {}  # how long a job lasts in all
        self.orders: deque[Instruction] = deque()  # what the core asked for, and was not done yet
        self.due: list[tuple[int, int, int, str]] = [
            (one.at_ms, _COMES, at, "") for at, one in enumerate(coming) if one.at_ms <= self.end_ms
        ]
        self.due += [(self.begin_ms + at * horizon_ms // SAMPLES, _LOOK, at, "") for at in range(1, SAMPLES + 1)]
        facts = state.facts
        for name in facts.running:
            self._will_end(facts.jobs[name])
        heapify(self.due)
        for resize in self.provider.awaited():
            self._resize(resize)

    def do(self, action: Callable[[Turn], None]) -> None:
        """Something is done before time goes on."""
        turn = Turn(self.state, self.now_ms)
        action(turn)
        self._follow(turn.events)

    def go(self) -> Iterator[int]:
        """From instant to instant until the horizon; yields the steps so far, also inside an instant."""
        yield from self._obey()
        yield from self._pass()
        while self.due and self.due[0][0] <= self.end_ms:
            self.now_ms = max(self.now_ms, self.due[0][0])
            until_ms = min(self.end_ms, self.now_ms + INSTANT_MS)
            looked, self.may_start = 0, False
            # An instant ends where something may start, and at a look: near horizons have several in an instant.
            while self.due and self.due[0][0] <= until_ms:
                if (self.may_start or looked) and self.due[0][0] > self.now_ms:
                    break
                at_ms, what, which, name = heappop(self.due)
                self.now_ms = max(self.now_ms, at_ms)
                looked = max(looked, self._happens(what, which, name))
                yield from self._obey()
            if self.may_start or self.freed or looked:
                yield from self._pass()
            if looked:
                self.record.sample(self.now_ms)
            self._look_soon()
        self.now_ms = self.end_ms
        self.record.close(self.now_ms)

    def _look_soon(self) -> None:
        """Time alone makes room where work may have to give way."""
        if self.state.yielding and len(self.state.queue) and self.now_ms >= self.looks_ms:
            self.looks_ms = self.now_ms + LOOK_EVERY_MS
            heappush(self.due, (self.looks_ms, _AGAIN, 0, ""))

    def _happens(self, what: int, which: int, name: str) -> int:
        """Returns the number of the look, if it is one."""
        if what == _ENDS:
            self._end(name, which)
        elif what == _COMES:
            self._come(self.coming[which])
        elif what == _AGAIN:
            self.freed = True
        elif what == _NODES:
            self.freed = True
            self._take(self.provider.report(name, self.now_ms))
        else:
            self._take(cmd.Tick())
            return which
        return 0

    def _pass(self) -> Iterator[int]:
        """A pass that is not cut short leaves nothing for another."""
        self.freed = False
        ranks = limits.DISPATCH_PER_PASS
        while ranks >= limits.DISPATCH_PER_PASS:
            before = self.ranks
            lines = sum(len(one.lines) for tier in self.state.queue.tiers for one in tier.values())
            self.steps += lines // LINES_A_STEP
            self._take(cmd.Schedule())
            yield from self._obey()
            ranks = self.ranks - before

    def _take(self, command: cmd.Command) -> Any:
        self.steps += 1  # also one that is refused
        events, result = decide(self.state, command, self.now_ms)
        if events:
            self._follow(events)
        return result

    def _follow(self, events: list[Event]) -> None:
        self.steps += len(events)
        for event in events:
            self.record.note(event)
            order = instruction(event)
            if order is not None:
                self.orders.append(order)

    def _obey(self) -> Iterator[int]:
        """Do what was asked for, and what is asked for meanwhile."""
        while self.orders:
            order = self.orders.popleft()
            if isinstance(order, Launch):
                self._launch(order)
            elif isinstance(order, Stop):
                self._will_end(self.state.facts.jobs[order.job])
            else:
                self._resize(order)
            yield self.steps
        yield self.steps

    # -- what happens

    def _come(self, one: Arrival) -> None:
        try:
            name, _ = self._take(cmd.SubmitJob(tenant=one.tenant, spec=one.spec, by="twin"))
        except Refused:
            return  # its tenant or pool is gone, or the queue is full: it would be refused then too
        # The last pass left nobody behind who could start: without room for this one there need not be another.
        found = Search(self.state.facts, self.state.rooms, self.now_ms).find(self.state.facts.jobs[name])
        lent = one.spec.constraints.borrow or bool(self.state.facts.borrowed)  # then a pass may find more than room
        self.may_start = self.may_start or lent or not isinstance(found, Reason)

    def _launch(self, order: Launch) -> None:
        job = self.state.facts.jobs[order.job]
        self.ranks += job.spec.gang
        for rank in range(job.spec.gang):
            self._take(cmd.ReportRunning(job=order.job, attempt=order.attempt, rank=rank))
        if job.attempts_made > 1 and (whole_ms := self._whole_ms(job)) is not None:
            self.whole_ms[job.id] = whole_ms + RESTART_MS
        self._will_end(job)

    def _whole_ms(self, job: Job) -> int | None:
        if job.id not in self.whole_ms:
            self.whole_ms[job.id] = self.lives.lasts_ms(job, self.dice)
        return self.whole_ms[job.id]

    def _will_end(self, job: Job) -> None:
        """At its time; one that was told to stop goes at once: what saving takes is part of `RESTART_MS`."""
        whole_ms = self._whole_ms(job)
        attempt = job.attempts[-1]
        began_ms = attempt.started_ms if attempt.started_ms is not None else self.now_ms
        if job.state is JobState.stopping:
            end_ms = self.now_ms
        elif whole_ms is None:
            return
        else:
            end_ms = began_ms + max(0, whole_ms - before_ms(job))
        if end_ms <= self.end_ms:
            heappush(self.due, (max(self.now_ms, end_ms), _ENDS, attempt.number, job.id))

    def _end(self, name: str, attempt: int) -> None:
        job = self.state.facts.jobs.get(name)
        if job is None or job.attempts_made != attempt or job.state not in ON_WORKER:
            return
        self.freed = True
        cause = job.stop_cause if job.stop_cause is not None else Cause.completed
        began_ms = job.attempts[-1].started_ms
        for rank, member in enumerate(job.attempts[-1].members):
            if member.ended_ms is None:
                self._take(
                    cmd.ReportEnded(
                        job=name,
                        attempt=attempt,
                        rank=rank,
                        cause=cause,
                        started_ms=began_ms,
                        ended_ms=self.now_ms,
                        exit_code=0 if cause is Cause.completed else None,
                    )
                )

    def _resize(self, order: Resize) -> None:
        for at_ms in self.provider.order(order, self.now_ms):
            heappush(self.due, (at_ms, _NODES, 0, order.executor))
