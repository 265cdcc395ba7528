"""Unknown is unknown: what a probe could not read is None, and says why."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from pynvml import NVMLError

from agentorch.model.observation import DeviceSample
from agentorch.telemetry.probe import RETRY_DRIVER_S, FakeProbe, HostProbe, NullProbe, NvmlProbe
from tests.telemetry.drivers import MIB, Driver


def test_this_machine_says_how_it_is(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("some avg10=12.50 avg60=1.04 avg300=0.94 total=24141963\nfull avg10=0.00\n")
    probe = HostProbe(pressure=tmp_path)
    (first,) = probe.sample()
    assert (first.id, first.kind) == ("cpu", "cpu")
    assert first.utilization_percent is None
    assert "two samples" in first.error
    assert first.pressure_percent == 12.5
    assert first.memory_pressure_percent is None
    assert "memory pressure" in first.error
    assert first.memory_total_bytes == psutil.virtual_memory().total
    assert first.memory_used_bytes is not None
    assert 0 < first.memory_used_bytes < psutil.virtual_memory().total


def test_utilization_is_that_between_two_samples() -> None:
    probe = HostProbe()
    probe.sample()
    before = psutil.cpu_times()
    while psutil.cpu_times() == before:  # the kernel counts in hundredths of a second
        pass
    (sample,) = probe.sample()
    assert sample.utilization_percent is not None
    assert 0 <= sample.utilization_percent <= 100


def test_gpus_say_what_they_can() -> None:
    whole, piece, shy = NvmlProbe("n-1", nvml=Driver()).sample()
    assert whole == DeviceSample(
        id="GPU-0",
        kind="gpu",
        name="NVIDIA GPU-0",
        node="n-1",
        utilization_percent=0.0,
        memory_used_bytes=10 * MIB,
        memory_total_bytes=100 * MIB,
        temperature_c=61.0,
        power_watts=250.5,
        power_limit_watts=700.0,
        processes=(7, 9),
    )
    assert (piece.id, piece.kind, piece.parent) == ("MIG-1", "mig", "GPU-0")
    assert piece.utilization_percent is None
    assert piece.memory_total_bytes == 100 * MIB
    assert shy.power_watts is None
    assert shy.error.startswith("power: ")
    assert shy.temperature_c == 61.0


def test_a_driver_that_comes_later_is_found() -> None:
    driver, now_s = Driver(), [0.0]
    driver.loaded = False
    probe = NvmlProbe(nvml=driver, clock_s=lambda: now_s[0])
    assert probe.sample() == probe.sample() == []
    assert driver.inits == 1
    driver.loaded = True
    assert probe.sample() == []
    now_s[0] += RETRY_DRIVER_S
    assert len(probe.sample()) == 3


def test_one_gpu_that_fell_off_the_bus_hides_no_other() -> None:
    driver = Driver()
    driver.fallen = "GPU-0"
    assert [sample.id for sample in NvmlProbe(nvml=driver).sample()] == ["GPU-1"]


def test_a_driver_that_goes_away_is_an_error_not_an_empty_machine() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    probe.sample()
    driver.lost = True
    with pytest.raises(NVMLError):
        probe.sample()
    driver.loaded = False
    with pytest.raises(NVMLError):
        probe.sample()
    driver.loaded, driver.lost = True, False
    assert len(probe.sample()) == 3


def test_the_real_library_answers_on_this_machine() -> None:
    """With a driver: its GPUs, by UUID. Without one: nothing, and no error."""
    for sample in NvmlProbe().sample():
        assert sample.kind in ("gpu", "mig")
        assert sample.id.startswith(("GPU-", "MIG-"))


def test_fake_and_null() -> None:
    sample = DeviceSample(id="g", kind="gpu")
    fake = FakeProbe([[sample], OSError("gone"), []])
    assert fake.sample() == [sample]
    with pytest.raises(OSError, match="gone"):
        fake.sample()
    assert fake.sample() == fake.sample() == NullProbe().sample() == []
