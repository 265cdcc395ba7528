"""Cycles, modes and actions: who may do what when, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Cause, JobState
from agentorch.model.proposals import Alert, BrainReport, Draft, Mode, Reroute, Reschedule, Scale, Uncordon
from tests.core.guardrails.supervised import CORDON, GROW, Supervised, last, refusal, small_fleet


@pytest.fixture
def world() -> Iterator[Supervised]:
    world = small_fleet()
    yield world
    world.assert_sound()


# -- cycles


def test_a_report_is_for_the_present_cycle_and_only_once(world: Supervised) -> None:
    report = BrainReport(brain="b", hold="nothing to do")
    assert refusal(world, cmd.HandIn(cycle=0, report=report)) == "conflict"
    old = world.observe().cycle
    cycle = world.observe().cycle
    assert refusal(world, cmd.HandIn(cycle=old, report=report)) == "conflict"
    assert world.ask(cmd.HandIn(cycle=cycle, report=report)) == []
    assert refusal(world, cmd.HandIn(cycle=cycle, report=report)) == "conflict"
    assert world.facts.decisions[cycle].report.hold == "nothing to do"


def test_a_brain_that_fails_holds_and_is_counted(world: Supervised) -> None:
    drafts = (Draft(action={"kind": "scale", "pool": "cpu", "workers": 4}),)
    for failures in (1, 2):
        assert world.hand_in(drafts=drafts, error="timed out") == []
        assert world.facts.brain_failures == failures
    world.hand_in(fallback_from="llm")
    assert world.facts.brain_failures == 3
    world.hand_in(hold="nothing")
    assert world.facts.brain_failures == 0
    assert world.facts.proposals == {}


def test_too_many_drafts_are_denied_one_by_one_and_then_together(world: Supervised) -> None:
    proposals = world.hand_in(*[Alert(text=f"alert {index}") for index in range(100)])
    assert len(proposals) == 33
    assert [str(one.state) for one in proposals].count("allowed") == 5
    assert "68 more" in proposals[-1].verdict.notes[-1].text


def test_what_can_not_be_recorded_is_a_brains_error(world: Supervised) -> None:
    assert world.hand_in(drafts=5) == []
    assert "can't be recorded" in world.facts.decisions[world.facts.cycle].report.error


def test_memory_of_cycles_and_proposals_is_bounded(world: Supervised) -> None:
    kept = world.propose(CORDON)
    for _ in range(limits.OBSERVATIONS_KEPT + 1):
        world.observe()
    with_observation = [one for one in world.facts.decisions.values() if one.observation is not None]
    assert len(with_observation) == limits.OBSERVATIONS_KEPT
    for _ in range(limits.PROPOSALS_KEPT // 33 + 1):
        world.hand_in(*[{}] * 100)
    assert len(world.facts.proposals) == limits.PROPOSALS_KEPT
    assert kept.id in world.facts.proposals, "what waits for an answer is never forgotten"


# -- modes


@pytest.mark.parametrize(
    ("mode", "grow", "cordon"),
    [
        (Mode.paused, "denied", "denied"),
        (Mode.observe, "observed", "observed"),
        (Mode.approve, "open", "open"),
        (Mode.guarded, "allowed", "open"),
    ],
)
def test_a_mode_decides_how_far_a_proposal_goes(world: Supervised, mode: Mode, grow: str, cordon: str) -> None:
    world.ask(cmd.SetMode(mode=mode, by="ann"))
    assert [one.state for one in world.hand_in(GROW, CORDON)] == [grow, cordon]
    assert world.hand_in("nonsense")[0].state == "denied"


def test_only_a_person_raises_the_mode(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.paused, by="watchdog", person=False))
    assert refusal(world, cmd.SetMode(mode=Mode.observe, by="watchdog", person=False)) == "forbidden"
    world.ask(cmd.SetMode(mode=Mode.guarded, by="ann", reason="all well"))
    assert (world.facts.mode, world.facts.mode_by, world.facts.mode_reason) == (Mode.guarded, "ann", "all well")


def test_a_safer_mode_stops_what_was_allowed_before(world: Supervised) -> None:
    for mode in (Mode.approve, Mode.observe, Mode.paused):
        world.ask(cmd.SetMode(mode=Mode.guarded, by="ann"))
        allowed = world.propose(GROW)
        world.ask(cmd.SetMode(mode=mode, by="ann"))
        assert world.carry_out(allowed).state == "denied"
        assert last(world, ev.ActionRefused).notes[0].startswith("mode:")


def test_in_a_pause_nothing_is_approved_and_everything_may_be_rejected(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    world.ask(cmd.SetMode(mode=Mode.paused, by="ann"))
    with pytest.raises(Refused) as refused:
        world.answer(proposal)
    assert refused.value.code == "paused"
    assert world.answer(proposal, "reject").state == "rejected"


# -- actions


def test_what_is_denied_by_now_is_not_done(world: Supervised) -> None:
    proposal = world.propose(GROW)
    world.ask(cmd.PausePool(pool="cpu", paused=True, by="bob", reason="fire"))
    assert world.carry_out(proposal).state == "denied"
    assert last(world, ev.ActionRefused).notes == ("G12: cpu is paused: fire",)


def test_what_must_be_asked_by_now_goes_to_the_inbox(world: Supervised) -> None:
    proposal = world.propose(GROW)
    world.ask(cmd.ConfigureGuardrails(settings=GuardrailSettings(always_ask=("scale",))))
    found = world.carry_out(proposal)
    assert found.state == "open"
    assert found.expires_ms == world.now_ms + limits.APPROVAL_TTL_MS


def test_growing_ends_when_the_workers_are_there(world: Supervised) -> None:
    found = world.carry_out(world.propose(GROW))
    assert (found.state, found.outcome) == ("done", "4 workers")


def test_shrinking_ends_when_the_last_job_has_left(world: Supervised) -> None:
    world.pool("free", workers=2)
    jobs = world.run_some(2)
    world.watch(1000)
    busy = world.job(jobs[0]).attempts[-1].pool
    world.end(jobs[1])
    proposal = world.propose(Scale(pool=busy, workers=1))
    if proposal.state != "allowed":
        world.watch(400)
        proposal = world.propose(Scale(pool=busy, workers=1))
    assert world.carry_out(proposal).state in ("acting", "done")
    world.end(jobs[0])
    world.tick(1)
    assert world.proposal(proposal).state == "done"


def test_preempting_ends_when_the_job_has_left_its_worker(world: Supervised) -> None:
    (job,) = world.run_some(1, run_s=100)
    proposal = world.propose(Reschedule(job=job, change="preempt"))
    world.answer(proposal)
    assert world.carry_out(proposal).state == "acting"
    assert world.job(job).state is JobState.stopping
    world.tick(5)
    assert world.proposal(proposal).state == "acting"
    world.end(job, Cause.preempted, None)
    world.tick()
    assert world.proposal(proposal).state == "done"
    assert world.job(job).was_preempted


def test_an_action_that_never_gets_there_has_failed(world: Supervised) -> None:
    (job,) = world.run_some(1, run_s=100)
    proposal = world.propose(Reschedule(job=job, change="requeue"))
    world.answer(proposal)
    world.carry_out(proposal)
    world.tick(limits.ACTING_TTL_MS // 1000)
    assert (world.proposal(proposal).state, world.proposal(proposal).outcome) == (
        "failed",
        "not there after 30 minutes",
    )


def test_each_action_does_what_it_says(world: Supervised) -> None:
    (job,) = [world.submit()]
    start_ms = world.now_ms + 500_000

    def do(action: Any) -> None:
        proposal = world.propose(action)
        if proposal.state == "open":
            world.answer(proposal)
        assert world.carry_out(proposal).state == "done", action
        world.now_ms += 60_000

    do(Reschedule(job=job, change="start_at", start_ms=start_ms))
    do(Reroute(pool="other", job=job))
    do(Reschedule(job=job, change="priority", priority=80))
    found = world.job(job)
    assert (found.not_before_ms, found.route_pool, found.priority) == (start_ms, "other", 80)
    do(Reschedule(job=job, change="pause"))
    assert world.job(job).state is JobState.held
    do(Reschedule(job=job, change="resume"))
    assert world.job(job).state is JobState.queued
    do(CORDON)
    do(Uncordon(worker="cpu-0"))
    assert not world.facts.workers["cpu-0"].cordoned
    do(Alert(text="all done"))
    assert world.facts.alerts[-1].text == "all done"
