"""After its horizon an action is scored: what was foreseen beside what came of it; and bad predictions ask."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from agentorch.core.guardrails import preview
from agentorch.core.guardrails.judge import rejudge
from agentorch.core.policy.brain import BRAIN_ID, RuleBrain
from agentorch.core.twin import foresee
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.jobs import Cause
from agentorch.model.proposals import AnswerKind, BrainReport, Draft, Mode, Proposal, Ruling, Verdict
from agentorch.model.twin import EDITED, Calibration, Impact, Outlook, Range
from tests.core.guardrails.supervised import Supervised
from tests.core.twin.town import scale
from tests.core.world import refold

HOUR_S = 3600


class Scored(Supervised):
    """Two workers, jobs that wait, and a brain whose proposals carry an impact."""

    def __init__(self) -> None:
        super().__init__()
        self.tenant()
        self.pool(workers=2, max_workers=8)
        self.names = [self.submit(max_duration_ms=600_000) for _ in range(6)]
        self.start()

    def start(self) -> None:
        for name in self.schedule():
            self.running(name)

    def foreseen(self, action: Any, **changes: Any) -> Proposal:
        draft = Draft(action=action)
        (impact,) = foresee(self.state, (draft,), self.now_ms, steps=10**6).impacts
        return self.hand(draft, msgspec.structs.replace(impact, **changes))

    def hand(self, draft: Draft, impact: Impact | None) -> Proposal:
        report = BrainReport(brain="b", drafts=(draft,))
        (proposal,) = self.ask(cmd.HandIn(cycle=self.observe().cycle, report=report, impacts=(impact,)))
        assert isinstance(proposal, Proposal)
        return proposal

    def run(self, seconds: float) -> None:
        """Time passes, and work ends after ten minutes."""
        until_ms = self.now_ms + int(seconds * 1000)
        while self.now_ms < until_ms:
            for name in list(self.facts.running):
                attempt = self.job(name).attempts[-1]
                if attempt.started_ms is not None and self.now_ms >= attempt.started_ms + 600_000:
                    self.end(name)
            self.start()
            self.tick(min(30, (until_ms - self.now_ms) / 1000))


def test_an_action_is_scored_when_its_horizon_is_over() -> None:
    world = Scored()
    proposal = world.foreseen(scale(4))
    assert proposal.impact is not None
    world.carry_out(proposal)
    world.run(HOUR_S - 30)
    assert world.facts.proposals[proposal.id].score is None
    world.run(30)
    score = world.facts.proposals[proposal.id].score
    assert score is not None
    found = {one.measure: one for one in score.measures}
    assert found["ended"].measured == 6
    assert found["queued"].measured == 0 if "queued" in found else True
    assert proposal.impact.acted is not None
    assert found["ended"].predicted == proposal.impact.acted.ended
    assert world.facts.watched == {}
    (known,) = world.facts.calibration.items()
    assert known == ("b\0scale", Calibration(len(score.measures), sum(one.inside for one in score.measures)))
    (seen,) = world.observe().calibration
    assert (seen.brain, seen.kind, seen.scored) == ("b", "scale", len(score.measures))
    world.assert_sound()


def test_what_is_measured_is_what_happened() -> None:
    world = Scored()
    late = world.submit(max_duration_ms=60_000, deadline_ms=world.now_ms + 60_000)
    proposal = world.foreseen(scale(3))
    world.carry_out(proposal)
    world.tick(120)
    world.ask(cmd.CancelJob(job=late, by="op"))
    world.start()
    world.tick(HOUR_S - 120)
    score = world.facts.proposals[proposal.id].score
    assert score is not None
    found = {one.measure: one.measured for one in score.measures}
    assert found["misses"] == 1
    assert found["ended"] == 1
    assert found["queued"] == 3
    assert found["wait_p95_s"] == HOUR_S


def test_an_impact_that_was_not_of_this_beginning_gets_no_score() -> None:
    """It was carried out too late, or has no numbers."""
    world = Scored()
    proposal = world.foreseen(scale(4), horizon_s=100.0)
    world.now_ms += 26_000
    world.carry_out(proposal)
    assert world.facts.watched == {}
    assert world.facts.acted
    other = Scored()
    other.carry_out(other.propose(scale(4)))
    assert other.facts.acted
    assert other.facts.watched == {}


def test_an_edited_action_is_not_the_one_that_was_foreseen() -> None:
    world = Scored()
    world.ask(cmd.SetMode(mode=Mode.approve, by="op"))
    proposal = world.foreseen(scale(4))
    answer = cmd.AnswerApproval(
        proposal=proposal.id, kind=AnswerKind.edit, by="op", hash=proposal.hash, edits={"workers": 3}
    )
    world.ask(answer)
    world.carry_out(proposal)
    assert world.facts.watched == {}


def test_a_horizon_that_passed_while_nobody_looked_has_a_score_without_numbers() -> None:
    world = Scored()
    proposal = world.foreseen(scale(4))
    world.carry_out(proposal)
    world.tick(2 * HOUR_S)
    score = world.facts.proposals[proposal.id].score
    assert score is not None
    assert score.measures == ()
    assert world.facts.watched == {}


def test_impacts_may_be_fewer_than_drafts_and_more() -> None:
    world = Scored()
    drafts = (Draft(action=scale(4)), Draft(action={"kind": "cordon", "worker": "cpu-0"}))
    for impacts, kept in (((), [None, None]), ((Impact(text="a"),) * 5, ["a", "a"])):
        report = BrainReport(brain="b", drafts=drafts)
        found = world.ask(cmd.HandIn(cycle=world.observe().cycle, report=report, impacts=impacts))
        assert [one.impact and one.impact.text for one in found] == kept
        world.now_ms += limits.HOUR_MS


def test_a_brain_whose_predictions_fail_must_ask() -> None:
    world = Scored()
    wrong = Range(90.0, 95.0, 99.0)
    verdicts = []
    for size in (3, 4, 5, 6, 7, 8):
        draft = Draft(action=scale(size))
        (impact,) = foresee(world.state, (draft,), world.now_ms, steps=10**6).impacts
        assert impact.acted is not None
        off = msgspec.structs.replace(impact.acted, queued=wrong, ended=wrong, misses=wrong, preempted=wrong)
        proposal = world.hand(draft, msgspec.structs.replace(impact, acted=off))
        verdicts.append(proposal.verdict)
        if proposal.verdict.ruling is Ruling.allow:
            world.carry_out(proposal)
        world.run(HOUR_S + 30)
    asked = [verdict for verdict in verdicts if any(note.rule == "calibration" for note in verdict.notes)]
    assert verdicts[0] not in asked
    assert asked
    assert asked[-1].ruling is Ruling.ask
    assert "which is to hold 80 %" in asked[-1].notes[-1].text


def test_a_verdict_with_that_note_is_judged_the_same_again() -> None:
    world = Scored()
    world.facts.calibration["b\0scale"] = Calibration(limits.CALIBRATION_LEAST, 1)
    before = len(world.events)
    proposal = world.propose(scale(4))
    assert any(note.rule == "calibration" for note in proposal.verdict.notes)
    (judged,) = [event for event in world.events[before:] if isinstance(event, ev.ProposalJudged)]
    state = refold(world.events[: world.events.index(judged)])
    state.facts.calibration["b\0scale"] = Calibration(limits.CALIBRATION_LEAST, 1)
    assert rejudge(state, judged) == proposal.verdict


def test_a_preview_asks_as_handing_in_does() -> None:
    world = Scored()
    world.facts.calibration["b\0scale"] = Calibration(limits.CALIBRATION_LEAST, 1)
    draft = (Draft(action=scale(4)),)
    assert [one.ruling for one in preview(world.state, draft, world.now_ms)] == [Ruling.allow]
    previewed = preview(world.state, draft, world.now_ms, "b")
    assert previewed == [world.propose(scale(4)).verdict]
    assert previewed[0].notes[-1].rule == "calibration"


def test_the_rule_brain_hears_how_its_predictions_came_out() -> None:
    said = []
    for inside in (limits.CALIBRATION_LEAST, 0):
        world = Scored()
        for _ in range(20):
            world.submit(max_duration_ms=600_000)
        world.facts.calibration[f"{BRAIN_ID}\0scale"] = Calibration(limits.CALIBRATION_LEAST, inside)
        world.now_ms += 600_000
        report = asyncio.run(decided(world))
        said.append(" ".join([report.hold, *(text for draft in report.drafts for text in draft.evidence)]))
    assert "for past errors" not in said[0]
    assert "gains count 25 % for past errors" in said[1]
    assert "counted half: a person must be asked" in said[1]


async def decided(world: Scored) -> BrainReport:
    """What it says of what is observed now, with the very guardrails and twin."""

    async def previewed(drafts: tuple[Draft, ...]) -> list[Verdict]:
        return preview(world.state, drafts, world.now_ms, BRAIN_ID)

    async def foreseen(drafts: tuple[Draft, ...]) -> Outlook:
        return foresee(world.state, drafts, world.now_ms)

    context = BrainContext(preview=previewed, foresee=foreseen, timeout_s=1.0)
    return await RuleBrain().decide(world.observe(), context)


def test_an_edited_action_has_the_numbers_of_another_and_that_is_said() -> None:
    world = Scored()
    world.ask(cmd.SetMode(mode=Mode.approve, by="op"))
    proposal = world.foreseen(scale(4))
    assert proposal.impact is not None
    assert proposal.impact.text == ""
    edited = world.answer(proposal, "edit", edits={"workers": 3})
    assert edited.impact == proposal.impact.marked(EDITED)
    assert edited.impact.text == EDITED
    world.carry_out(edited)
    assert world.facts.watched == {}
    world.assert_sound()


def test_a_good_or_a_new_brain_need_not_ask() -> None:
    world = Scored()
    world.facts.calibration["b\0scale"] = Calibration(limits.CALIBRATION_LEAST - 1, 0)
    world.facts.calibration["other\0scale"] = Calibration(100, 0)
    assert world.propose(scale(4)).verdict.ruling is Ruling.allow


def test_deadlines_and_stops_are_counted_as_they_happen() -> None:
    world = Scored()
    (first, second, *_) = world.names
    dated = world.submit(deadline_ms=world.now_ms + 10_000)
    assert list(world.facts.dated) == [dated]
    world.now_ms += 20_000
    world.ask(cmd.CancelJob(job=dated, by="op"))
    assert (world.facts.dated, world.facts.late) == ({}, 1)
    world.ask(cmd.PatchJob(job=first, by="op", pool="cpu"))
    assert world.facts.preempted == 0  # it is there already
    world.pool("other", workers=1)
    world.ask(cmd.PatchJob(job=first, by="op", pool="other"))
    assert world.facts.preempted == 1
    world.end(second, Cause.completed)
    world.assert_sound()
