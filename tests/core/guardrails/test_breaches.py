"""The independent judge can find what it looks for: a ledger with one wrong in it is not passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.jobs import Cause
from agentorch.model.proposals import Mode, Reroute, Reschedule, Scale
from tests.core.guardrails.breaches import breaches
from tests.core.guardrails.supervised import CORDON, GROW, Supervised, small_fleet


def lived() -> Supervised:
    """A ledger in which a little of everything was rightly done."""
    world = small_fleet()
    world.pool("shut", workers=2, protected=True)
    (job,) = world.run_some(1, run_s=100)
    for action in (GROW, CORDON, Reschedule(job=job, change="preempt")):
        proposal = world.propose(action)
        if proposal.state == "open":
            world.answer(proposal)
        world.carry_out(proposal)
        world.now_ms += 61_000
    world.end(job, Cause.preempted, None)
    world.tick()
    waiting = world.submit()
    world.carry_out(world.propose(Reroute(pool="other", job=waiting)))
    world.watch(700)
    world.carry_out(world.propose(Scale(pool="cpu", workers=3)))
    return world


def test_what_was_rightly_done_is_passed() -> None:
    world = lived()
    assert sum(isinstance(event, ev.ActionStarted) for event in world.events) == 5
    assert breaches(world.events) == []


Tamper = Callable[[list[Any]], list[Any]]


def without(kind: type, **fields: Any) -> Tamper:
    """Leave out the events of this kind with these fields."""

    def tamper(events: list[Any]) -> list[Any]:
        def is_meant(event: Any) -> bool:
            return isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())

        return [event for event in events if not is_meant(event)]

    return tamper


def changed(kind: type, **fields: Any) -> Tamper:
    """Change the last event of this kind."""

    def tamper(events: list[Any]) -> list[Any]:
        index = max(i for i, event in enumerate(events) if isinstance(event, kind))
        return [*events[:index], msgspec.structs.replace(events[index], **fields), *events[index + 1 :]]

    return tamper


def put_first(*added: Any) -> Tamper:
    return lambda events: [*added, *events]


def put_before_actions(added: Any) -> Tamper:
    def tamper(events: list[Any]) -> list[Any]:
        index = next(i for i, event in enumerate(events) if isinstance(event, ev.ActionStarted))
        return [*events[:index], added, *events[index:]]

    return tamper


@pytest.mark.parametrize(
    ("tamper", "text"),
    [
        (without(ev.ApprovalAnswered), "while open"),
        (without(ev.CycleObserved), "stale telemetry"),
        (without(ev.AttemptRunning), "minimum run time"),
        (without(ev.ActionStarted), "outside of any action"),
        (changed(ev.ActionStarted, action=Scale(pool="cpu", workers=1)), "in one step"),
        (changed(ev.ActionStarted, action=Scale(pool="cpu", workers=9)), "out of its bounds"),
        (changed(ev.ActionStarted, action=Scale(pool="shut", workers=1)), "is protected"),
        (changed(ev.ActionStarted, action=GROW), "as something else"),
        (put_before_actions(ev.ModeChanged(at_ms=0, mode=Mode.observe, by="ann")), "in mode observe"),
        (put_first(ev.KeyRevoked(at_ms=0, key="k", by="supervisor")), "outside of any action"),
    ],
)
def test_a_wrong_is_found(tamper: Tamper, text: str) -> None:
    found = breaches(tamper(lived().events))
    assert any(text in breach for breach in found), found


def test_a_second_time_within_a_minute_is_found() -> None:
    world = lived()
    again = [event for event in world.events if isinstance(event, ev.ActionStarted)][-1]
    assert any("twice within a minute" in breach for breach in breaches([*world.events, again]))


def test_a_flood_of_questions_is_found() -> None:
    world = small_fleet()
    world.propose(CORDON)
    judged = world.events[-1]
    assert isinstance(judged, ev.ProposalJudged)
    flood = [
        msgspec.structs.replace(judged, proposal=msgspec.structs.replace(judged.proposal, id=f"p-{index:06d}"))
        for index in range(21)
    ]
    assert any("21 approvals wait" in breach for breach in breaches([*world.events[:-1], *flood]))
    assert not breaches([*world.events[:-1], *flood[:20]])


def test_a_person_may_do_what_the_supervisor_may_not() -> None:
    world = small_fleet()
    world.ask(cmd.ScalePool(pool="cpu", workers=8, by="ann"))
    world.ask(cmd.ScalePool(pool="cpu", workers=0, by="ann"))
    assert breaches(world.events) == []
