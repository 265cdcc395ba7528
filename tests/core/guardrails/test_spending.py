"""G7 budget, G13 power and heat."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails.spending import budget, power_and_heat
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import Reroute, Ruling, Scale, Uncordon
from tests.core.guardrails.supervised import Supervised

ALLOW, ASK, DENY = Ruling.allow, Ruling.ask, Ruling.deny
DOLLAR = 1_000_000


def fleet(price: int | None, cap: int | None) -> Supervised:
    world = Supervised()
    world.tenant(hard_cap_usd_micros=cap)
    world.pool("cpu", workers=1)
    world.pool("paid", workers=1, max_workers=50, price_usd_micros_per_hour=price)
    return world


GROW = Scale(pool="paid", workers=3)


def test_g7_an_unknown_price_is_asked_and_never_zero() -> None:
    assert fleet(None, 100 * DOLLAR).said(budget, GROW) is ASK
    assert fleet(0, 100 * DOLLAR).said(budget, GROW) is ALLOW


def test_g7_growth_must_be_payable_for_an_hour() -> None:
    assert fleet(DOLLAR, 3 * DOLLAR).said(budget, GROW) is ALLOW
    assert fleet(DOLLAR, 3 * DOLLAR - 1).said(budget, GROW) is DENY


def test_g7_spending_without_any_cap_is_asked() -> None:
    assert fleet(DOLLAR, None).said(budget, GROW) is ASK


def test_g7_adds_up_what_was_planned_before() -> None:
    world = fleet(DOLLAR, 6 * DOLLAR)
    world.pool("dear", workers=1, price_usd_micros_per_hour=DOLLAR)
    assert world.said(budget, Scale(pool="dear", workers=3)) is ALLOW
    assert world.said(budget, Scale(pool="dear", workers=3), GROW) is ALLOW
    assert world.said(budget, Scale(pool="dear", workers=4), GROW) is DENY


def test_g7_moving_work_to_a_dearer_pool_is_asked_and_must_be_payable() -> None:
    rich, poor = fleet(DOLLAR, 100 * DOLLAR), fleet(DOLLAR, DOLLAR - 1)
    for world, ruling in ((rich, ASK), (poor, DENY)):
        assert world.said(budget, Reroute(pool="paid", job=world.submit())) is ruling
    assert rich.said(budget, Reroute(pool="cpu", job=rich.submit())) is ALLOW


def test_g7_moving_work_to_an_unknown_price_is_asked() -> None:
    world = fleet(None, 100 * DOLLAR)
    assert world.said(budget, Reroute(pool="paid", job=world.submit())) is ASK


@given(st.integers(0, 5) | st.none(), st.integers(0, 40) | st.none(), st.integers(2, 50))
def test_g7_growth_alone_never_passes_the_cap(price: int | None, cap: int | None, workers: int) -> None:
    world = fleet(None if price is None else price * DOLLAR, None if cap is None else cap * DOLLAR)
    said = world.said(budget, Scale(pool="paid", workers=workers))
    if said is ALLOW:
        assert price is not None
        assert price == 0 or (cap is not None and price * workers <= cap)


# -- G13


def gpus(**spec: int) -> Supervised:
    world = Supervised()
    world.pool("gpu", workers=2, max_workers=8, gpus=1, **spec)
    return world


def sample(world: Supervised, index: int, celsius: float | None, watts: float | None = None) -> DeviceSample:
    return DeviceSample(id=f"GPU-gpu-{index}", kind="gpu", temperature_c=celsius, power_watts=watts, at_ms=world.now_ms)


def test_g13_no_more_work_for_hot_devices() -> None:
    world = gpus()
    world.observe(sample(world, 0, 89.9), sample(world, 1, 50))
    assert world.said(power_and_heat, Scale(pool="gpu", workers=3)) is None
    world.observe(sample(world, 0, 90), sample(world, 1, 50))
    assert world.said(power_and_heat, Scale(pool="gpu", workers=3)) is DENY
    assert world.said(power_and_heat, Uncordon(worker="gpu-0")) is DENY
    assert world.said(power_and_heat, Uncordon(worker="gpu-1")) is None
    assert world.said(power_and_heat, Scale(pool="gpu", workers=1)) is None


def test_g13_no_growth_past_a_watt_cap() -> None:
    world = gpus(power_cap_watts=1000)
    world.observe(sample(world, 0, 50, 300), sample(world, 1, 50, 300))
    assert world.said(power_and_heat, Scale(pool="gpu", workers=3)) is ALLOW
    assert world.said(power_and_heat, Scale(pool="gpu", workers=4)) is DENY


def test_g13_power_that_is_not_known_is_asked_where_a_cap_stands() -> None:
    world = gpus(power_cap_watts=1000)
    world.observe(sample(world, 0, 50, 300), sample(world, 1, 50, None))
    assert world.said(power_and_heat, Scale(pool="gpu", workers=3)) is ASK


@given(st.floats(0, 120), st.floats(0, 120), st.floats(0, 700), st.floats(0, 700))
def test_g13_never_allows_past_a_limit(hot: float, cool: float, one: float, two: float) -> None:
    world = gpus(power_cap_watts=800)
    world.observe(sample(world, 0, hot, one), sample(world, 1, cool, two))
    if world.said(power_and_heat, Scale(pool="gpu", workers=3)) is ALLOW:
        assert max(hot, cool) < 90
        assert (one + two) * 1.5 <= 800
