"""G1 scale-step, G2 shrink-window, G3 dead-band, G14 predictions add."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails.scaling import dead_band, predictions_add, scale_step, shrink_window
from agentorch.model import commands as cmd
from agentorch.model.proposals import Ruling, Scale
from tests.core.guardrails.supervised import Supervised

ALLOW, DENY = Ruling.allow, Ruling.deny


def pool_of(workers: int, **spec: Any) -> Supervised:
    world = Supervised()
    world.tenant()
    bounds: dict[str, Any] = {"min_workers": 1, "max_workers": 100}
    world.pool(workers=workers, **(bounds | spec))
    return world


def to(workers: int) -> Scale:
    return Scale(pool="cpu", workers=workers)


# -- G1


def test_g1_grows_by_two_or_by_half() -> None:
    assert pool_of(2).said(scale_step, to(4)) is ALLOW
    assert pool_of(2).said(scale_step, to(5)) is DENY
    assert pool_of(20).said(scale_step, to(30)) is ALLOW
    assert pool_of(20).said(scale_step, to(31)) is DENY


def test_g1_shrinks_by_one_or_by_a_tenth() -> None:
    assert pool_of(5).said(scale_step, to(4)) is ALLOW
    assert pool_of(5).said(scale_step, to(3)) is DENY
    assert pool_of(30).said(scale_step, to(27)) is ALLOW
    assert pool_of(30).said(scale_step, to(26)) is DENY


def test_g1_stays_within_bounds() -> None:
    world = pool_of(5, min_workers=5, max_workers=6)
    assert world.said(scale_step, to(6)) is ALLOW
    assert world.said(scale_step, to(7)) is DENY
    assert world.said(scale_step, to(4)) is DENY


@given(st.integers(1, 60), st.integers(-5, 120))
def test_g1_never_lets_a_bigger_step_pass(workers: int, asked: int) -> None:
    allowed = pool_of(workers).said(scale_step, to(asked)) is ALLOW
    step = asked - workers
    fits = 1 <= asked <= 100 and step <= max(2, workers * 0.5) and -step <= max(1, workers * 0.1)
    assert allowed is fits


# -- G2


def test_g2_shrinks_once_five_quiet_minutes_were_seen() -> None:
    world = pool_of(3)
    world.watch(299)
    assert world.said(shrink_window, to(2)) is DENY
    world.watch(2)
    assert world.said(shrink_window, to(2)) is ALLOW


def test_g2_remembers_the_highest_need() -> None:
    world = pool_of(3)
    jobs = world.run_some(3)
    world.observe()
    for job in jobs:
        world.end(job)
    world.watch(299)
    assert world.said(shrink_window, to(2)) is DENY
    world.watch(25)
    assert world.said(shrink_window, to(2)) is ALLOW


def test_g2_does_not_take_silence_for_idleness() -> None:
    world = pool_of(3)
    world.watch(200)
    world.now_ms += 121_000
    world.observe()
    world.watch(100)
    assert world.said(shrink_window, to(2)) is DENY


def test_g2_waits_ten_minutes_after_growing() -> None:
    world = pool_of(3)
    world.ask(cmd.ScalePool(pool="cpu", workers=4, by="ann"))
    world.watch(599)
    assert world.said(shrink_window, to(3)) is DENY
    world.watch(1)
    assert world.said(shrink_window, to(3)) is ALLOW


def test_g2_lets_a_pool_grow_at_once() -> None:
    assert pool_of(3).said(shrink_window, to(4)) is None


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 6)), min_size=1, max_size=40), st.integers(0, 6))
def test_g2_never_shrinks_below_a_need_of_the_window(steps: list[tuple[int, int]], asked: int) -> None:
    """`steps`: seconds until an observation, and the number of jobs that run then."""
    world = pool_of(6, min_workers=0)
    seen: list[tuple[int, int]] = []
    jobs: list[str] = []
    for seconds, count in steps:
        world.now_ms += seconds * 1000
        while len(jobs) > count:
            world.end(jobs.pop())
        jobs.extend(world.run_some(count - len(jobs)))
        world.observe()
        seen.append((world.now_ms, count))
    if world.said(shrink_window, to(asked)) is ALLOW:
        since_ms = world.now_ms - 300_000
        assert seen[0][0] <= since_ms
        assert asked >= max(need for at_ms, need in seen if at_ms > since_ms)


# -- G3


def test_g3_ignores_deviations_under_ten_percent() -> None:
    world = pool_of(30)
    world.run_some(28)
    assert world.said(dead_band, to(28)) is DENY
    assert world.said(dead_band, to(27)) is None


def test_g3_counts_a_measured_deviation_even_where_one_step_is_smaller() -> None:
    world = pool_of(15)
    assert world.said(dead_band, to(14)) is None
    world.run_some(14)
    assert world.said(dead_band, to(14)) is DENY


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 60))
def test_g3_speaks_exactly_when_nothing_deviates(workers: int, busy: int, asked: int) -> None:
    world = pool_of(workers, min_workers=0)
    world.run_some(min(busy, workers))
    deviates = max(abs(asked - workers), workers - min(busy, workers)) * 10 >= workers
    assert (world.said(dead_band, to(asked)) is DENY) is (not deviates or asked == workers)


# -- G14


def test_g14_measured_need_stands_against_any_forecast() -> None:
    world = pool_of(4)
    world.run_some(3)
    assert world.said(predictions_add, to(2)) is DENY
    assert world.said(predictions_add, to(3)) is None
    assert world.said(predictions_add, to(6)) is ALLOW


def test_g14_counts_what_waits() -> None:
    world = pool_of(4)
    for _ in range(4):
        world.submit()
    assert world.said(predictions_add, to(3)) is DENY


@given(st.integers(1, 10), st.integers(0, 20), st.integers(0, 30))
def test_g14_never_takes_what_is_needed(workers: int, jobs: int, asked: int) -> None:
    world = pool_of(workers, min_workers=0)
    for _ in range(jobs):
        world.submit()
    world.schedule()
    denied = world.said(predictions_add, to(asked)) is DENY
    assert denied is (asked < workers and asked < jobs)
