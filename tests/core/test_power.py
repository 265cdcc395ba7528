"""G13: the watt cap of a pool."""

from __future__ import annotations

from agentorch.core.explain import explain, reason
from agentorch.model import limits
from agentorch.model.jobs import Reason
from tests.core.ward import Ward


def test_starts_stay_below_the_watt_cap_of_the_pool() -> None:
    ward = Ward(workers=4, power_cap_watts=1_300)  # idle at 100 W each; a start may add 400 W
    jobs = [ward.submit(gpus=1) for _ in range(4)]
    assert ward.facts.pools["gpu"].power.watts == 520, "400 W, rounded up to a tenth of the cap"
    assert ward.schedule() == jobs[:1], "a second could pass the cap before any sample shows the first"
    found = reason(ward.state, ward.job(jobs[1]), ward.now_ms)
    assert found is not None
    assert found[0] is Reason.power
    assert "at most 1300 W" in found[1]
    held = next(job for job in jobs if ward.job(job).attempts)
    (busy,) = ward.job(held).attempts[-1].devices
    ward.sick(busy, power_watts=250.0)
    ward.look(limits.POWER_SETTLE_MS / 1000 + 1)
    assert ward.schedule() == jobs[1:2], "it draws less than it may"
    ward.end(held)
    assert ward.schedule() == []


def test_unknown_power_under_a_cap_is_not_placed_on() -> None:
    ward = Ward(workers=2, power_cap_watts=5_000)
    ward.sick("GPU-gpu-1", power_watts=None)
    assert ward.look() == ["PoolPowered"]
    job, thrifty = ward.submit(gpus=1), ward.submit(gpus=0)
    assert ward.schedule() == [thrifty], "what needs no GPU is not concerned"
    checks = explain(ward.state, ward.job(job), ward.now_ms).pools["gpu"]
    assert [check.code for check in checks if not check.ok] == ["power"]
    assert any("unknown" in check.text for check in checks if not check.ok)
    ward.sick("GPU-gpu-1")
    ward.look()
    assert ward.schedule() == [job]


def test_a_trembling_needle_is_no_event() -> None:
    ward = Ward(workers=1, power_cap_watts=1_000)
    events = []
    for watts in (100, 120, 100, 101, 99, 105, 180, 199, 201, 160):
        ward.sick("GPU-gpu-0", power_watts=float(watts))
        events += ward.look()
    assert events == ["PoolPowered", "PoolPowered"]
    assert ward.facts.pools["gpu"].power.watts == 300


def test_a_pool_without_a_cap_has_no_power_events() -> None:
    ward = Ward(workers=1)
    ward.sick("GPU-gpu-0", power_watts=9_999.0)
    assert ward.look() == []
    assert ward.facts.pools["gpu"].power.watts is None
