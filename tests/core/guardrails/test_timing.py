"""G4 stale-data, G5 cooldown."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails.timing import cooldown, stale_data
from agentorch.model.proposals import Action, Alert, Reroute, Reschedule, Ruling, Scale
from tests.core.guardrails.supervised import Supervised

ALLOW, DENY = Ruling.allow, Ruling.deny
SHRINK = Scale(pool="cpu", workers=2)


def fleet(**spec: Any) -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=3, **spec)
    world.pool("other", workers=1)
    return world


# -- G4


def test_g4_local_telemetry_counts_for_fifteen_seconds() -> None:
    world = fleet()
    world.observe(world.cpu(age_s=5))
    world.now_ms += 10_000
    assert world.said(stale_data, SHRINK) is ALLOW
    world.now_ms += 1
    assert world.said(stale_data, SHRINK) is DENY


def test_g4_remote_telemetry_counts_for_thirty_seconds() -> None:
    world = fleet(executor="ray")
    world.observe()
    world.now_ms += 30_000
    assert world.said(stale_data, SHRINK) is ALLOW
    world.now_ms += 1
    assert world.said(stale_data, SHRINK) is DENY


def test_g4_missing_telemetry_counts_as_busy() -> None:
    world = fleet()
    assert world.said(stale_data, SHRINK) is DENY


def test_g4_is_about_taking_away_only() -> None:
    world = fleet()
    assert world.said(stale_data, Scale(pool="cpu", workers=4)) is None
    assert world.said(stale_data, Alert(text="hello")) is None


def test_g4_judges_preemption_and_reroutes_too() -> None:
    world = fleet()
    (running,) = world.run_some(1)
    assert world.said(stale_data, Reschedule(job=running, change="preempt")) is DENY
    for _ in range(4):
        waiting = world.submit()
    assert world.said(stale_data, Reroute(pool="other", job=waiting)) is DENY
    world.observe()
    assert world.said(stale_data, Reschedule(job=running, change="preempt")) is ALLOW
    assert world.said(stale_data, Reroute(pool="other", job=waiting)) is ALLOW


@given(st.floats(0, 100), st.floats(0, 100))
def test_g4_never_lets_older_data_pass(age_s: float, later_s: float) -> None:
    world = fleet()
    world.observe(world.cpu(age_s=age_s))
    world.now_ms += int(later_s * 1000)
    if world.said(stale_data, SHRINK) is ALLOW:
        assert age_s + later_s <= 15.01


# -- G5


def priority(job: str, value: int = 60) -> Action:
    return Reschedule(job=job, change="priority", priority=value)


def test_g5_one_action_on_a_target_in_a_minute() -> None:
    world = fleet()
    job = world.submit()
    world.carry_out(world.propose(priority(job)))
    world.now_ms += 59_999
    assert world.said(cooldown, priority(job, 70)) is DENY
    world.now_ms += 1
    assert world.said(cooldown, priority(job, 70)) is ALLOW


def test_g5_five_actions_in_a_cycle_judged_together() -> None:
    world = fleet()
    proposals = world.hand_in(*[priority(world.submit()) for _ in range(6)])
    assert [one.state for one in proposals] == ["allowed"] * 5 + ["denied"]


def test_g5_identical_actions_do_not_pass_one_by_one() -> None:
    world = fleet()
    job = world.submit()
    assert [one.state for one in world.hand_in(*[priority(job)] * 8)] == ["allowed"] + ["denied"] * 7


@given(st.lists(st.integers(0, 400), min_size=1, max_size=100))
def test_g5_sixty_actions_in_any_hour(waits: list[int]) -> None:
    world = fleet()
    started = []
    for index, wait_s in enumerate(waits):
        world.now_ms += wait_s * 100
        (proposal,) = world.hand_in(Alert(text=f"alert {index}"))
        if proposal.state == "allowed":
            world.carry_out(proposal)
            started.append(world.now_ms)
    for at_ms in started:
        assert sum(1 for other in started if at_ms - 3_600_000 < other <= at_ms) <= 60


def test_g5_the_sixty_first_action_of_an_hour_waits() -> None:
    world = fleet()
    for index in range(60):
        world.carry_out(world.propose(Alert(text=f"alert {index}")))
        world.now_ms += 1000
    assert world.propose(Alert(text="one more")).state == "denied"
    world.now_ms += 3_600_000 - 60_000
    assert world.propose(Alert(text="one more")).state == "allowed"
