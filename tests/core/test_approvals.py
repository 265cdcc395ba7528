"""Approvals: answered once, by people, to exactly what they looked at; silence, change and haste lead to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.proposals import Alert, Cordon, Mode, Reroute, Reschedule, Scale
from tests.core.guardrails.supervised import CORDON, GROW, Supervised, last, refusal, small_fleet

MINUTE_S = 60


@pytest.fixture
def world() -> Iterator[Supervised]:
    world = small_fleet()
    yield world
    world.assert_sound()


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
