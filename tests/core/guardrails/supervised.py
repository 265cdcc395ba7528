"""A world with a supervisor in it: cycles, proposals, answers, and time that passes under observation."""

from __future__ import annotations

from typing import Any

from agentorch.core.guardrails.case import Case, Rule
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.observation import DeviceSample, Observation
from agentorch.model.proposals import (
    Action,
    AnswerKind,
    BrainReport,
    Cordon,
    Draft,
    Note,
    Proposal,
    Ruling,
    Scale,
    Verdict,
)
from tests.core.world import World


class Supervised(World):
    def cpu(self, age_s: float = 0) -> DeviceSample:
        return DeviceSample(
            id="cpu", kind="cpu", utilization_percent=10.0, at_ms=self.now_ms - int(age_s * 1000), node="local"
        )

    def observe(self, *devices: DeviceSample) -> Observation:
        seen = self.ask(cmd.Observe(devices=devices or (self.cpu(),)))
        assert isinstance(seen, Observation)
        return seen

    def watch(self, seconds: float, every: float = 20) -> None:
        """Let time pass while cycles observe."""
        until_ms = self.now_ms + int(seconds * 1000)
        self.observe()
        while self.now_ms < until_ms:
            self.now_ms = min(until_ms, self.now_ms + int(every * 1000))
            self.observe()

    def hand_in(self, *actions: Any, **report: Any) -> list[Proposal]:
        """Observe, then hand in these actions, of any type."""
        drafts = tuple(Draft(action=action) for action in actions)
        cycle = self.observe().cycle
        found = self.ask(cmd.HandIn(cycle=cycle, report=BrainReport(**({"brain": "b", "drafts": drafts} | report))))
        assert isinstance(found, list)
        return found

    def propose(self, action: Any) -> Proposal:
        (proposal,) = self.hand_in(action)
        return proposal

    def carry_out(self, proposal: Proposal) -> Proposal:
        done = self.ask(cmd.CarryOut(proposal=proposal.id))
        assert isinstance(done, Proposal)
        return done

    def answer(self, proposal: Proposal, kind: str = "approve", **fields: Any) -> Proposal:
        given = {"by": "ann", "hash": proposal.hash} | fields
        answered = self.ask(cmd.AnswerApproval(proposal=proposal.id, kind=AnswerKind(kind), **given))
        assert isinstance(answered, Proposal)
        return answered

    def proposal(self, proposal: Proposal) -> Proposal:
        found = self.facts.proposals[proposal.id]
        assert isinstance(found, Proposal)
        return found

    def run_some(self, count: int, *, run_s: float = 0, **spec: Any) -> list[str]:
        """Submit jobs, start them and let them run."""
        names = [self.submit(**spec) for _ in range(count)]
        self.schedule()
        for name in names:
            self.running(name)
        self.now_ms += int(run_s * 1000)
        return names

    def case(self, action: Action, *earlier: Action) -> Case:
        return Case(self.state, action, self.now_ms, earlier)

    def said(self, rule: Rule, action: Action, *earlier: Action) -> Ruling | None:
        """What one rule says; None when it has nothing to say."""
        note = rule(self.case(action, *earlier))
        return None if note is None else note.ruling


def note_of(verdict: Verdict, rule: str) -> Note:
    """The note of one rule in a verdict."""
    (note,) = [note for note in verdict.notes if note.rule == rule]
    return note


def rules_that(verdict: Verdict, ruling: Ruling) -> set[str]:
    return {note.rule for note in verdict.notes if note.ruling is ruling}


GROW = Scale(pool="cpu", workers=4)
CORDON = Cordon(worker="cpu-0")


def small_fleet() -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=2)
    world.pool("other", workers=1)
    return world


def refusal(world: Supervised, command: cmd.Command) -> str:
    """The code that a command is refused with; nothing may have happened."""
    events = len(world.events)
    try:
        world.ask(command)
    except Refused as refused:
        assert len(world.events) == events
        return refused.code
    raise AssertionError(f"{command} was not refused")


def last(world: Supervised, kind: type) -> Any:
    """The newest event of a kind."""
    return [event for event in world.events if isinstance(event, kind)][-1]
