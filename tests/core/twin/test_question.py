"""What the twin answers: with an action and without it, in ranges, the same each time."""

from __future__ import annotations

import msgspec
import pytest

from agentorch.core.plan import plan
from agentorch.core.twin import compare
from agentorch.core.twin.question import finish
from agentorch.model import limits
from agentorch.model.jobs import Constraints, JobSpec
from agentorch.model.proposals import Draft
from agentorch.model.twin import Outlook
from tests.core.cluster import Cluster, grown
from tests.core.twin.town import Town, scale, stop
from tests.core.world import World, facts_bytes


def said(outlook: Outlook) -> bytes:
    return msgspec.json.encode(outlook)


def test_the_same_question_has_one_answer_and_another_seed_another() -> None:
    town = Town()
    town.crowd(30)
    before = facts_bytes(town.state)
    once = town.ahead(scale(8))
    assert said(once) == said(town.ahead(scale(8)))
    assert said(once) != said(town.ahead(scale(8), seed=1))
    assert facts_bytes(town.state) == before


def test_an_answer_does_not_depend_on_what_happens_meanwhile() -> None:
    town = Town()
    town.crowd(30)
    once = town.ahead(scale(8))
    answer = compare(town.state, (Draft(action=scale(8)),), town.now_ms)
    next(answer)
    town.tick(60)
    town.crowd(10)
    for name in list(town.facts.running):
        town.end(name)
    assert said(finish(answer)) == said(once)


def test_workers_more_take_waiting_away() -> None:
    town = Town()
    town.crowd(60)
    found = town.impact(scale(12), steps=10**6)
    assert found.idle is not None
    assert found.acted is not None
    assert found.gain_s.low > 0
    assert found.acted.queued.mid < found.idle.queued.mid
    assert found.acted.ended.mid > found.idle.ended.mid
    assert found.acted.wait_p95_s.mid < found.idle.wait_p95_s.mid
    assert len(found.idle.queue) == len(found.acted.queue) == len(found.idle.waited_s) == 12
    assert (found.draws, found.stopped_early, found.text) == (9, False, "")


def test_workers_fewer_bring_waiting() -> None:
    town = Town(workers=8)
    town.crowd(30)
    assert town.impact(scale(4)).gain_s.high < 0


def test_what_changes_nothing_gains_nothing() -> None:
    town = Town()
    town.crowd(20)
    found = town.impact(scale(4))
    assert found.idle == found.acted
    assert (found.gain_s.low, found.gain_s.high) == (0, 0)


def test_ranges_are_in_order() -> None:
    town = Town()
    town.crowd(20)
    idle = town.ahead().idle
    for name in ("wait_p50_s", "wait_p95_s", "queued", "ended", "utilization_percent"):
        found = getattr(idle, name)
        assert found.low <= found.mid <= found.high
    assert idle.wait_p50_s.mid <= idle.wait_p95_s.mid
    (waits,) = idle.waits
    assert (waits.pool, waits.tier) == ("cpu", "standard")
    assert waits.p95_s == idle.wait_p95_s


def test_a_short_budget_sees_less_far_and_says_so() -> None:
    town = Town()
    town.crowd(60)
    far, near = town.ahead(scale(8), steps=10**6), town.ahead(scale(8), steps=300)
    assert (far.horizon_s, far.stopped_early) == (3600, False)
    assert near.stopped_early
    assert limits.TWIN_HORIZON_LEAST_MS / 1000 <= near.horizon_s < far.horizon_s
    assert near.steps < far.steps
    assert near.impacts[0].stopped_early
    assert "the budget of 300 events a course lasts for" in near.text


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("nonsense", "not an action"),
        ({"kind": "explode"}, "not an action"),
        (scale(3, "moon"), "there is no pool 'moon'"),
        (stop("job-999999"), "there is no job"),
        ({"kind": "alert", "text": "look"}, "an alert changes nothing"),
        ({"kind": "reroute", "pool": "cpu"}, "a class of jobs is named by"),
        ({"kind": "cordon", "worker": "nobody"}, "there is no such worker"),
    ],
)
def test_what_cannot_be_done_is_answered_with_why(action: object, why: str) -> None:
    town = Town()
    found = town.impact(action)
    assert why in found.text
    assert (found.idle, found.acted, found.draws) == (None, None, 0)


def test_each_of_several_actions_is_told_beside_the_same_idle_course() -> None:
    town = Town()
    town.crowd(40)
    found = town.ahead(scale(6), "nonsense", scale(8))
    first, none, second = found.impacts
    assert first.idle == second.idle == found.idle
    assert none.text
    assert second.gain_s.mid > first.gain_s.mid > 0


def test_work_like_which_nothing_is_known_is_said() -> None:
    world = World()
    world.tenant()
    world.pool(workers=1)
    for _ in range(3):
        world.submit()
    world.schedule()
    town_text = Town().ahead().text
    assert town_text == ""
    found = finish(compare(world.state, (), world.now_ms))
    assert found.text.startswith("of 3 jobs nothing is known")
    assert found.idle.wait_p95_s.high > 0


def test_an_empty_world_has_an_answer() -> None:
    found = finish(compare(World().state, (), 1_700_000_000_000))
    assert (found.idle.queued.high, found.idle.ended.high, found.draws) == (0, 0, 9)


def test_a_deadline_that_will_be_missed_is_seen() -> None:
    town = Town(workers=1)
    town.crowd(20)
    dear = town.submit(name="train", deadline_ms=town.now_ms + 2_700_000)
    found = town.impact({"kind": "reschedule", "job": dear, "change": "pause"})
    assert found.idle is not None
    assert found.acted is not None
    assert found.acted.misses.low >= 1
    assert found.changed["misses"].low == 1


def test_work_that_is_stopped_loses_what_it_did() -> None:
    town = Town(workers=1)
    (name,) = town.crowd(1)
    town.now_ms += 50_000
    found = town.impact(stop(name))
    assert found.acted is not None
    assert found.acted.lost_s.mid == 50
    assert found.acted.preempted.mid == 1


def test_what_comes_is_what_came() -> None:
    """Fifty jobs came in the last two hours, one after another; nothing waits now, and some half of that will come."""
    town = Town(workers=8)
    for _ in range(40):
        town.now_ms += 90_000
        (name,) = town.crowd(1, max_duration_ms=30_000)
        town.end(name)
    idle = town.ahead().idle
    assert 15 <= idle.ended.low <= idle.ended.mid <= 35
    assert idle.ended.high <= 45
    assert idle.queued.high == 0


def test_money_is_counted_as_it_runs() -> None:
    town = Town(workers=2, price_usd_micros_per_hour=3_600_000)
    town.crowd(2, max_duration_ms=3_600_000, name="new", cpus=1)
    idle = town.ahead().idle
    assert 0 < idle.cost_usd_micros.low <= idle.cost_usd_micros.high


def test_nodes_come_after_the_time_that_nodes_take() -> None:
    world = World()
    world.tenant()
    cluster = Cluster(world)
    grown(cluster, 2)
    for _ in range(6):
        world.submit(cpus=4, max_duration_ms=10_800_000)
    world.facts.node_groups["ray/big"].took_ms = [1_200_000]
    (found,) = finish(compare(world.state, (Draft(action=scale(4)),), world.now_ms)).impacts
    assert found.idle is not None
    assert found.acted is not None
    assert found.acted.queue[2] == found.idle.queue[2]  # a quarter of an hour
    assert found.acted.queue[4] <= found.idle.queue[4] - 2


def test_a_bad_pool_gets_no_nodes() -> None:
    world = World()
    world.tenant()
    cluster = Cluster(world)
    grown(cluster, 2)
    for _ in range(6):
        world.submit(cpus=4, max_duration_ms=10_800_000)
    cluster.scale(3)
    cluster.fail("no quota")
    (found,) = finish(compare(world.state, (Draft(action=scale(4)),), world.now_ms)).impacts
    assert found.gain_s.high == 0


def test_it_can_be_interrupted_often() -> None:
    town = Town()
    town.crowd(100)
    answer = compare(town.state, (Draft(action=scale(8)),), town.now_ms)
    assert sum(1 for _ in answer) > 50


def test_a_plan_says_when_each_pool_could_start_it() -> None:
    town = Town(workers=1)
    town.pool("dear", workers=1, price_usd_micros_per_hour=9_000_000)
    town.crowd(6, constraints=Constraints(pools=("cpu",)))
    spec = JobSpec(command=("true",), name="train")
    cheap, dear = plan(town.state, "t", spec, town.now_ms)
    assert (cheap.pool, dear.pool) == ("cpu", "dear")
    assert dear.start_p50_ms == dear.start_p90_ms == 0
    assert cheap.start_p50_ms is not None
    assert cheap.start_p50_ms > 300_000
