"""The rule brain with a twin to ask: it chooses what saves most, holds inside the noise, and says what it weighed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agentorch.core.policy import BRAIN_ID, RuleBrain, Weights
from agentorch.core.policy.brain import CANDIDATES_MOST
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.observation import JobFacts, Observation, TenantFacts, WorkerFacts
from agentorch.model.proposals import BrainReport, Draft, Note, Ruling, Verdict
from agentorch.model.twin import Calibrated, Course, Impact, Outlook, Range
from tests.core.test_policy import BUSY, DOLLAR, pool, queued, seen

Action = dict[str, Any]
IDLE = Course(wait_p95_s=Range(200, 300, 400), queued=Range(4, 5, 6), pool_waited_s={"cpu": (100.0, *[200.0] * 11)})


def saving(low: float, mid: float, high: float, **acted: Any) -> Impact:
    """An action that saves so many seconds of waiting, and changes the course in these measures."""
    return Impact(
        horizon_s=3600.0,
        draws=9,
        idle=IDLE,
        acted=msgspec.structs.replace(IDLE, **acted),
        gain_s=Range(low, mid, high),
    )


NOISE = saving(-100, 30, 200)


class Told:
    """What guardrails and twin answer, and what they were asked."""

    def __init__(
        self,
        impact: Callable[[Action], Impact],
        ruling: Callable[[Action], Ruling] = lambda _: Ruling.allow,
    ) -> None:
        self.impact = impact
        self.ruling = ruling
        self.idle = IDLE
        self.asked: list[Action] = []
        self.questions = 0
        self.previews = 0

    async def preview(self, drafts: tuple[Draft, ...]) -> list[Verdict]:
        self.previews += 1
        return [self._verdict(draft.action) for draft in drafts]

    def _verdict(self, action: Action) -> Verdict:
        ruling = self.ruling(action)
        return Verdict(ruling, (Note("G1", ruling, "too big"),))

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        self.questions += 1
        self.asked += [draft.action for draft in drafts]
        impacts = tuple(self.impact(draft.action) for draft in drafts)
        return Outlook(horizon_s=3600.0, idle=self.idle, impacts=impacts, draws=9)

    def decide(self, observation: Observation, weights: Weights | None = None) -> BrainReport:
        context = BrainContext(preview=self.preview, foresee=self.foresee, timeout_s=5)
        return asyncio.run(RuleBrain(weights).decide(observation, context))


def by_size(sizes: dict[int, Impact], otherwise: Impact = NOISE) -> Callable[[Action], Impact]:
    return lambda action: sizes.get(action.get("workers", -1), otherwise)


def six(ruling: Ruling) -> Callable[[Action], Ruling]:
    return lambda action: ruling if action.get("workers") == 6 else Ruling.allow


def blind(observation: Observation) -> BrainReport:
    """What the brain says when there is no twin."""

    def refuse(action: Action) -> Impact:
        raise Refused("unreachable", "there is no twin")

    return Told(refuse).decide(observation)


def actions(report: BrainReport) -> list[Action]:
    return [draft.action for draft in report.drafts]


# -- choosing


def test_of_several_sizes_the_one_that_saves_most_is_proposed() -> None:
    told = Told(by_size({5: saving(100, 200, 300), 6: saving(500, 900, 1200)}))
    assert actions(told.decide(seen(pool(**BUSY)))) == [{"kind": "scale", "pool": "cpu", "workers": 6}]
    assert told.questions == 1


def test_of_sizes_that_save_nearly_as_much_the_smallest_is_enough() -> None:
    told = Told(by_size({5: saving(500, 880, 1200), 6: saving(500, 900, 1200)}))
    assert actions(told.decide(seen(pool(**BUSY)))) == [{"kind": "scale", "pool": "cpu", "workers": 5}]


def test_another_kind_of_action_is_chosen_when_it_saves_more() -> None:
    full, idle = pool(**BUSY), pool("other", workers=2, available=2, idle=2, target=2, need=2)
    jobs = tuple(queued(f"job-{index:06d}", pools=("cpu", "other")) for index in range(5))
    told = Told(lambda action: saving(500, 900, 1200) if action["kind"] == "reroute" else saving(50, 100, 150))
    found = actions(told.decide(seen(full, idle, queued=jobs)))
    assert found == [{"kind": "reroute", "pool": "other", "from_pool": "cpu", "at_most": 2}]


def test_growing_ahead_of_need_is_weighed_too() -> None:
    told = Told(by_size({5: saving(100, 200, 300), 6: saving(500, 900, 1200)}))
    observation = seen(pool(**BUSY | {"need": 5}))
    assert actions(told.decide(observation)) == [{"kind": "scale", "pool": "cpu", "workers": 6}]


def test_another_pool_grows_when_that_is_cheaper_or_the_only_way() -> None:
    full = pool(**BUSY, max_workers=4)
    busy = {"workers": 1, "available": 1, "busy": 1, "idle": 0, "target": 1}
    cheap, dear = pool("cheap", **busy), pool("dear", **busy)
    dear = msgspec.structs.replace(dear, price_usd_micros_per_hour=50 * DOLLAR)
    jobs = tuple(queued(f"job-{index:06d}", pools=("cpu", "dear", "cheap")) for index in range(5))
    told = Told(by_size({}, saving(500, 900, 1200)))
    assert actions(told.decide(seen(full, dear, cheap, queued=jobs))) == [
        {"kind": "scale", "pool": "cheap", "workers": 2}
    ]
    assert {action["pool"] for action in told.asked} == {"cheap", "dear"}


def test_less_urgent_work_is_stopped_only_where_the_twin_says_it_pays() -> None:
    full = pool(**BUSY, max_workers=4)
    urgent = queued(tier="standard", pools=("cpu",))
    batch = {"name": "", "tenant": "t", "state": "running", "priority": 50, "pool": "cpu", "tier": "batch"}
    running = (
        JobFacts(id="job-000011", run_s=900.0, **batch),
        JobFacts(id="job-000012", run_s=90.0, **batch),
        JobFacts(id="job-000013", run_s=10.0, **batch),
        JobFacts(id="job-000014", run_s=80.0, **batch | {"tier": "standard"}),
        JobFacts(id="job-000015", run_s=80.0, preemptible=False, **batch),
    )
    observation = seen(full, queued=(urgent,), running=running)
    stopped: dict[str, Any] = {"preempted": Range(1, 1, 1), "lost_s": Range(90, 90, 90)}
    pays = Told(lambda _: saving(500, 900, 1200, **stopped))
    assert actions(pays.decide(observation)) == [{"kind": "reschedule", "job": "job-000012", "change": "preempt"}]
    costs = Told(lambda _: saving(100, 140, 180, **stopped))
    assert "not worth its price" in costs.decide(observation).hold
    assert actions(blind(observation)) == []


def test_what_guardrails_deny_is_not_asked_about_and_is_listed() -> None:
    told = Told(by_size({5: saving(100, 200, 300)}), six(Ruling.deny))
    (draft,) = told.decide(seen(pool(**BUSY))).drafts
    assert draft.action["workers"] == 5
    assert [action["workers"] for action in told.asked] == [5]
    assert draft.alternatives[-1] == "scale cpu to 6: G1 denies it: too big"


def test_what_a_person_would_be_asked_for_must_save_twice_as_much() -> None:
    for saved, size in [(300, 5), (500, 6)]:
        told = Told(by_size({5: saving(100, 200, 300), 6: saving(100, saved, 900)}), six(Ruling.ask))
        (draft,) = told.decide(seen(pool(**BUSY))).drafts
        assert draft.action["workers"] == size
        assert any("a person must be asked" in text for text in (*draft.evidence, *draft.alternatives))


# -- holding


@pytest.mark.parametrize(
    ("impact", "why"),
    [
        (
            saving(-10, 500, 900),
            "inside the noise: scale cpu to 6: 8.3 min (-10 s to 15 min) of waiting saved in 60 min",
        ),
        (saving(0, 500, 900), "inside the noise"),
        (saving(10, 40, 90), "under the least that counts, 60 s"),
        (saving(-900, -500, -100), "harmful"),
    ],
)
def test_it_holds_when_the_gain_is_inside_the_noise_and_says_so_in_numbers(impact: Impact, why: str) -> None:
    report = Told(by_size({}, impact)).decide(seen(pool(**BUSY), queued_total=20, running_total=4))
    assert report.drafts == ()
    assert report.hold.startswith("20 jobs wait and 4 run; the longest wait is in cpu, p95 90 s of 60 s wanted. ")
    assert why in report.hold


def test_a_gain_must_be_worth_its_price() -> None:
    priced = msgspec.structs.replace(pool(**BUSY | {"need": 5}), price_usd_micros_per_hour=12 * DOLLAR)
    # Ten minutes of one worker at $12 an hour that no work uses are $2, an hour of waiting.
    used = Range(DOLLAR, DOLLAR, DOLLAR)
    for impact, waiting, grows in [
        (saving(3000, 3500, 4000), 2, False),
        (saving(3200, 3700, 4200), 2, True),
        (saving(3000, 3500, 4000), 3, True),
        (saving(1500, 2000, 2500, cost_usd_micros=used), 2, True),
        (saving(1200, 1700, 2200, cost_usd_micros=used), 2, False),
    ]:
        weights = Weights(waiting_usd_micros_per_hour=waiting * DOLLAR)
        report = Told(by_size({5: impact})).decide(seen(priced), weights)
        assert bool(report.drafts) is grows
        assert grows or "not worth its price" in report.hold
        assert grows or "wastes $" in report.hold


def test_an_unknown_price_is_said_and_left_to_people() -> None:
    unknown = msgspec.structs.replace(pool(**BUSY), price_usd_micros_per_hour=None)
    (draft,) = Told(by_size({}, saving(500, 900, 1200))).decide(seen(unknown)).drafts
    assert "wastes an unknown sum" in draft.evidence[-1]


def test_what_happens_rarely_and_saves_much_counts_by_its_mean() -> None:
    priced = msgspec.structs.replace(pool(**BUSY | {"need": 5}), price_usd_micros_per_hour=12 * DOLLAR)
    assert Told(by_size({5: saving(30, 900, 18_000)})).decide(seen(priced)).drafts


def test_deadlines_met_count_beside_waiting() -> None:
    late = queued(deadline_in_s=1000.0, remaining_s=900.0)
    idle = msgspec.structs.replace(IDLE, misses=Range(0, 1, 1))

    def met(action: Action) -> Impact:
        none = saving(-50, 0, 50, misses=Range(0, 0, 0) if action["priority"] == 100 else Range(0, 1, 1))
        return msgspec.structs.replace(none, idle=idle)

    told = Told(met)
    (draft,) = told.decide(seen(queued=(late,))).drafts
    assert draft.action == {"kind": "reschedule", "job": "job-000001", "change": "priority", "priority": 100}
    assert "0.7 deadlines met" in draft.evidence[-1]
    assert draft.alternatives[0].endswith("deadlines missed: 1")
    assert "inside the noise" in Told(lambda _: NOISE).decide(seen(queued=(late,))).hold


def test_whoever_was_wrong_before_must_see_a_clearer_gain() -> None:
    impact = saving(50, 100, 300)
    for scored, inside, grows, doubt in [
        (19, 0, True, "worth 2.4 min"),
        (20, 16, True, "worth 2.4 min"),
        (20, 13, True, "worth 118 s, gains count 81 % for past errors"),
        (20, 8, False, "under the least that counts, 2.0 min"),
        (20, 0, False, "under the least that counts, 4.0 min"),
    ]:
        found = tuple(Calibrated(brain, "scale", scored, inside) for brain in ("other", BRAIN_ID))
        report = Told(by_size({}, impact)).decide(seen(pool(**BUSY), calibration=found))
        said = report.drafts[0].evidence[-1] if grows else report.hold
        assert doubt in said
        assert bool(report.drafts) is grows
    others = (Calibrated("other", "scale", 20, 0), Calibrated(BRAIN_ID, "reroute", 20, 0))
    assert Told(by_size({}, impact)).decide(seen(pool(**BUSY), calibration=others)).drafts


def test_work_that_waits_in_gaps_is_helped_where_the_twin_says_that_growing_does() -> None:
    gaps = pool(**BUSY | {"queued": 1, "need": 4})
    stuck = seen(gaps, queued=(queued(reason="no_capacity"),))
    told = Told(by_size({5: saving(500, 900, 1200)}))
    assert actions(told.decide(stuck)) == [{"kind": "scale", "pool": "cpu", "workers": 5}]
    assert actions(blind(stuck)) == []
    poor = Told(by_size({}, saving(500, 900, 1200)))
    assert actions(poor.decide(seen(gaps, queued=(queued(reason="budget"),)))) == []
    assert poor.questions == 0


# -- predictions add, never remove (G14)


def test_work_that_would_wait_too_long_is_helped_before_it_does() -> None:
    early = seen(pool(**BUSY | {"wait_s_p95": 5.0, "oldest_wait_s": 5.0}))
    told = Told(by_size({}, saving(500, 900, 1200)))
    assert actions(told.decide(early)) == [{"kind": "scale", "pool": "cpu", "workers": 5}]
    told.idle = msgspec.structs.replace(IDLE, pool_waited_s={"cpu": (50.0, *[900.0] * 11)})
    assert actions(told.decide(early)) == [], "its target of 60 s is kept in the next five minutes"
    assert actions(blind(early)) == []


def test_the_twin_may_only_object_to_giving_back() -> None:
    idle = seen(pool())
    for impact, shrinks in [
        (saving(0, 0, 0), True),
        (saving(-50, -20, 0), True),
        (saving(-900, -500, -100), False),
        (saving(-900, -500, 0), True),
        (saving(0, 0, 0, misses=Range(0, 1, 1)), False),
    ]:
        report = Told(lambda _, impact=impact: impact).decide(idle)  # type: ignore[misc]
        assert actions(report) == ([{"kind": "scale", "pool": "cpu", "workers": 3}] if shrinks else [])
        assert shrinks or "But the twin objects: shrink cpu to 3" in report.hold
    priced = seen(msgspec.structs.replace(pool(), price_usd_micros_per_hour=12 * DOLLAR))
    (draft,) = Told(lambda _: saving(-900, -500, -100)).decide(priced).drafts
    assert "saves $12.00" in draft.evidence[-1], "which is worth more than that much waiting"
    needed = seen(pool(need=4, busy=4, idle=0))
    told = Told(lambda _: saving(500, 900, 1200))
    assert (actions(told.decide(needed)), told.questions) == ([], 0)


# -- what is asked, and what is not


def test_cordons_and_alerts_need_no_twin() -> None:
    sick, well = WorkerFacts(id="a", pool="cpu", state="up", failures=3), WorkerFacts(id="b", pool="cpu", state="up")
    tenant = TenantFacts(name="t", hard_cap_usd_micros=DOLLAR, spent_usd_micros=DOLLAR, queued=1)
    told = Told(lambda _: NOISE)
    assert [one["kind"] for one in actions(told.decide(seen(workers=(sick, well), tenants=(tenant,))))] == [
        "cordon",
        "alert",
    ]
    assert told.questions == 0


def test_a_question_is_bounded_and_every_problem_has_a_part_in_it() -> None:
    pools = [pool(f"p{index}", **BUSY) for index in range(6)]
    told = Told(by_size({}, saving(500, 900, 1200)))
    report = told.decide(seen(*pools))
    assert (told.questions, len(told.asked)) == (1, CANDIDATES_MOST)
    assert len({action["pool"] for action in told.asked}) == 6
    assert len(report.drafts) == limits.ACTIONS_PER_CYCLE


def test_what_did_not_fit_into_the_question_is_judged_by_its_numbers_and_says_so() -> None:
    pools = [pool(f"p{index}", **BUSY) for index in range(CANDIDATES_MOST + 1)]
    (draft,) = Told(by_size({})).decide(seen(*pools)).drafts
    assert draft.action["pool"] == f"p{CANDIDATES_MOST}"
    assert "the question to the twin was full" in draft.evidence[-1]


def test_however_much_is_wrong_the_questions_fit_into_a_cycle() -> None:
    """Hundreds of sick workers whose cordons are denied keep nobody from seeing that work waits."""
    workers = tuple(WorkerFacts(id=f"w{index}", pool="p0", state="up", failures=3) for index in range(200))
    well = WorkerFacts(id="well", pool="p0", state="up")
    pools = [pool(f"p{index}", **BUSY, max_workers=4 + 6 * (index % 2)) for index in range(40)]
    spare = [pool(f"s{index}", workers=1, available=1, idle=index % 2, target=1) for index in range(40)]
    names = tuple(one.name for one in (*pools, *spare))
    jobs = tuple(
        queued(f"job-{index}", pool=f"p{index}", pools=names, deadline_in_s=10.0, remaining_s=1.0)
        for index in range(40)
    )
    told = Told(
        by_size({}, saving(500, 900, 1200)), lambda one: Ruling.deny if one["kind"] == "cordon" else Ruling.allow
    )
    report = told.decide(seen(*pools, *spare, workers=(*workers, well), queued=jobs))
    assert told.previews < limits.BRAIN_PREVIEWS_PER_CYCLE
    assert len(report.drafts) == limits.ACTIONS_PER_CYCLE
    assert {action["kind"] for action in actions(report)} == {"reroute", "scale"}


def test_one_target_is_proposed_for_once() -> None:
    """Two full pools whose work may run in a third: it grows once a cycle."""
    full = [pool(name, **BUSY, max_workers=4) for name in ("a", "b")]
    spare = pool("c", workers=1, available=1, busy=1, idle=0, target=1)
    jobs = tuple(queued(f"job-{name}", pool=name, pools=(name, "c")) for name in ("a", "b"))
    report = Told(by_size({}, saving(500, 900, 1200))).decide(seen(*full, spare, queued=jobs))
    assert [action["pool"] for action in actions(report)] == ["c"]


# -- the record


def test_a_draft_lists_what_was_weighed_with_its_numbers() -> None:
    told = Told(by_size({5: saving(100, 200, 300), 6: saving(600, 900, 1200)}))
    (draft,) = told.decide(seen(pool(**BUSY))).drafts
    assert draft.reason == "20 jobs wait in cpu, p95 90 s of 60 s wanted; it needs 24 workers, has 4."
    assert draft.evidence == (
        "cpu: 20 queued, 4 running, 4 of 4 workers busy, 24 needed, 1 to 10 allowed, wait p95 90 s of 60 s wanted",
        "foreseen, 9 draws: 15 min (10 min to 20 min) of waiting saved in 60 min; worth 15 min",
    )
    assert draft.alternatives == (
        "do nothing: p95 of waits 5.0 min (3.3 min to 6.7 min), 5 queued after 60 min",
        "scale cpu to 5: 3.3 min (100 s to 5.0 min) of waiting saved in 60 min; worth 3.3 min",
    )


def test_changes_are_taken_draw_by_draw_where_the_twin_tells_them() -> None:
    """One of nine draws misses a deadline fewer: by the two courses alone that would not be seen."""
    late = queued(deadline_in_s=1000.0, remaining_s=900.0)
    impact = msgspec.structs.replace(saving(-50, 0, 50), changed={"misses": Range(-1, 0, 0)})
    (draft,) = Told(lambda _: impact).decide(seen(queued=(late,))).drafts
    assert "0.3 deadlines met" in draft.evidence[-1]


def test_the_same_answers_give_the_same_report() -> None:
    observation = seen(pool(**BUSY), pool("other"), queued=(queued(deadline_in_s=10.0),))
    reports = [Told(by_size({}, saving(500, 900, 1200))).decide(observation) for _ in range(2)]
    assert msgspec.json.encode(reports[0]) == msgspec.json.encode(reports[1])
