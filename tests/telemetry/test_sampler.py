"""What is kept, and how it grows old."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from agentorch.model import limits
from agentorch.model.observation import DeviceSample
from agentorch.telemetry.probe import FakeProbe, HostProbe, NullProbe
from agentorch.telemetry.sampler import Sampler

_PATIENCE_S = 30.0


def gpu(percent: float, name: str = "g") -> DeviceSample:
    return DeviceSample(id=name, kind="gpu", utilization_percent=percent)


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


class HangingProbe:
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def sample(self) -> list[DeviceSample]:
        self.asked.set()
        self.let_go.wait(_PATIENCE_S)
        return []


class CountingProbe:
    """Says when it has been asked often enough."""

    def __init__(self, enough: int) -> None:
        self._left = enough
        self.done = threading.Event()

    def sample(self) -> list[DeviceSample]:
        self._left -= 1
        if self._left == 0:
            self.done.set()
        return [gpu(50.0, "counted")]


def test_samples_are_stamped_and_kept_in_order() -> None:
    clock = Clock()
    sampler = Sampler([FakeProbe([[gpu(1.0)], [gpu(2.0)]]), NullProbe()], clock)
    sampler.sample_once()
    clock.now_ms = 2_000
    (latest,) = sampler.sample_once()
    assert (latest.at_ms, latest.utilization_percent) == (2_000, 2.0)
    assert [(sample.at_ms, sample.utilization_percent) for sample in sampler.history("g")] == [
        (1_000, 1.0),
        (2_000, 2.0),
    ]
    assert sampler.history("nobody") == []


def test_a_probe_that_raises_leaves_its_last_sample_to_grow_old() -> None:
    clock = Clock()
    sampler = Sampler([FakeProbe([[gpu(90.0)], OSError("driver gone"), [gpu(10.0)]])], clock)
    sampler.sample_once()
    clock.now_ms = 2_000
    (stale,) = sampler.sample_once()
    assert (stale.at_ms, stale.utilization_percent) == (1_000, 90.0)
    assert sampler.problems() == ["FakeProbe: OSError: driver gone"]
    assert len(sampler.history("g")) == 1
    (fresh,) = sampler.sample_once()
    assert (fresh.at_ms, fresh.utilization_percent) == (2_000, 10.0)
    assert sampler.problems() == []


def test_a_device_that_is_not_listed_any_more_grows_old_and_is_forgotten() -> None:
    clock = Clock()
    sampler = Sampler([FakeProbe([[gpu(1.0, "a"), gpu(2.0, "b")], [gpu(3.0, "b")]])], clock)
    sampler.sample_once()
    clock.now_ms += limits.TELEMETRY_FORGOTTEN_MS
    assert [sample.id for sample in sampler.sample_once()] == ["a", "b"]
    clock.now_ms += 1
    assert [sample.id for sample in sampler.sample_once()] == ["b"]
    assert sampler.history("a") == []


def test_the_past_is_bounded() -> None:
    sampler = Sampler([FakeProbe([[gpu(1.0)]])], Clock())
    for _ in range(limits.TELEMETRY_POINTS + 10):
        sampler._sample(sampler._sources[0])
    assert len(sampler.history("g")) == limits.TELEMETRY_POINTS


def test_a_probe_that_hangs_stops_nobody_else() -> None:
    async def scenario() -> None:
        hanging, counting = HangingProbe(), CountingProbe(enough=5)
        sampler = Sampler([hanging, counting], Clock())
        await sampler.start(0.001)
        try:
            assert await asyncio.to_thread(hanging.asked.wait, _PATIENCE_S)
            assert await asyncio.to_thread(counting.done.wait, _PATIENCE_S)
            assert [sample.id for sample in sampler.latest()] == ["counted"]
        finally:
            hanging.let_go.set()
            await sampler.close()

    asyncio.run(scenario())


def test_a_probe_that_raises_does_not_end_its_thread() -> None:
    class Flaky(CountingProbe):
        def sample(self) -> list[DeviceSample]:
            super().sample()
            raise RuntimeError("always")

    async def scenario() -> None:
        flaky = Flaky(enough=3)
        sampler = Sampler([flaky], Clock())
        await sampler.start(0.001)
        assert await asyncio.to_thread(flaky.done.wait, _PATIENCE_S)
        await sampler.close()

    asyncio.run(scenario())


def test_the_real_machine_is_sampled() -> None:
    async def scenario() -> None:
        sampler = Sampler([HostProbe()], Clock())
        await sampler.start(60.0)
        (sample,) = await asyncio.to_thread(sampler.sample_once)
        assert sample.id == "cpu"
        assert sample.at_ms == 1_000
        await sampler.close()

    asyncio.run(scenario())


def test_what_other_nodes_measured_keeps_its_time_and_its_name() -> None:
    sampler = Sampler([], lambda: 10_000)
    cpu = DeviceSample(id="cpu", kind="cpu", node="n1", at_ms=9_000, utilization_percent=50.0)
    gpu = DeviceSample(id="GPU-1", kind="gpu", node="n1", at_ms=9_000)
    sampler.absorb([cpu, gpu])
    sampler.absorb([cpu])
    assert [(one.id, one.node, one.at_ms) for one in sampler.latest()] == [
        ("n1:cpu", "n1", 9_000),
        ("GPU-1", "n1", 9_000),
    ]
    assert len(sampler.history("n1:cpu")) == 1


def powered(name: str, **fields: Any) -> DeviceSample:
    return DeviceSample(id=name, kind="gpu", **fields)


def test_energy_is_reckoned_from_the_newest_samples_and_the_power_they_showed() -> None:
    now = [10_000]
    probe = FakeProbe(
        [
            [
                powered("a", energy_mj=1_000, power_watts=100.0),
                powered("b", energy_mj=7, power_watts=50.0),
                powered("c", power_watts=5.0),
            ]
        ]
    )
    sampler = Sampler([probe], lambda: now[0])
    assert sampler.energy_mj(("a",)) is None, "nothing is known before the first sample"
    sampler.sample_once()
    assert sampler.energy_mj(("a", "b")) == 1_007
    now[0] += 2_000
    assert sampler.energy_mj(("a", "b")) == 1_007 + 2_000 * 150, "a watt is a millijoule in a millisecond"
    assert sampler.energy_mj(("a", "c")) is None, "one has no counter"
    assert sampler.energy_mj(("a", "z")) is None
    assert sampler.energy_mj(()) is None
    now[0] += limits.STALE_LOCAL_MS
    assert sampler.energy_mj(("a",)) is None, "too old to reckon with"


def test_a_gpu_of_this_machine_is_not_taken_from_a_node_that_shares_it() -> None:
    now = [10_000]
    sampler = Sampler([FakeProbe([[powered("a", xid_count=1)]])], lambda: now[0])
    sampler.sample_once()
    sampler.absorb([powered("a", node="n-1", at_ms=10_500, xid_count=0), powered("b", node="n-1", at_ms=10_500)])
    found = {sample.id: sample for sample in sampler.latest()}
    assert (found["a"].node, found["a"].xid_count, found["b"].node) == ("local", 1, "n-1")
