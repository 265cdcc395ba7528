"""What is learned from runs and arrivals, and what is said of run times: bounded, ordered, unknown where it is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.evolve import evolve
from agentorch.core.facts import Facts
from agentorch.core.forecast.arrivals import per_hour
from agentorch.core.forecast.durations import LEAST_RUNS, expect, expect_kinds
from agentorch.core.forecast.memory import EVERYTHING, describe, kinds, size_of
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.jobs import Cause, Checkpoint, EntryPoint, JobSpec, Resources
from tests.core.world import START_MS, World, facts_bytes

ONE_CPU = "1 cpu"
KIND = (f"{ONE_CPU}\0t\0train", f"{ONE_CPU}\0t", ONE_CPU, EVERYTHING)


def own(*run_ms: int) -> list[int]:
    return [2 * one for one in run_ms]


def cut(*run_ms: int) -> list[int]:
    return [2 * one + 1 for one in run_ms]


def remembering(runs: list[int]) -> Facts:
    """As if nothing but work of one kind had ever run."""
    return Facts(runs={kind: list(runs) for kind in KIND})


def lived(world: World, seconds: float, cause: Cause = Cause.completed, **spec: object) -> None:
    """A job that runs for so long, alone."""
    name = world.submit(**{"name": "train"} | spec)  # type: ignore[arg-type]
    world.schedule()
    world.running(name)
    world.now_ms += int(seconds * 1000)
    world.end(name, cause, 0 if cause is Cause.completed else None)


@pytest.fixture
def world() -> World:
    world = World()
    world.pool(cpus=8)
    world.tenant()
    return world


# -- what is remembered


def test_runs_are_remembered_under_every_kind_the_newest_last(world: World) -> None:
    lived(world, 10)
    lived(world, 20)
    lived(world, 5, name="eval")
    assert world.facts.runs == {
        KIND[0]: own(10_000, 20_000),
        f"{ONE_CPU}\0t\0eval": own(5_000),
        f"{ONE_CPU}\0t": own(10_000, 20_000, 5_000),
        ONE_CPU: own(10_000, 20_000, 5_000),
        EVERYTHING: own(10_000, 20_000, 5_000),
    }
    world.assert_sound()


def test_a_kind_is_a_size_a_tenant_and_a_name() -> None:
    assert size_of(Resources(cpu_milli=500), 1) == ONE_CPU
    assert size_of(Resources(cpu_milli=2500), 1) == "up to 4 cpus"
    assert size_of(Resources(gpus=1), 1) == "1 GPU"
    assert size_of(Resources(gpus=2), 3) == "up to 8 GPUs"
    called = JobSpec(entry=EntryPoint(call="tools.sums:add"))
    assert kinds("ann", called, Resources())[0] == f"{ONE_CPU}\0ann\0tools.sums:add"
    assert [describe(kind) for kind in KIND] == [
        "train of t, 1 cpu",
        "work of t, 1 cpu",
        "anything of 1 cpu",
        "anything",
    ]


def test_what_was_cut_off_says_at_least_so_long(world: World) -> None:
    lived(world, 10)
    lived(world, 30, Cause.lost)
    lived(world, 20, Cause.error)
    assert world.facts.runs[KIND[0]] == own(10_000) + cut(30_000) + own(20_000)


def test_what_never_ran_says_nothing(world: World) -> None:
    name = world.submit(name="train")
    world.schedule()
    world.end(name, Cause.no_capacity, None)
    assert world.facts.runs == {}


@pytest.mark.parametrize("checkpoint", [None, Checkpoint(path="ckpt")])
def test_a_job_that_goes_on_from_its_checkpoint_counts_once_and_whole(
    world: World, checkpoint: Checkpoint | None
) -> None:
    name = world.submit(name="train", checkpoint=checkpoint)
    for seconds, cause in ((40, Cause.preempted), (25, Cause.completed)):
        world.schedule()
        world.running(name)
        world.now_ms += seconds * 1000
        world.end(name, cause)
    runs = world.facts.runs[KIND[0]]
    assert runs == (own(65_000) if checkpoint else cut(40_000) + own(25_000))
    world.assert_sound()


def test_memory_is_bounded() -> None:
    world = World()
    world.pool(cpus=1, workers=1)
    world.tenant()
    for number in range(limits.FORECAST_RUNS + 5):
        lived(world, 1 + number)
    runs = world.facts.runs[EVERYTHING]
    assert len(runs) == limits.FORECAST_RUNS
    assert runs[-1] == 2 * 1000 * (limits.FORECAST_RUNS + 5)


def test_kinds_seen_least_lately_are_forgotten(world: World) -> None:
    world.facts.runs = {f"{ONE_CPU}\0old\0{number}": own(1) for number in range(limits.FORECAST_KINDS)}
    lived(world, 3)
    found = world.facts.runs
    assert len(found) <= limits.FORECAST_KINDS
    assert f"{ONE_CPU}\0old\0{0}" not in found
    assert f"{ONE_CPU}\0old\0{limits.FORECAST_KINDS - 1}" in found
    assert set(KIND) <= set(found)


def test_of_many_ends_in_one_second_some_are_enough() -> None:
    world = World()
    many = limits.FORECAST_LEARNED_PER_SECOND + 20
    world.pool(cpus=many)
    world.tenant()
    names = [world.submit() for _ in range(many)]
    world.schedule()
    for name in names:
        world.running(name)
    world.now_ms = START_MS + 60_000
    for name in names:
        world.end(name)
    assert world.facts.learned == limits.FORECAST_LEARNED_PER_SECOND
    world.now_ms += 1000
    lived(world, 1)
    assert world.facts.learned == 1


def test_a_snapshot_in_the_middle_changes_nothing(world: World) -> None:
    for number in range(30):
        lived(world, 1 + number % 7, Cause.completed if number % 5 else Cause.lost, name=f"n{number % 3}")
    half = len(world.events) // 2
    state = State()
    for event in world.events[:half]:
        evolve(state, event)
    state = State(msgspec.msgpack.decode(facts_bytes(state), type=Facts))
    for event in world.events[half:]:
        evolve(state, event)
    assert facts_bytes(state) == facts_bytes(world.state)


# -- how long


def test_of_nine_runs_the_ends_are_the_middle_80_percent() -> None:
    found = expect_kinds(remembering(own(*range(1_000, 10_000, 1_000))), KIND)
    assert [found.quantile_ms(percent) for percent in (10, 50, 90)] == [1_000, 5_000, 9_000]
    assert found.quantile_ms(91) is None
    assert found.basis == "9 runs of train of t, 1 cpu"


def test_too_few_runs_say_nothing() -> None:
    found = expect_kinds(remembering(own(*range(LEAST_RUNS - 1))), KIND)
    assert (found.runs, found.quantile_ms(50)) == (0, None)
    assert found.basis == "only 8 runs like it known, and it takes 9"
    assert expect_kinds(Facts(), KIND).basis == "no run like it known, and it takes 9"


def test_few_runs_of_a_name_are_held_against_the_wider_world() -> None:
    facts = remembering(own(*[60_000] * 20))
    facts.runs[KIND[0]] = own(1_000, 1_000)
    few = expect_kinds(facts, KIND)
    assert few.quantile_ms(50) == 60_000
    facts.runs[KIND[0]] = own(*[1_000] * 40)
    many = expect_kinds(facts, KIND)
    assert (many.quantile_ms(50), many.quantile_ms(95)) == (1_000, 60_000)
    assert many.basis.startswith("40 runs of train")


def test_runs_cut_off_count_as_longer_than_they_were() -> None:
    ended = own(*range(1_000, 10_000, 1_000))
    plain = expect_kinds(Facts(runs={"k": ended}), ("k",))
    with_cut = expect_kinds(Facts(runs={"k": ended + cut(4_500, 4_500, 4_500)}), ("k",))
    assert plain.quantile_ms(50) == 5_000
    # 12 at the start: 12/13, 11/12, 10/11 and 9/10 leave 9/13 at 4 s; three go unseen; 5/6 and 4/5 of it are 6/13.
    assert with_cut.quantile_ms(50) == 6_000
    assert with_cut.quantile_ms(99) is None
    last = expect_kinds(Facts(runs={"k": own(*range(9)) + cut(*[20_000] * 9)}), ("k",))
    assert last.quantile_ms(90) is None


def test_a_longest_duration_is_the_most(world: World) -> None:
    name = world.submit(name="train", max_duration_ms=7_000)
    job = world.job(name)
    assert expect(world.facts, job).quantile_ms(50) == 7_000
    assert expect(world.facts, job, 9_000).quantile_ms(50) == 0
    assert expect(remembering(own(*range(1_000, 10_000, 1_000))), job).quantile_ms(90) == 7_000


RUNS = st.lists(st.integers(0, 1_000_000), min_size=LEAST_RUNS, max_size=limits.FORECAST_RUNS)


@given(RUNS, st.integers(0, 500_000))
def test_quantiles_never_fall(runs: list[int], ran_ms: int) -> None:
    found = expect_kinds(remembering(runs), KIND, ran_ms)
    known = [found.quantile_ms(percent) for percent in range(1, 100)]
    times = [one for one in known if one is not None]
    assert times == sorted(times)
    assert known[: len(times)] == times, "what is unknown is later than all that is known"
    assert all(one >= 0 for one in times)


@given(RUNS, st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_a_run_time(runs: list[int], chance: int) -> None:
    found = expect_kinds(remembering(runs), KIND)
    drawn = found.draw_ms(chance)
    assert drawn is None or 2 * drawn in runs


@given(st.lists(st.integers(1, 1_000_000), min_size=30, max_size=30), st.lists(st.integers(0, 400_000), min_size=2))
def test_the_longer_it_has_run_the_later_it_ends(run_ms: list[int], ages_ms: list[int]) -> None:
    whole = expect_kinds(Facts(runs={"k": own(*run_ms)}), ("k",))
    ends = []
    for ran_ms in sorted(ages_ms):
        left = whole.after(ran_ms)
        if left is None:
            break
        middle = left.quantile_ms(50)
        assert middle is not None
        assert middle >= 0
        ends.append(ran_ms + middle)
        assert expect_kinds(Facts(runs={"k": own(*run_ms)}), ("k",), ran_ms).quantile_ms(50) == middle
    assert ends == sorted(ends)


def test_what_outlived_what_is_known_may_last_as_long_again() -> None:
    facts = remembering(own(*range(1_000, 11_000, 1_000)))
    beyond = expect_kinds(facts, KIND, 60_000)
    assert (beyond.runs, beyond.known) == (0, True)
    assert [beyond.quantile_ms(percent) for percent in (50, 90)] == [60_000, 540_000]
    assert beyond.basis == "no runs longer than it so far, and that what has lasted may last as long again"
    among = expect_kinds(facts, KIND, 8_500)  # two longer: each takes a third, and a third is beyond
    assert [among.quantile_ms(percent) for percent in (30, 60, 90)] == [500, 1_500, 24_833]
    assert among.draw_ms(0) == 500
    assert (among.draw_ms(2**32 - 1) or 0) > 24_833
    nobody = expect_kinds(remembering(own(1_000)), KIND, 60_000)
    assert (nobody.known, nobody.quantile_ms(50)) == (False, None)


# -- how much comes


def test_arrivals_at_a_steady_rate_are_told_from_the_start() -> None:
    world = World()
    world.pool(cpus=1)
    world.tenant()
    world.tenant("u")
    for _ in range(240):  # 4 h
        world.submit()
        world.submit("u", cpus=2)
        world.submit("u", cpus=2)
        world.now_ms += 60_000
    found = per_hour(world.facts, world.now_ms)
    assert found[f"{ONE_CPU}\0t"] == pytest.approx(60, rel=0.05)
    assert found["up to 2 cpus\0u"] == pytest.approx(120, rel=0.05)
    later = per_hour(world.facts, world.now_ms + limits.ARRIVALS_HALF_LIFE_MS)
    assert later[f"{ONE_CPU}\0t"] == pytest.approx(30, rel=0.1)
    world.assert_sound()


def test_a_burst_of_arrivals_is_counted_whole() -> None:
    world = World()
    world.pool(cpus=1)
    world.tenant()
    world.submit()
    world.now_ms += 1000
    burst = 2 * limits.ARRIVALS_LOOKED_AT
    for _ in range(burst):
        world.submit()
    world.now_ms += limits.HOUR_MS
    sums = per_hour(world.facts, world.now_ms)
    # Half a half-life's weight of each, over what an hour of a steady rate sums up to.
    assert sums[f"{ONE_CPU}\0t"] == pytest.approx((burst + 1) * 0.5 / (0.5 / 0.6931), rel=0.01)
    assert per_hour(Facts(), world.now_ms) == {}
