"""All rules together: the strictest wins, a rule that fails is a no, what is previewed is what is judged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentorch.core.guardrails import RULES, affected_jobs, judge, preview
from agentorch.core.guardrails.drafts import read_action, recordable
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.proposals import (
    RULING_RANK,
    Action,
    Alert,
    BrainReport,
    Cordon,
    Draft,
    Reroute,
    Reschedule,
    Ruling,
    Scale,
)
from tests.core.guardrails.supervised import Supervised, note_of, rules_that


@pytest.fixture
def world() -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=2)
    world.observe()
    return world


def test_every_guardrail_that_judges_actions_is_asked() -> None:
    assert [rule_id for rule_id, _ in RULES] == ["schema", "target", *(f"G{n}" for n in range(1, 17))]


def test_the_strictest_ruling_wins_and_its_notes_come_last(world: Supervised) -> None:
    verdict = judge(world.state, Scale(pool="cpu", workers=9), world.now_ms)
    assert verdict.ruling is Ruling.deny
    ranks = [RULING_RANK[note.ruling] for note in verdict.notes]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 1


def test_a_rule_that_fails_is_a_no_under_its_own_id(world: Supervised) -> None:
    world.facts.pools["cpu"].target = "two"
    verdict = judge(world.state, Scale(pool="cpu", workers=3), world.now_ms)
    assert verdict.ruling is Ruling.deny
    assert "could not be evaluated (TypeError)" in note_of(verdict, "G1").text


def test_a_yes_settles_what_was_asked_and_nothing_that_is_denied(world: Supervised) -> None:
    asked = judge(world.state, Cordon(worker="cpu-0"), world.now_ms)
    assert asked.ruling is Ruling.ask
    approved = judge(world.state, Cordon(worker="cpu-0"), world.now_ms, approved=True)
    assert approved.ruling is Ruling.allow
    assert len(approved.notes) == len(asked.notes)
    denied = judge(world.state, Cordon(worker="nobody"), world.now_ms, approved=True)
    assert denied.ruling is Ruling.deny


NONSENSE: list[tuple[Action, str]] = [
    (Scale(pool="nobody", workers=3), "target"),
    (Reschedule(job="nobody", change="pause"), "target"),
    (Reschedule(job="job-000001", change="priority"), "schema"),
    (Reschedule(job="job-000001", change="priority", priority=101), "schema"),
    (Reschedule(job="job-000001", change="priority", priority=50), "target"),
    (Reschedule(job="job-000001", change="pause", priority=5), "schema"),
    (Reschedule(job="job-000001", change="resume"), "target"),
    (Reschedule(job="job-000001", change="start_at", start_ms=5), "target"),
    (Reschedule(job="job-000001", change="start_at"), "schema"),
    (Reroute(pool="nobody", job="job-000001"), "target"),
    (Reroute(pool="cpu", job="nobody"), "target"),
    (Reroute(pool="cpu"), "schema"),
    (Reroute(pool="cpu", job="job-000001", at_most=2), "schema"),
    (Reroute(pool="cpu", tier="urgent"), "schema"),
    (Reroute(pool="cpu", tier="batch", at_most=51), "schema"),
    (Reroute(pool="cpu", from_pool="cpu"), "target"),
    (Reroute(pool="cpu", tenant="nobody"), "target"),
    (Cordon(worker="nobody"), "target"),
    (Alert(text="  "), "schema"),
    (Alert(text="x" * 2001), "schema"),
]


@pytest.mark.parametrize(("action", "rule"), NONSENSE)
def test_what_means_nothing_is_denied_by_name(world: Supervised, action: Action, rule: str) -> None:
    world.submit()
    assert rule in rules_that(judge(world.state, action, world.now_ms), Ruling.deny)


def test_starts_are_not_put_off_for_ever_nor_past_a_deadline(world: Supervised) -> None:
    now = world.now_ms
    free = world.submit()
    bound = world.submit(deadline_ms=now + 100_000, max_duration_ms=40_000)
    later = world.submit(not_before_ms=now + 50_000)
    for job, ahead_ms, fine in (
        (free, 86_400_000, True),
        (free, 86_400_001, False),
        (bound, 60_000, True),
        (bound, 60_001, False),
        (later, 49_999, False),
        (later, 50_001, True),
    ):
        action = Reschedule(job=job, change="start_at", start_ms=now + ahead_ms)
        assert (judge(world.state, action, now).ruling is not Ruling.deny) is fine


def test_preview_says_what_handing_in_would_say(world: Supervised) -> None:
    jobs = [world.submit() for _ in range(4)]
    actions: list[Any] = [
        {"kind": "scale", "pool": "cpu", "workers": 4},
        {"kind": "scale", "pool": "cpu", "workers": 3},
        {"kind": "cordon", "worker": "cpu-0"},
        *({"kind": "reschedule", "job": job, "change": "priority", "priority": 60} for job in jobs),
        "nonsense",
    ]
    drafts = tuple(Draft(action=action) for action in actions)
    cycle = world.observe().cycle
    before = msgspec.msgpack.encode(world.facts)
    previewed = preview(world.state, drafts, world.now_ms)
    assert msgspec.msgpack.encode(world.facts) == before, "a preview records nothing"
    handed_in = world.ask(cmd.HandIn(cycle=cycle, report=BrainReport(brain="b", drafts=drafts)))
    assert [one.ruling for one in previewed] == [one.verdict.ruling for one in handed_in]


def test_settings_tighten_what_is_judged(world: Supervised) -> None:
    grow = Scale(pool="cpu", workers=4)
    assert judge(world.state, grow, world.now_ms).ruling is Ruling.allow
    tight = GuardrailSettings(scale_up_step=1, scale_up_share_percent=10)
    world.ask(cmd.ConfigureGuardrails(settings=tight))
    assert judge(world.state, grow, world.now_ms).ruling is Ruling.deny
    with pytest.raises(Refused, match="only tighten"):
        world.ask(cmd.ConfigureGuardrails(settings=GuardrailSettings(scale_up_step=3)))


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "scale", "pool": "cpu", "workers": 3.5},
        {"kind": "scale", "pool": "cpu", "workers": "3"},
        {"kind": "scale", "pool": "cpu", "workers": True},
        {"kind": "scale", "pool": "cpu", "workers": 2**70},
        {"kind": "scale", "pool": "cpu", "workers": float("nan")},
        {"kind": "scale", "pool": "\ud800", "workers": 3},
        {"kind": "scale", "pool": "cpu", "workers": 3, "force": True},
        {"kind": "approve", "proposal": "p-000001"},
        Scale(pool="cpu", workers="3"),  # type: ignore[arg-type]
        [],
        None,
        object(),
    ],
)
def test_what_is_no_action_is_not_made_one(action: object) -> None:
    found, why = read_action(Draft(action=action))
    assert found is None
    assert why
    report = recordable(BrainReport(brain="b", drafts=(Draft(action=action),)))
    assert msgspec.json.decode(msgspec.json.encode(report), type=BrainReport) == report


def test_an_action_is_read_from_its_fields_or_from_itself() -> None:
    action = Reschedule(job="job-000001", change="priority", priority=7)
    assert read_action(Draft(action=msgspec.to_builtins(action))) == (action, "")
    assert read_action(Draft(action=action)) == (action, "")


def test_the_jobs_that_an_action_reaches(world: Supervised) -> None:
    world.pool("other", workers=0)
    running = world.run_some(2)
    waiting = [world.submit() for _ in range(3)]
    worker = world.job(running[0]).attempts[-1].worker
    assert affected_jobs(world.state, Cordon(worker=worker)) == [running[0]]
    assert affected_jobs(world.state, Reroute(pool="other", from_pool="cpu", at_most=2)) == waiting[:2]
    assert affected_jobs(world.state, Reschedule(job=waiting[0], change="pause")) == [waiting[0]]
    assert affected_jobs(world.state, Scale(pool="cpu", workers=1)) == []
