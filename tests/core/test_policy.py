"""The rule brain: it wants what numbers justify, holds with a reason otherwise, and says the same thing twice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agentorch.core.guardrails import preview
from agentorch.core.policy import RuleBrain, decide
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.observation import JobFacts, Observation, PoolFacts, TenantFacts, WorkerFacts
from agentorch.model.proposals import BrainReport, Draft, Mode, Verdict
from agentorch.model.twin import Outlook
from tests.core.guardrails.supervised import Supervised

DOLLAR = 1_000_000


def pool(name: str = "cpu", **facts: Any) -> PoolFacts:
    fields: dict[str, Any] = {
        "workers": 4,
        "available": 4,
        "busy": 0,
        "idle": 4,
        "target": 4,
        "min_workers": 1,
        "max_workers": 10,
    }
    return PoolFacts(name=name, price_usd_micros_per_hour=0, **(fields | facts))


BUSY: dict[str, Any] = {
    "busy": 4,
    "idle": 0,
    "queued": 20,
    "running": 4,
    "need": 24,
    "wait_s_p95": 90.0,
    "oldest_wait_s": 95.0,
}


def seen(*pools: PoolFacts, **facts: Any) -> Observation:
    fields: dict[str, Any] = {"cycle": 1, "seq": 1, "at_ms": 1, "mode": Mode.guarded, "pools": pools}
    return Observation(**(fields | facts))


def queued(job: str = "job-000001", **facts: Any) -> JobFacts:
    fields: dict[str, Any] = {
        "name": "",
        "tenant": "t",
        "tier": "standard",
        "state": "queued",
        "priority": 50,
        "pool": "cpu",
    }
    return JobFacts(id=job, **(fields | facts))


def wanted(observation: Observation) -> list[Any]:
    report = decide(observation)
    for draft in report.drafts:
        assert any(character.isdigit() for character in draft.reason), "a reason has numbers in it"
        assert draft.evidence
        assert draft.alternatives
    assert bool(report.drafts) is not bool(report.hold)
    return [draft.action for draft in report.drafts]


def test_it_holds_and_says_why_in_numbers() -> None:
    report = decide(seen(pool(busy=4, idle=0, need=4, wait_s_p95=3.0), queued_total=2, running_total=4))
    assert report.drafts == ()
    assert report.hold == "2 jobs wait and 4 run; the longest wait is in cpu, p95 3 s of 60 s wanted."
    assert decide(seen(pool(**BUSY), mode=Mode.paused)).hold == "The supervisor is paused."


def test_it_grows_a_pool_that_lets_work_wait_by_one_step() -> None:
    assert wanted(seen(pool(**BUSY))) == [{"kind": "scale", "pool": "cpu", "workers": 6}]
    assert wanted(seen(pool(**BUSY | {"need": 5}))) == [{"kind": "scale", "pool": "cpu", "workers": 5}]
    assert wanted(seen(pool(**BUSY, target_wait_s=200.0))) == []


def test_it_grows_before_the_target_is_missed_when_much_work_came_at_once() -> None:
    early = BUSY | {"wait_s_p95": 31.0, "oldest_wait_s": 31.0}
    assert wanted(seen(pool(**early))) == [{"kind": "scale", "pool": "cpu", "workers": 6}]
    assert wanted(seen(pool(**early | {"need": 5}))) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"max_workers": 4},
        {"paused": True},
        {"protected": True},
        {"need": 4},
        {"queued": 0},
    ],
)
def test_it_does_not_grow_in_vain(facts: dict[str, Any]) -> None:
    assert wanted(seen(pool(**BUSY | facts))) == []


def test_it_leaves_alone_what_was_just_dealt_with() -> None:
    assert wanted(seen(pool(**BUSY), open_targets=("pool:cpu",))) == []
    assert wanted(seen(pool(**BUSY), recent_targets=("pool:cpu",))) == []


def test_it_sends_work_of_a_full_pool_to_an_idle_one() -> None:
    full, idle = pool(**BUSY, max_workers=4), pool("other", workers=2, available=2, idle=2, target=2, need=2)
    jobs = tuple(queued(f"job-{index:06d}", pools=("cpu", "other")) for index in range(5))
    stuck = tuple(queued(f"job-{index:06d}", pools=("cpu",)) for index in range(5))
    assert wanted(seen(full, idle, queued=jobs)) == [
        {"kind": "reroute", "pool": "other", "from_pool": "cpu", "at_most": 2}
    ]
    assert wanted(seen(full, idle, queued=stuck)) == []


def test_it_gives_back_what_is_not_needed_one_step_at_a_time() -> None:
    assert wanted(seen(pool())) == [{"kind": "scale", "pool": "cpu", "workers": 3}]
    assert wanted(seen(pool(min_workers=4))) == []
    assert wanted(seen(pool(need=4, busy=4, idle=0))) == []
    assert wanted(seen(pool(queued=1, need=1))) == []


def test_it_hurries_the_tightest_deadlines() -> None:
    jobs = (
        queued("job-000001", deadline_in_s=1000.0, remaining_s=800.0),
        queued("job-000002", deadline_in_s=1000.0, remaining_s=900.0, priority=90),
        queued("job-000003", deadline_in_s=1000.0, remaining_s=100.0),
        queued("job-000004", deadline_in_s=100.0, remaining_s=200.0),
        queued("job-000005", deadline_in_s=10.0, priority=100),
        queued("job-000006"),
        queued("job-000007", deadline_in_s=250.0),
    )
    assert wanted(seen(queued=jobs)) == [
        {"kind": "reschedule", "job": "job-000002", "change": "priority", "priority": 100},
        {"kind": "reschedule", "job": "job-000001", "change": "priority", "priority": 70},
    ]


def test_it_cordons_what_fails_again_and_again_unless_everything_does() -> None:
    sick, well = WorkerFacts(id="a", pool="cpu", state="up", failures=3), WorkerFacts(id="b", pool="cpu", state="up")
    done = WorkerFacts(id="c", pool="cpu", state="up", failures=3, cordoned=True)
    assert wanted(seen(workers=(sick, well))) == [{"kind": "cordon", "worker": "a"}]
    assert wanted(seen(workers=(sick,))) == []
    assert wanted(seen(workers=(done, well))) == []


def test_it_tells_of_a_budget_that_runs_out_once() -> None:
    def tenant(**facts: int) -> Observation:
        fields: dict[str, Any] = {"hard_cap_usd_micros": 10 * DOLLAR, "running": 1, "burn_usd_micros_per_hour": DOLLAR}
        return seen(tenants=(TenantFacts(name="t", **(fields | facts)),))

    assert wanted(tenant(spent_usd_micros=8 * DOLLAR)) == []
    (alert,) = wanted(tenant(spent_usd_micros=9 * DOLLAR))
    assert alert["text"].startswith("Budget of t is nearly used: $9.00 of $10.00")
    assert wanted(tenant(budget_blocked=3))
    assert wanted(tenant(spent_usd_micros=5 * DOLLAR, burn_usd_micros_per_hour=6 * DOLLAR))
    told = msgspec.structs.replace(tenant(spent_usd_micros=9 * DOLLAR), alerted=(alert["text"],))
    assert wanted(told) == []


def test_it_says_the_same_of_the_same() -> None:
    observation = seen(pool(**BUSY), pool("other"), queued=(queued(deadline_in_s=10.0),))
    assert msgspec.json.encode(decide(observation)) == msgspec.json.encode(decide(observation))


# -- with the guardrails at hand


async def blind(drafts: tuple[Draft, ...]) -> Outlook:
    raise Refused("unreachable", "there is no twin")


def decided(world: Supervised, observation: Observation) -> BrainReport:
    async def ask(drafts: tuple[Draft, ...]) -> list[Verdict]:
        return preview(world.state, drafts, world.now_ms)

    brain: Brain = RuleBrain()
    return asyncio.run(brain.decide(observation, BrainContext(preview=ask, foresee=blind, timeout_s=5)))


def fleet() -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=2, min_workers=1)
    return world


def test_it_hands_in_nothing_that_would_be_denied() -> None:
    world = fleet()
    report = decided(world, world.observe())
    assert report.drafts == ()
    assert "0 of 2 workers of cpu are needed" in report.hold
    assert "G2 denies it: the need of the last 5 min is not known" in report.hold
    world.watch(400)
    assert [draft.action for draft in decided(world, world.observe()).drafts] == [
        {"kind": "scale", "pool": "cpu", "workers": 1}
    ]


def test_a_day_of_cycles_follows_the_load_up_and_down() -> None:
    world = fleet()
    for _ in range(12):
        world.submit()
    sizes = []
    for minute in range(60):
        world.schedule()
        if minute == 20:
            for name in list(world.facts.running):
                world.end(name)
            for name in list(world.facts.jobs):
                if world.job(name).state == "queued":
                    world.ask(cmd.CancelJob(job=name, by="key"))
        for _ in range(3):
            world.now_ms += 20_000
            observation = world.observe()
            report = decided(world, observation)
            for proposal in world.ask(cmd.HandIn(cycle=observation.cycle, report=report)):
                assert proposal.state == "allowed"
                world.carry_out(proposal)
            world.tick()
        sizes.append(world.facts.pools["cpu"].target)
    assert max(sizes) == 8, "as big as it may be while work waits"
    assert sizes[-1] == 1, "as small as it may be when nothing does"
    assert sizes == [*sorted(sizes[:20]), *sorted(sizes[20:], reverse=True)]
    world.assert_sound()


def test_it_wants_no_more_than_tightened_guardrails_allow() -> None:
    """Or tightening a step would only make the supervisor ask for what is always denied."""
    tight = GuardrailSettings(scale_up_step=1, scale_up_share_percent=10)
    assert wanted(seen(pool(**BUSY)))[0]["workers"] == 6
    assert wanted(seen(pool(**BUSY), guardrails=tight))[0]["workers"] == 5


def test_an_observation_tells_the_guardrails_in_force() -> None:
    world = Supervised()
    tight = GuardrailSettings(scale_up_step=1)
    world.ask(cmd.ConfigureGuardrails(settings=tight, by="config"))
    assert world.ask(cmd.Observe()).guardrails == tight
