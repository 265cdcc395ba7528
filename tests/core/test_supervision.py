"""Cycles, modes, approvals and actions: who may do what when, and what silence, change and haste lead to."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Cause, JobState
from agentorch.model.proposals import Alert, BrainReport, Cordon, Draft, Mode, Reroute, Reschedule, Scale, Uncordon
from tests.core.guardrails.supervised import Supervised

MINUTE_S = 60


@pytest.fixture
def world() -> Any:
    world = Supervised()
    world.tenant()
    world.pool(workers=2)
    world.pool("other", workers=1)
    yield world
    world.assert_sound()


GROW = Scale(pool="cpu", workers=4)
CORDON = Cordon(worker="cpu-0")


def refusal(world: Supervised, command: cmd.Command) -> str:
    events = len(world.events)
    with pytest.raises(Refused) as refused:
        world.ask(command)
    assert len(world.events) == events
    return refused.value.code


def last(world: Supervised, kind: type) -> Any:
    return [event for event in world.events if isinstance(event, kind)][-1]


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
    assert [one.state for one in proposals].count("allowed") == 5
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


# -- approvals


def test_a_yes_is_carried_out_once(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    assert world.answer(proposal).state == "approved"
    assert world.carry_out(proposal).state == "done"
    events = len(world.events)
    assert world.carry_out(proposal).state == "done"
    assert len(world.events) == events
    assert world.facts.workers["cpu-0"].cordoned


def test_nothing_open_denied_or_rejected_is_carried_out(world: Supervised) -> None:
    waiting, denied = world.hand_in(CORDON, Cordon(worker="nobody"))
    assert refusal(world, cmd.CarryOut(proposal=waiting.id)) == "conflict"
    assert refusal(world, cmd.CarryOut(proposal=denied.id)) == "already_answered"
    world.answer(waiting, "reject", reason="no")
    assert refusal(world, cmd.CarryOut(proposal=waiting.id)) == "already_answered"
    assert refusal(world, cmd.CarryOut(proposal="p-999999")) == "not_found"


def test_the_first_answer_wins(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    world.answer(proposal, "reject", reason="not now")
    with pytest.raises(Refused) as refused:
        world.answer(proposal, by="bob")
    assert refused.value.code == "already_answered"
    assert world.proposal(proposal).answer.by == "ann"  # type: ignore[union-attr]


def test_silence_is_a_no_and_not_a_persons(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    world.now_ms = proposal.expires_ms
    with pytest.raises(Refused) as refused:
        world.answer(proposal)
    assert refused.value.code == "expired"
    world.tick()
    found = world.proposal(proposal)
    assert (found.state, found.answer) == ("expired", None)
    with pytest.raises(Refused) as refused:
        world.answer(proposal, "reject")
    assert refused.value.code == "expired"
    assert refusal(world, cmd.CarryOut(proposal=proposal.id)) == "expired"


def test_how_long_an_approval_waits_is_a_setting(world: Supervised) -> None:
    world.ask(cmd.ConfigureGuardrails(settings=GuardrailSettings(approval_ttl_ms=limits.APPROVAL_TTL_MIN_MS)))
    proposal = world.propose(CORDON)
    world.tick(59)
    assert world.proposal(proposal).state == "open"
    world.tick(1)
    assert world.proposal(proposal).state == "expired"


def test_a_yes_needs_the_hash_that_was_looked_at(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    for given, code in (("", "invalid"), ("0" * 64, "changed")):
        with pytest.raises(Refused) as refused:
            world.answer(proposal, hash=given)
        assert refused.value.code == code


def test_when_the_world_moves_the_question_comes_back_changed(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    proposal = world.propose(GROW)
    world.ask(cmd.ScalePool(pool="cpu", workers=3, by="bob"))
    with pytest.raises(Refused) as refused:
        world.answer(proposal)
    assert refused.value.code == "changed"
    world.tick()
    found = world.proposal(proposal)
    assert (found.state, found.changed, found.before) == ("open", 1, "3 workers")
    assert found.hash != proposal.hash
    assert found.expires_ms == proposal.expires_ms, "change gives it no longer life"
    assert "it was 2 workers, it is 3 workers" in found.verdict.notes[-1].text
    with pytest.raises(Refused):
        world.answer(proposal)
    assert world.answer(found).state == "approved"


def test_a_question_that_the_world_answered_is_withdrawn(world: Supervised) -> None:
    proposal = world.propose(CORDON)
    world.ask(cmd.CordonWorker(worker="cpu-0", cordoned=True, by="bob"))
    world.tick()
    assert world.proposal(proposal).state == "denied"
    assert last(world, ev.ActionRefused).notes[0] == "target: cpu-0 is cordoned already"


def test_a_yes_to_a_world_that_moved_is_never_carried_out(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    proposal = world.propose(GROW)
    world.answer(proposal)
    world.ask(cmd.ScalePool(pool="cpu", workers=3, by="bob"))
    found = world.carry_out(proposal)
    assert (found.state, found.changed, found.answer) == ("open", 1, None)
    assert world.facts.pools["cpu"].target == 3


def test_a_yes_that_nobody_acts_on_lapses(world: Supervised) -> None:
    approved = world.propose(CORDON)
    world.answer(approved)
    world.tick(5 * MINUTE_S - 1)
    assert world.proposal(approved).state == "approved"
    world.tick(1)
    assert world.proposal(approved).state == "lapsed"


def test_what_is_allowed_lapses_after_a_minute_with_or_without_a_tick(world: Supervised) -> None:
    ticked = world.propose(GROW)
    world.tick(MINUTE_S)
    assert world.proposal(ticked).state == "lapsed"
    late = world.propose(GROW)
    world.now_ms += MINUTE_S * 1000
    assert world.carry_out(late).state == "lapsed"
    assert world.facts.pools["cpu"].target == 2


def test_an_edit_narrows(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    proposal = world.propose(GROW)
    edited = world.answer(proposal, "edit", edits={"workers": 3})
    assert (edited.action, edited.title) == (Scale(pool="cpu", workers=3), "Grow cpu from 2 to 3 workers")
    assert edited.answer is not None
    assert edited.answer.previous == GROW
    assert edited.hash != proposal.hash
    assert world.carry_out(proposal).state == "done"
    assert world.facts.pools["cpu"].target == 3


@pytest.mark.parametrize(
    ("edits", "code"),
    [
        ({"workers": 5}, "widened"),
        ({"workers": 1}, "widened"),
        ({"workers": 2}, "widened"),
        ({"workers": "3"}, "widened"),
        ({"pool": "other"}, "widened"),
        ({"workers": 3, "pool": "other"}, "widened"),
        ({}, "invalid"),
    ],
)
def test_an_edit_never_widens(world: Supervised, edits: dict[str, Any], code: str) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    proposal = world.propose(GROW)
    with pytest.raises(Refused) as refused:
        world.answer(proposal, "edit", edits=edits)
    assert refused.value.code == code
    assert world.proposal(proposal).state == "open"


def test_an_edit_is_judged_again(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    job = world.submit()
    start_ms = world.now_ms + 100_000
    proposal = world.propose(Reschedule(job=job, change="start_at", start_ms=start_ms))
    world.tick(50)
    with pytest.raises(Refused) as refused:
        world.answer(proposal, "edit", edits={"start_ms": start_ms - 60_000})
    assert refused.value.code in ("guardrail", "widened")
    assert world.answer(proposal, "edit", edits={"start_ms": start_ms - 10_000}).state == "approved"


def test_a_class_is_narrowed_in_number_and_a_priority_towards_the_present(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    jobs = [world.submit(priority=50) for _ in range(30)]
    route, hurry = world.hand_in(
        Reroute(pool="other", from_pool="cpu", at_most=3), Reschedule(job=jobs[29], change="priority", priority=90)
    )
    for proposal, edits in ((route, {"at_most": 4}), (hurry, {"priority": 91}), (hurry, {"priority": 50})):
        with pytest.raises(Refused) as refused:
            world.answer(proposal, "edit", edits=edits)
        assert refused.value.code == "widened"
    world.answer(route, "edit", edits={"at_most": 1})
    world.answer(hurry, "edit", edits={"priority": 51})
    world.carry_out(route)
    world.carry_out(hurry)
    assert [name for name in jobs if world.job(name).route_pool == "other"] == jobs[:1]
    assert world.job(jobs[29]).priority == 51


# -- the inbox


def test_a_target_has_one_question_at_a_time(world: Supervised) -> None:
    jobs = world.run_some(2, run_s=100)
    first = world.propose(Reschedule(job=jobs[0], change="preempt"))
    same = world.propose(Reschedule(job=jobs[0], change="preempt"))
    other = world.propose(Reschedule(job=jobs[0], change="requeue"))
    assert (same.state, same.verdict.notes[-1].rule) == ("denied", "duplicate")
    assert (world.proposal(first).state, other.state) == ("superseded", "open")


def test_what_a_person_approved_is_not_superseded(world: Supervised) -> None:
    first = world.propose(CORDON)
    world.answer(first)
    again = world.propose(CORDON)
    assert (world.proposal(first).state, again.state) == ("approved", "denied")


def test_a_no_is_not_asked_again_at_once(world: Supervised) -> None:
    world.answer(world.propose(CORDON), "reject")
    assert world.propose(CORDON).verdict.notes[-1].rule == "duplicate"
    world.now_ms += limits.APPROVAL_TTL_MS
    assert world.propose(CORDON).state == "open"


def test_at_most_twenty_questions_wait(world: Supervised) -> None:
    world.ask(cmd.SetMode(mode=Mode.approve, by="ann"))
    for index in range(25):
        world.propose(Alert(text=f"alert {index}"))
    states = [one.state for one in world.facts.proposals.values()]
    assert states == ["open"] * 20 + ["denied"] * 5
    assert list(world.facts.proposals.values())[-1].verdict.notes[-1].rule == "pending-cap"


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
    assert found.state is JobState.held
    do(Reschedule(job=job, change="resume"))
    assert found.state is JobState.queued
    do(CORDON)
    do(Uncordon(worker="cpu-0"))
    assert not world.facts.workers["cpu-0"].cordoned
    do(Alert(text="all done"))
    assert world.facts.alerts[-1].text == "all done"
