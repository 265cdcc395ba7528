"""The rule brain: finds what is wrong, weighs the ways to act on it, and proposes the best of each, or holds.

What guardrails would deny is left out first. The twin is asked once about the rest; where it does not answer, the
observation's numbers alone decide, and the draft says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Final

import msgspec

from agentorch.core.policy.options import Kind, Option, Problem
from agentorch.core.policy.others import budgets, late_jobs, sick_workers
from agentorch.core.policy.pools import idling, pressed
from agentorch.core.policy.weighing import Weights, Worth, best, doubt_of, has_numbers, weigh
from agentorch.core.policy.words import nothing, wait
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Mode, Ruling, Verdict
from agentorch.model.twin import Course, Impact, Outlook

BRAIN_ID: Final = "rules/2"
#: Of one question to the twin: with a thousand jobs each takes a tenth of a second, and the next cycle is near.
CANDIDATES_MOST: Final = min(8, limits.TWIN_CANDIDATES_MAX)
#: What will go wrong later than nodes take to come can be acted on when it is nearer, and known better.
AHEAD_S: Final = limits.PROVISION_TIMEOUT_MS / limits.SECOND_MS
STOPPED: Final = "the twin was stopped before it knew anything"
FULL: Final = "other problems were more urgent, and the question to the twin was full"


def decide(observation: Observation) -> BrainReport:
    """What the numbers justify without guardrails and twin; or a hold with its reason."""
    drafts = tuple(candidates(observation))
    return BrainReport(brain=BRAIN_ID, drafts=drafts, hold="" if drafts else hold_reason(observation))


def candidates(observation: Observation) -> Iterator[Draft]:
    """Of each problem the first option that the observation alone justifies, the most urgent first."""
    taken: set[str] = set()
    for problem in problems(observation):
        option = next((one for one in problem.options if one.blind and one.target not in taken), None)
        if option is not None:
            taken.add(option.target)
            yield option.draft(alternatives=_unweighed(problem, option))


def problems(observation: Observation) -> list[Problem]:
    """At most PROPOSALS_PER_CYCLE, the most urgent first, without options for targets that were just dealt with."""
    if observation.mode is Mode.paused:
        return []
    busy = {*observation.open_targets, *observation.recent_targets}
    found: list[Problem] = []
    for problem in _found(observation):
        options = tuple(option for option in problem.options if option.target not in busy)
        if options:
            found.append(msgspec.structs.replace(problem, options=options))
    return found[: limits.PROPOSALS_PER_CYCLE]


def _found(observation: Observation) -> Iterator[Problem]:
    # As many as may be acted on: what is denied comes again each cycle, and must not keep the rest from being seen.
    yield from islice(sick_workers(observation), limits.ACTIONS_PER_CYCLE)
    yield from pressed(observation)
    yield from late_jobs(observation)
    yield from islice(budgets(observation), limits.ACTIONS_PER_CYCLE)
    yield from idling(observation)


def hold_reason(observation: Observation) -> str:
    """Why nothing is to be done, in numbers."""
    if observation.mode is Mode.paused:
        return "The supervisor is paused."
    worst = max(observation.pools, key=lambda pool: pool.wait_s_p95 / max(pool.target_wait_s, 1), default=None)
    longest = f"; the longest wait is in {worst.name}, {wait(worst)}" if worst is not None else ""
    return f"{observation.queued_total} jobs wait and {observation.running_total} run{longest}."


def _unweighed(problem: Problem, chosen: Option) -> tuple[str, ...]:
    others = (option.text for option in problem.options if option is not chosen)
    return (problem.nothing, *others)[: limits.EVIDENCE_MAX]


class RuleBrain:
    """Fulfils `model.brain.Brain`. A function of the observation and of what guardrails and twin answer."""

    id = BRAIN_ID

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights = weights or Weights()

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        """Never raises what the twin or the guardrails refuse; other errors of theirs are passed on."""
        found = problems(observation)
        choice = _Choice(observation, self.weights)
        for problem in found:
            choice.admit(problem, [(option, await _verdict(context, option)) for option in problem.options])
        asked = choice.questions()
        choice.hear(asked, *await _outlook(context, asked))
        drafts = choice.drafts()
        if drafts:
            drafts = choice.permitted(drafts, await context.preview(drafts))
        if drafts:
            return BrainReport(brain=self.id, drafts=drafts)
        said = " ".join([hold_reason(observation), *choice.held])
        return BrainReport(brain=self.id, hold=said[: limits.REASON_MAX_CHARS])


async def _verdict(context: BrainContext, option: Option) -> Verdict:
    # Each by itself: of several for one target only one would be allowed, and only one will be proposed.
    (verdict,) = await context.preview((option.draft(),))
    return verdict


async def _outlook(context: BrainContext, options: list[Option]) -> tuple[Outlook | None, str]:
    """The twin's answer, or why there is none."""
    if not options:
        return None, ""
    try:
        return await context.foresee(tuple(option.draft() for option in options)), ""
    except Refused as refused:
        return None, str(refused)


class _Weighed(msgspec.Struct):
    """One problem with what was heard of its options."""

    problem: Problem
    permitted: list[Option]
    denied: list[str]
    asked: list[Option]  # of the permitted: a person would have to say yes


class _Choice:
    """Collects what is heard, then chooses. `held` says of each problem that is left alone why."""

    def __init__(self, observation: Observation, weights: Weights) -> None:
        self.observation = observation
        self.weights = weights
        self.held: list[str] = []
        self._entries: list[_Weighed] = []
        self._impacts: dict[int, Impact] = {}  # by the option's id(): one object each, held by its entry
        self._idle: Course | None = None
        self._horizon_s = 0.0
        self._blind = ""
        self._calibration = {known.kind: known for known in observation.calibration if known.brain == BRAIN_ID}

    def admit(self, problem: Problem, judged: list[tuple[Option, Verdict]]) -> None:
        permitted = [option for option, verdict in judged if verdict.ruling is not Ruling.deny]
        denied = [f"{option.text}: {_denial(verdict)}" for option, verdict in judged if option not in permitted]
        asked = [option for option, verdict in judged if verdict.ruling is Ruling.ask]
        if permitted:
            self._entries.append(_Weighed(problem, permitted, denied, asked))
        else:
            option, verdict = judged[0]
            self.held.append(f"{option.reason} But {_denial(verdict)}.")

    def questions(self) -> list[Option]:
        """What the twin is asked: of each problem in turn one more option, until the question is full."""
        weighed = [entry.permitted for entry in self._entries if entry.problem.kind is not Kind.plain]
        rounds = (option for options in zip_longest(*weighed) for option in options if option is not None)
        return [option for option, _ in zip(rounds, range(CANDIDATES_MOST), strict=False)]

    def hear(self, asked: list[Option], outlook: Outlook | None, refused: str) -> None:
        self._blind = refused
        if outlook is None:
            return
        self._idle, self._horizon_s = outlook.idle, outlook.horizon_s
        for option, impact in zip(asked, outlook.impacts, strict=False):
            if has_numbers(impact):
                self._impacts[id(option)] = impact
            else:
                self._blind = self._blind or impact.text or STOPPED
        if len(outlook.impacts) < len(asked):
            self._blind = self._blind or outlook.text or STOPPED

    def drafts(self) -> tuple[Draft, ...]:
        taken: set[str] = set()
        chosen = []
        for entry in self._entries:
            options = [option for option in entry.permitted if option.target not in taken]
            found = self._choose(entry, options) if options else None
            if found is not None:
                option, draft = found
                taken.add(option.target)
                chosen.append(draft)
        return tuple(chosen[: limits.PROPOSALS_PER_CYCLE])

    def permitted(self, drafts: tuple[Draft, ...], verdicts: list[Verdict]) -> tuple[Draft, ...]:
        """Those that are not denied beside each other."""
        kept = []
        for draft, verdict in zip(drafts, verdicts, strict=True):
            if verdict.ruling is not Ruling.deny:
                kept.append(draft)
            else:
                self.held.append(f"{draft.reason} But {_denial(verdict)}.")
        return tuple(kept[: limits.ACTIONS_PER_CYCLE])

    # -- one problem

    def _choose(self, entry: _Weighed, options: list[Option]) -> tuple[Option, Draft] | None:
        worths = [self._worth(option, option in entry.asked) for option in options if id(option) in self._impacts]
        kind = entry.problem.kind
        if kind is Kind.plain:
            return self._by_numbers_alone(entry, options)
        if not worths:
            return self._by_numbers_alone(entry, options, blind=True)
        if kind is Kind.idling:
            return self._unless_it_harms(entry, worths[0])
        if kind is Kind.ahead and not self._will_wait(entry.problem):
            return None
        found = best(worths)
        if found is None:
            self._hold(entry, worths)
            return None
        return found.option, self._draft(entry, found, worths)

    def _worth(self, option: Option, asks: bool) -> Worth:
        committed_s = self.observation.guardrails.shrink_after_growth_ms / 1000
        impact = self._impacts[id(option)]
        doubt = doubt_of(self._calibration.get(option.kind))
        return weigh(option, impact, self.weights, doubt=doubt, committed_s=committed_s, asks=asks)

    def _by_numbers_alone(
        self, entry: _Weighed, options: list[Option], *, blind: bool = False
    ) -> tuple[Option, Draft] | None:
        option = next((one for one in options if one.blind), None)
        if option is None:
            return None
        evidence = (f"not foreseen: {self._blind or FULL}",) if blind else ()
        alternatives = (*_unweighed(entry.problem, option), *entry.denied)[: limits.EVIDENCE_MAX]
        return option, option.draft(evidence, alternatives)

    def _unless_it_harms(self, entry: _Weighed, worth: Worth) -> tuple[Option, Draft] | None:
        """What was measured justifies it; the twin may only object (G14)."""
        if worth.harms:
            self.held.append(f"{worth.option.reason} But the twin objects: {worth.option.text}: {worth.said()}.")
            return None
        return worth.option, self._draft(entry, worth, [worth])

    def _will_wait(self, problem: Problem) -> bool:
        """Whether the pool's work will soon wait longer than its target, if nothing is done."""
        waited = self._idle.pool_waited_s.get(problem.pool, ()) if self._idle is not None else ()
        soon = (wait_s for at, wait_s in enumerate(waited, 1) if at * self._horizon_s <= AHEAD_S * len(waited))
        return max(soon, default=0.0) > problem.target_wait_s

    def _hold(self, entry: _Weighed, worths: list[Worth]) -> None:
        top = max(worths, key=lambda worth: worth.ranks_s)
        self.held.append(
            f"{top.option.reason} But the best that was weighed is {top.verdict()}: {top.option.text}: {top.said()}."
        )

    def _draft(self, entry: _Weighed, chosen: Worth, worths: list[Worth]) -> Draft:
        others = sorted((worth for worth in worths if worth is not chosen), key=lambda worth: -worth.ranks_s)
        said = []
        for worth in others:
            why = worth.verdict()
            said.append(f"{worth.option.text}: {worth.said()}{f': {why}' if why else ''}")
        idle = chosen.impact.idle
        stay = nothing(idle, chosen.impact.horizon_s) if idle is not None else entry.problem.nothing
        evidence = f"foreseen, {chosen.impact.draws} draws: {chosen.said()}"
        return chosen.option.draft((evidence,), (stay, *said, *entry.denied)[: limits.EVIDENCE_MAX])


def _denial(verdict: Verdict) -> str:
    note = verdict.notes[-1]
    return f"{note.rule} denies it: {note.text}"
