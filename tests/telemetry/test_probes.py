"""Unknown is unknown: what a probe could not read is None, and says why."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from pynvml import NVMLError

from agentorch.model import limits
from agentorch.model.observation import DeviceSample
from agentorch.telemetry.probe import RETRY_DRIVER_S, FakeProbe, HostProbe, NullProbe, NvmlProbe
from tests.telemetry.drivers import MIB, Driver


def test_this_machine_says_how_it_is(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("some avg10=12.50 avg60=1.04 avg300=0.94 total=24141963\nfull avg10=0.00\n")
    (tmp_path / "io").write_text("some avg10=7.00 avg60=1.04 avg300=0.94 total=5\nfull avg10=3.25 avg60=0.00\n")
    probe = HostProbe(pressure=tmp_path)
    (first,) = probe.sample()
    assert (first.id, first.kind) == ("cpu", "cpu")
    assert first.utilization_percent is None
    assert "two samples" in first.error
    assert first.pressure_percent == 12.5
    assert (first.io_pressure_percent, first.io_stall_percent) == (7.0, 3.25)
    assert (first.memory_pressure_percent, first.memory_stall_percent) == (None, None)
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
        temperature_limit_c=87.0,
        energy_mj=5_000_000,
        throttled=(),
        ecc_uncorrected=0,
        ecc_uncorrected_ever=2,
        rows_pending=False,
        rows_failed=False,
        xid_count=0,
    )
    assert (piece.id, piece.kind, piece.parent) == ("MIG-1", "mig", "GPU-0")
    assert piece.utilization_percent is None
    assert piece.memory_total_bytes == 100 * MIB
    assert shy.power_watts is None
    assert shy.error.startswith("power: ")
    assert shy.temperature_c == 61.0
    unknown = (shy.energy_mj, shy.ecc_uncorrected, shy.rows_failed, shy.xid_count, shy.throttled)
    assert unknown == (None,) * 5, "what a card does not have is unknown, never zero"
    assert "ecc" not in shy.error


def test_a_sick_gpu_says_so() -> None:
    driver = Driver()
    driver.ecc[driver.NVML_VOLATILE_ECC] = 3
    driver.rows, driver.clocks = (1, 2, 1, 0), 0x40 | 0x04 | 0x01
    sick, *_ = NvmlProbe(nvml=driver).sample()
    assert (sick.ecc_uncorrected, sick.rows_pending, sick.rows_failed) == (3, True, False)
    assert sick.throttled == ("power_cap", "hw_thermal")


def test_errors_of_the_driver_are_counted_with_their_codes() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    assert probe.sample()[0].xid_count == 0
    driver.report("GPU-0", 13)
    driver.report("GPU-0", 79)
    driver.report("GPU-9", 79)  # of nobody we know
    one, *_ = probe.sample()
    assert (one.xid_count, one.xids) == (2, (13, 79))
    again, *_ = probe.sample()
    assert (again.xid_count, again.xids) == (2, (13, 79))
    assert driver.listened == ["GPU-0"], "it is listened to once"


def test_only_the_newest_errors_are_kept_and_all_are_counted() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    probe.sample()
    for code in range(100):
        driver.report("GPU-0", code)
    one, *_ = probe.sample()
    assert (one.xid_count, one.xids) == (100, tuple(range(100 - limits.XIDS_KEPT, 100)))


def test_a_gpu_that_fell_off_the_bus_still_tells_its_last_errors() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    probe.sample()
    driver.report("GPU-0", 79)
    driver.fallen = "GPU-0"
    last, other = probe.sample()
    assert (last.id, last.xids, last.power_watts, last.temperature_c) == ("GPU-0", (79,), None, None)
    assert last.error.startswith("device: ")
    assert other.id == "GPU-1"


def test_a_driver_that_was_loaded_anew_is_listened_to_again() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    probe.sample()
    driver.report("GPU-0", 48)
    probe.sample()
    driver.lost = True
    with pytest.raises(NVMLError):
        probe.sample()
    driver.lost = False
    driver.report("GPU-0", 79)
    probe.sample()
    one, *_ = probe.sample()
    assert (one.xid_count, one.xids) == (2, (48, 79))
    assert driver.listened == ["GPU-0", "GPU-0"]


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


def test_a_gpu_with_nothing_but_a_name_is_not_sampled() -> None:
    driver = Driver()
    probe = NvmlProbe(nvml=driver)
    probe.sample()
    driver.dead = "GPU-0"
    assert [sample.id for sample in probe.sample()] == ["GPU-1"], "what was known of it grows old"


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
