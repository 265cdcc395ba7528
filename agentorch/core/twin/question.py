"""One question to the twin: how things go on if nothing is done, and with each of some actions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import islice
from math import inf
from typing import NamedTuple

from agentorch.core.decide.actions import perform
from agentorch.core.demand import demand
from agentorch.core.guardrails import targets
from agentorch.core.guardrails.case import Case
from agentorch.core.guardrails.drafts import read_action
from agentorch.core.state import State
from agentorch.core.turn import Turn
from agentorch.core.twin.chance import Dice
from agentorch.core.twin.fork import fork, left_out
from agentorch.core.twin.lives import LEAST_PAST_MS, Arrival, Comers, Lives
from agentorch.core.twin.record import Outcome
from agentorch.core.twin.running import Run
from agentorch.core.twin.summary import changed, course, edge_of, gain_s, told_apart
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.jobs import JobState
from agentorch.model.proposals import Action, Alert, Draft, Reroute, Scale
from agentorch.model.twin import Course, Impact, Outlook

#: Steps between two moments at which a driver may do something else, a millisecond or two.
STEPS_AT_A_TIME = 64
ARRIVALS_AT_A_TIME = 1_024

Answer = Generator[None, None, Outlook]


def compare(
    state: State,
    drafts: tuple[Draft, ...],
    now_ms: int,
    *,
    horizon_ms: int = limits.TWIN_HORIZON_MS,
    draws: int = limits.TWIN_DRAWS,
    steps: int = limits.TWIN_STEPS,
    seed: int = 0,
) -> Answer:
    """Fork now, and answer bit by bit: a generator that yields every few steps and returns the outlook.

    Changes nothing in `state`. `steps` is the budget of each course, all its draws together: when it does not last, the
    horizon is nearer. Deterministic for a state, drafts, a time, a budget and a seed.
    """
    alone = tuple((draft,) for draft in drafts)
    return _Question(state, alone, now_ms, horizon_ms, draws, steps, seed).answer()


def foresee_together(
    state: State, courses: tuple[tuple[Draft, ...], ...], now_ms: int, *, steps: int = limits.TWIN_STEPS
) -> Outlook:
    """As `foresee`, with one impact for each course: all of its drafts at once. A course may be empty."""
    question = _Question(state, courses, now_ms, limits.TWIN_HORIZON_MS, limits.TWIN_DRAWS, steps, 0)
    return finish(question.answer())


def foresee(state: State, drafts: tuple[Draft, ...], now_ms: int, **options: int) -> Outlook:
    """`compare`, run through at once."""
    return finish(compare(state, drafts, now_ms, **options))


class Starts(NamedTuple):
    """How much longer a job waits, 10 %, 50 % and 90 % of the draws; None = beyond the horizon, or never."""

    low_s: float | None
    mid_s: float | None
    high_s: float | None


def starts(
    state: State,
    now_ms: int,
    *,
    horizon_ms: int = limits.TWIN_HORIZON_MS,
    draws: int = limits.TWIN_DRAWS,
    steps: int = limits.TWIN_STEPS,
    seed: int = 0,
) -> dict[str, Starts]:
    """When each job that waits now will start, if nothing is done. Of those that a fork leaves out nothing is said."""
    question = _Question(state, (), now_ms, horizon_ms, draws, steps, seed)
    finish(question.answer())
    found: dict[str, Starts] = {}
    for job in question.base.facts.jobs.values():
        if job.state is JobState.queued:
            times = sorted(one.started.get(job.id, inf) for one in question.idle)
            waits = [None if at_ms == inf else (at_ms - now_ms) / 1000 for at_ms in times]
            edge = edge_of(len(waits))
            found[job.id] = Starts(waits[edge], waits[len(waits) // 2], waits[-1 - edge])
    return found


def finish(answer: Answer) -> Outlook:
    """Run the rest of it through."""
    while True:
        try:
            next(answer)
        except StopIteration as done:
            outlook = done.value
            assert isinstance(outlook, Outlook)
            return outlook


class _Question:
    def __init__(
        self,
        state: State,
        courses: tuple[tuple[Draft, ...], ...],
        now_ms: int,
        horizon_ms: int,
        draws: int,
        steps: int,
        seed: int,
    ) -> None:
        self.now_ms = now_ms
        self.horizon_ms = horizon_ms
        self.budget = steps
        self.dice = [Dice(seed, draw, draws) for draw in range(draws)]
        self.left_out = left_out(state)
        self.comers = Comers(state.facts, now_ms)
        self.base = fork(state)
        self.asked = [[_readable(state, draft, now_ms) for draft in drafts] for drafts in courses]
        self.lives = Lives(self.base.facts, now_ms)
        self.coming: list[list[Arrival]] = []
        self.part = max(1, steps // draws)  # of the budget, for each draw
        self.come = self.looked_at = 0  # jobs that would come in all draws, and those of them that are run ahead
        self.steps = 0
        self.stopped_early = False
        self.looked_ahead: Outcome | None = None  # of the draw in the middle, if its budget lasted
        self.idle: list[Outcome] = []
        self.idle_course = Course()
        self.pools: list[str] = []

    def answer(self) -> Answer:
        for looked, job in enumerate(self.base.facts.jobs.values()):
            if job.state is not JobState.held:
                self.lives.look(job)
            if not looked % STEPS_AT_A_TIME:
                yield
        yield from self._choose_horizon()
        for dice in self.dice:
            self.coming.append((yield from self._who_comes(dice)))
            yield
        idle = yield from self._course(_nothing)
        named = [action.pool for asked in self.asked for action, _ in asked if isinstance(action, Scale | Reroute)]
        self.pools = told_apart(idle, named)
        self.idle, self.idle_course = idle, course(idle, self.pools)
        impacts: list[Impact] = []
        for asked in self.asked:
            actions = tuple(action for action, _ in asked if action is not None)
            impact = yield from self._impact(actions, "; ".join(why for _, why in asked if why) or "nothing is done")
            impacts.append(impact)
        return Outlook(
            horizon_s=self.horizon_ms / 1000,
            idle=self.idle_course,
            impacts=tuple(impacts),
            draws=len(self.dice),
            steps=self.steps,
            stopped_early=self.stopped_early,
            text=self._rests_on(),
        )

    def _choose_horizon(self) -> Generator[None, None, None]:
        """One draw is run ahead; where its part of the budget ends, all courses will. It is run once if it lasts."""
        part = self.part
        dice = self.dice[len(self.dice) // 2]
        if self.comers.reach_ms is not None:  # nobody knows what came before, so nobody knows what comes after as long
            self.horizon_ms = min(self.horizon_ms, max(limits.TWIN_HORIZON_LEAST_MS, self.comers.reach_ms))
        coming = list(islice(self.comers.drawn(dice, self.horizon_ms), part + 1))  # with these its part is used up
        run = Run(fork(self.base), self.lives, dice, coming, self.horizon_ms)
        run.record.left_out = self.left_out
        at = 0
        for steps in run.go():
            if steps > part and run.now_ms < run.end_ms:
                self.horizon_ms = max(limits.TWIN_HORIZON_LEAST_MS, run.now_ms - self.now_ms)
                self.stopped_early = True
                break
            if steps >= at:
                at = steps + STEPS_AT_A_TIME
                yield
        self.steps += run.steps
        self.looked_ahead = run.record.outcome

    def _who_comes(self, dice: Dice) -> Generator[None, None, list[Arrival]]:
        """No more than a draw's part of the budget has events: of a greater crowd each so many-th is taken."""
        coming = []
        for one in self.comers.drawn(dice, self.horizon_ms):
            coming.append(one)
            if not len(coming) % ARRIVALS_AT_A_TIME:
                yield
        self.come += len(coming)
        if len(coming) > self.part:
            coming = [coming[at * len(coming) // self.part] for at in range(self.part)]
            self.stopped_early = True
        self.looked_at += len(coming)
        return coming

    def _course(self, act: Callable[[Turn], None]) -> Generator[None, None, list[Outcome]]:
        """All draws of one course. Raises Refused for an action that can't be."""
        outcomes = []
        for dice, coming in zip(self.dice, self.coming, strict=True):
            if act is _nothing and self.looked_ahead is not None and dice is self.dice[len(self.dice) // 2]:
                outcomes.append(self.looked_ahead)
                continue
            run = Run(fork(self.base), self.lives, dice, coming, self.horizon_ms)
            run.record.left_out = self.left_out
            run.do(act)
            at = 0
            for steps in run.go():
                if steps >= at:
                    at = steps + STEPS_AT_A_TIME
                    yield
            self.steps += run.steps
            assert run.record.outcome is not None, "it went until the horizon"
            outcomes.append(run.record.outcome)
            yield
        return outcomes

    def _impact(self, actions: tuple[Action, ...], why: str) -> Generator[None, None, Impact]:
        if not actions:
            return Impact(text=why)
        before = self.steps
        try:
            acted = yield from self._course(lambda turn: _done(turn, actions))
        except Refused as refused:
            return Impact(text=str(refused))
        return Impact(
            at_ms=self.now_ms,
            horizon_s=self.horizon_ms / 1000,
            draws=len(acted),
            steps=self.steps - before,
            stopped_early=self.stopped_early,
            idle=self.idle_course,
            acted=course(acted, self.pools),
            gain_s=gain_s(self.idle, acted),
            changed=changed(self.idle, acted),
        )

    def _rests_on(self) -> str:
        said = []
        if self.lives.unknown:
            said.append(f"of {self.lives.unknown} jobs nothing is known to tell how long they run: any length is drawn")
        if (seconds := self.comers.too_few_s) is not None:
            minutes = max(LEAST_PAST_MS, self.horizon_ms) // limits.MINUTE_MS
            said.append(f"all work came within {seconds} s: as much is expected once more in {minutes} minutes")
        if blocked := sum(demand(self.base, self.now_ms).blocked.values()):
            said.append(f"{blocked} jobs wait for the budgets of their tenants, and are counted as waiting")
        if self.left_out:
            said.append(f"{self.left_out} jobs far back in the queue are left out")
        if self.looked_at < self.come:
            percent = 100 * self.looked_at // self.come
            said.append(f"so many may come that only {percent} % of them are run ahead: waits are longer than told")
        if self.stopped_early:
            said.append(f"the budget of {self.budget} events a course lasts for {self.horizon_ms // 1000} s")
        return "; ".join(said)


def _readable(state: State, draft: Draft, now_ms: int) -> tuple[Action | None, str]:
    """The action, or why there is nothing to run ahead."""
    action, why = read_action(draft)
    if action is None:
        return None, why
    if isinstance(action, Alert):
        return None, "an alert changes nothing"
    case = Case(state, action, now_ms)
    note = targets.schema(case) or targets.target(case)
    return (None, note.text) if note is not None else (action, "")


def _nothing(turn: Turn) -> None:
    """Nothing is done."""


def _done(turn: Turn, actions: tuple[Action, ...]) -> None:
    for action in actions:
        perform(turn, "twin", action)
