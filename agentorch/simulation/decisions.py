"""Decision by decision: each recorded cycle is put before another brain, on the recorded state, with effects off.

The recording is folded forward once. Where settings are to be otherwise, the events that configured them are replaced
on their way into the fold, so that state, observation and verdicts agree on what is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from agentorch.config.overrides import Overrides
from agentorch.core.evolve import evolve
from agentorch.core.facts import Facts
from agentorch.core.guardrails import preview
from agentorch.core.guardrails.describe import title
from agentorch.core.guardrails.drafts import read_action
from agentorch.core.state import State
from agentorch.model import events as ev
from agentorch.model.brain import Brain
from agentorch.model.observation import Observation, PoolFacts
from agentorch.model.proposals import Action, BrainReport, Draft, Proposal, Ruling, Verdict, target_of
from agentorch.model.twin import Course, Outlook, Range
from agentorch.model.units import seconds
from agentorch.schemas.replay import CycleDocument, PredictedDocument, StanceDocument, WantedDocument
from agentorch.schemas.supervision import NoteDocument
from agentorch.schemas.twin import CourseDocument, RangeDocument
from agentorch.simulation.asking import ask
from agentorch.simulation.supervised import Foresee

Tell = Callable[[int], None]
#: Impacts of all drafts of each course at once, in the state of that moment.
Predict = Callable[[State, tuple[tuple[Draft, ...], ...], int], Outlook]

#: After these a proposal is in another state than before.
_TURNS: Final = (
    ev.ProposalSuperseded,
    ev.ApprovalAnswered,
    ev.ApprovalExpired,
    ev.ProposalLapsed,
    ev.ActionRefused,
    ev.ActionStarted,
    ev.ActionEnded,
)


class Window(msgspec.Struct, frozen=True):
    """From after one sequence number up to and with another."""

    after: int
    upto: int


class Compared(msgspec.Struct):
    """Everything that was decided within a window, and would have been."""

    cycles: list[CycleDocument] = []
    undecided: int = 0  # cycles that were observed and never decided
    brains: dict[str, int] = {}


def altered(event: ev.Event, overrides: Overrides) -> ev.Event:
    """The event as it would have been, had the overrides been in force."""
    match event:
        case ev.PoolConfigured():
            return msgspec.structs.replace(event, spec=overrides.pool(event.spec))
        case ev.TenantConfigured():
            return msgspec.structs.replace(event, spec=overrides.tenant(event.spec))
        case ev.GuardrailsConfigured():
            return msgspec.structs.replace(event, settings=overrides.guardrails(event.settings))
        case ev.ModeChanged() if overrides.mode is not None:
            return msgspec.structs.replace(event, mode=overrides.mode)
    return event


def beginning(overrides: Overrides) -> State:
    """An empty state in which the overrides are in force already."""
    facts = Facts()
    facts.settings = overrides.guardrails(facts.settings)
    facts.mode = overrides.mode or facts.mode
    return State(facts)


def as_seen(seen: Observation, state: State, overrides: Overrides) -> Observation:
    """What would have been observed, had the overrides been in force."""
    if not overrides.given:
        return seen
    pools = tuple(_pool_as_seen(pool, state.facts) for pool in seen.pools)
    return msgspec.structs.replace(seen, mode=state.facts.mode, guardrails=state.facts.settings, pools=pools)


def _pool_as_seen(pool: PoolFacts, facts: Facts) -> PoolFacts:
    found = facts.pools.get(pool.name)
    if found is None:
        return pool
    spec = found.spec
    return msgspec.structs.replace(
        pool,
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        price_usd_micros_per_hour=spec.price_usd_micros_per_hour,
        protected=spec.protected,
        target_wait_s=spec.target_wait_ms / 1000,
    )


class _Walk:
    """Folds a recording, and asks at each of its decisions."""

    def __init__(self, brain: Brain, overrides: Overrides, foresee: Foresee, predict: Predict) -> None:
        self.state = beginning(overrides)
        self.brain = brain
        self.overrides = overrides
        self.foresee = foresee
        self.predict = predict
        self.compared = Compared()
        self.seen: ev.CycleObserved | None = None
        self.seen_seq = 0
        self.wanted: dict[str, tuple[int, WantedDocument]] = {}  # by proposal: (cycle's place in the list, it)
        self.at: dict[int, int] = {}  # cycle -> its place in the list

    async def step(self, seq: int, event: ev.Event, *, inside: bool) -> None:
        if inside:
            await self.look(seq, event)
        evolve(self.state, altered(event, self.overrides))
        if isinstance(event, _TURNS) and event.proposal in self.wanted:
            found = self.state.facts.proposals.get(event.proposal)
            if found is not None:
                self.wanted[event.proposal][1].state = found.state

    async def look(self, seq: int, event: ev.Event) -> None:
        """Before the event is folded in: the state is what the core judged on."""
        match event:
            case ev.CycleObserved():
                self.compared.undecided += self.seen is not None
                self.seen, self.seen_seq = event, seq
            case ev.CycleDecided() if self.seen is not None and event.cycle == self.seen.observation.cycle:
                await self.decided(self.seen, event)
                self.seen = None
            case ev.ProposalJudged() if event.proposal.cycle in self.at:
                self.judged(event.proposal)

    async def decided(self, seen: ev.CycleObserved, event: ev.CycleDecided) -> None:
        observation = as_seen(seen.observation, self.state, self.overrides)
        now_ms = event.at_ms
        report = await ask(self.brain, observation, self.state, now_ms, self.foresee)
        verdicts = preview(self.state, report.drafts, now_ms, report.brain)
        would = stance(report)
        for draft, verdict in zip(report.drafts, verdicts, strict=True):
            would.actions.append(wanted(self.state.facts, draft, verdict))
        was_said = preview(self.state, event.report.drafts, now_ms, event.report.brain)
        was = _undenied(event.report.drafts, was_said)
        predicted = self.predicted(was, _undenied(report.drafts, verdicts), now_ms)
        cycle = observation.cycle
        self.at[cycle] = len(self.compared.cycles)
        self.compared.brains[event.report.brain] = self.compared.brains.get(event.report.brain, 0) + 1
        self.compared.cycles.append(
            CycleDocument(
                cycle=cycle,
                seq=self.seen_seq,
                at=seconds(seen.at_ms),
                was=stance(event.report),
                would=would,
                same=False,
                predicted=predicted,
            )
        )

    def predicted(self, was: tuple[Draft, ...], would: tuple[Draft, ...], now_ms: int) -> PredictedDocument:
        if sorted(map(_encoded, was)) == sorted(map(_encoded, would)):
            return PredictedDocument(text="the same is done")
        outlook = self.predict(self.state, (was, would), now_ms)
        courses = [_course(impact.acted or outlook.idle) for impact in outlook.impacts]
        said = [outlook.text, *(impact.text for impact in outlook.impacts if impact.acted is None)]
        return PredictedDocument(
            horizon_s=outlook.horizon_s,
            draws=outlook.draws,
            idle=_course(outlook.idle),
            was=courses[0],
            would=courses[1],
            was_gain_s=_range(outlook.impacts[0].gain_s),
            would_gain_s=_range(outlook.impacts[1].gain_s),
            text="; ".join(dict.fromkeys(text for text in said if text)),
        )

    def judged(self, proposal: Proposal) -> None:
        at = self.at[proposal.cycle]
        found = as_recorded(proposal)
        self.compared.cycles[at].was.actions.append(found)
        self.wanted[proposal.id] = (at, found)


def stance(report: BrainReport) -> StanceDocument:
    return StanceDocument(brain=report.brain, hold=report.hold, error=report.error)


def wanted(facts: Facts, draft: Draft, verdict: Verdict) -> WantedDocument:
    action, _ = read_action(draft)
    return _wanted(action, title(facts, action), draft.reason, verdict)


def as_recorded(proposal: Proposal) -> WantedDocument:
    found = _wanted(proposal.action, proposal.title, proposal.reason, proposal.verdict)
    found.state = proposal.state
    found.impact = None if proposal.impact is None else msgspec.to_builtins(proposal.impact)
    return found


def _wanted(action: Action | None, text: str, reason: str, verdict: Verdict) -> WantedDocument:
    return WantedDocument(
        kind="malformed" if action is None else str(action.__struct_config__.tag),
        target="" if action is None else target_of(action),
        title=text,
        action=None if action is None else msgspec.to_builtins(action),
        reason=reason,
        ruling=verdict.ruling,
        notes=[NoteDocument(rule=note.rule, ruling=note.ruling, text=note.text) for note in verdict.notes],
    )


def _undenied(drafts: tuple[Draft, ...], verdicts: list[Verdict]) -> tuple[Draft, ...]:
    return tuple(draft for draft, said in zip(drafts, verdicts, strict=True) if said.ruling is not Ruling.deny)


def _encoded(draft: Draft) -> bytes:
    return msgspec.json.encode(draft.action, order="deterministic")


def _range(found: Range) -> RangeDocument:
    return RangeDocument(low=found.low, mid=found.mid, high=found.high)


def _course(course: Course) -> CourseDocument:
    return CourseDocument.model_validate(msgspec.to_builtins(course))


async def side_by_side(
    events: Sequence[ev.Event],
    window: Window,
    brain: Brain,
    overrides: Overrides,
    *,
    foresee: Foresee,
    predict: Predict,
    tell: Tell = lambda done: None,
) -> Compared:
    """Put every decision of the window before another brain. Raises ConfigError for overrides that can't be."""
    walk = _Walk(brain, overrides, foresee, predict)
    told = 0
    for at, event in enumerate(events[: window.upto], 1):
        await walk.step(at, event, inside=at > window.after)
        if len(walk.compared.cycles) > told:
            told = len(walk.compared.cycles)
            tell(told)
    for cycle in walk.compared.cycles:
        settle(cycle)
    return walk.compared


def settle(cycle: CycleDocument) -> None:
    """Say what differs, and count the rulings."""
    for side in (cycle.was, cycle.would):
        for one in side.actions:
            side.verdicts[one.ruling] = side.verdicts.get(one.ruling, 0) + 1
    was, would = ([_key(one) for one in side.actions] for side in (cycle.was, cycle.would))
    only_was = _less(cycle.was.actions, would)
    only_would = _less(cycle.would.actions, was)
    judged = {_what(one): one.ruling for one in only_was}
    for one in only_would:
        before = judged.pop(_what(one), None)
        text = (
            f"also wants: {one.title} ({one.ruling})" if before is None else f"{one.title}: {one.ruling}, not {before}"
        )
        cycle.differences.append(text)
    gone = [one for one in only_was if _what(one) in judged]
    cycle.differences += [f"does not want: {one.title} ({one.ruling})" for one in gone]
    if bool(cycle.was.error) != bool(cycle.would.error):
        cycle.differences.append(f"fails: {cycle.would.error}" if cycle.would.error else "does not fail")
    cycle.same = not cycle.differences


def _what(one: WantedDocument) -> str:
    found: Any = one.action if one.action is not None else one.title
    return msgspec.json.encode(found, order="deterministic").decode()


def _key(one: WantedDocument) -> str:
    return f"{one.ruling} {_what(one)}"


def _less(mine: Sequence[WantedDocument], others: Sequence[str]) -> list[WantedDocument]:
    """Those that the others have not, each as often as it is missing."""
    left = list(others)
    out = []
    for one in mine:
        key = _key(one)
        if key in left:
            left.remove(key)
        else:
            out.append(one)
    return out
