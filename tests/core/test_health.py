"""Health of devices: which signs are seen, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.core.explain import reason
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.health import FATAL_XIDS, LASTING_XIDS, HealthState, Sign
from agentorch.model.jobs import Cause, JobState
from agentorch.model.observation import DeviceSample
from tests.core.ward import CLEAR_S, SUSPECT_S, Ward


def test_what_is_well_makes_no_event() -> None:
    ward = Ward()
    assert ward.look() == ward.look() == []
    ward.sick("GPU-gpu-0", temperature_c=89.0, power_watts=399.0, utilization_percent=100.0)
    assert ward.look() == []


# -- signs


@pytest.mark.parametrize("code", sorted(FATAL_XIDS))
def test_a_fatal_error_of_the_driver_takes_the_gpu_out_for_good(code: int) -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", xid_count=1, xids=(code,))
    assert ward.look() == ["DeviceJudged", "AlertRaised", "WorkerCordoned", "DeviceCounted"]
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned
    worker = ward.facts.workers["gpu-0"]
    assert (worker.cordoned, worker.cordoned_by, worker.free_devices) == (True, "health", [])
    assert f"Xid {code}" in worker.cordon_reason
    job = ward.submit(gpus=1)
    assert ward.schedule() == [job]
    assert ward.job(job).attempts[-1].worker == "gpu-1", "the other one goes on"
    ward.sick("GPU-gpu-0")
    for _ in range(5):
        ward.look(3600)
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned, "it is not scheduled again by itself"


@pytest.mark.parametrize("code", [13, 31, 43, 45, 63, 68, 94])
def test_errors_of_the_application_are_not_the_gpus(code: int) -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", xid_count=1, xids=(code,))
    assert ward.look() == ["DeviceCounted"]
    assert ward.state_of("GPU-gpu-0") is HealthState.ok


def test_of_many_errors_between_two_looks_none_is_missed() -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", xid_count=1, xids=(13,))
    ward.look()
    ward.sick("GPU-gpu-0", xid_count=4, xids=(13, 79, 13, 13))
    ward.look()
    assert ward.facts.device_faults["GPU-gpu-0"].sign is Sign.xid


def test_a_probe_that_began_anew_counts_from_zero() -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", xid_count=3, xids=(13, 13, 13))
    ward.look()
    ward.restart()
    ward.sick("GPU-gpu-0", xid_count=1, xids=(79,))
    ward.look()
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned


@pytest.mark.parametrize("field", ["ecc_uncorrected", "ecc_uncorrected_ever"])
def test_more_uncorrected_memory_errors_are_fatal_and_old_ones_are_history(field: str) -> None:
    ward = Ward()
    assert ward.state_of("GPU-gpu-0") is HealthState.ok, "five of long ago"
    ward.sick("GPU-gpu-0", **{field: 7})
    ward.look()
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned
    assert ward.facts.device_faults["GPU-gpu-0"].sign is Sign.ecc


def test_an_unknown_counter_is_no_zero() -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", ecc_uncorrected=None, ecc_uncorrected_ever=None, xid_count=None)
    assert ward.look() == []
    ward.sick("GPU-gpu-0")
    assert ward.look() == []


@pytest.mark.parametrize("fields", [{"rows_pending": True}, {"rows_failed": True}, {"xid_count": 1, "xids": (74,)}])
def test_a_lasting_fault_drains_and_stops_nothing(fields: dict[str, Any]) -> None:
    assert 74 in LASTING_XIDS
    ward = Ward(workers=2)
    first, second = ward.submit(gpus=1), ward.submit(gpus=1)
    ward.schedule()
    ward.sick("GPU-gpu-0", **fields)
    ward.look()
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned
    assert ward.job(first).stop_cause is ward.job(second).stop_cause is None
    ward.running(first)
    ward.end(first)
    assert ward.facts.workers["gpu-0"].free_devices == [], "given back, and still out"


def test_what_runs_on_a_gpu_that_can_not_be_trusted_is_stopped_and_queued_again() -> None:
    ward = Ward(workers=2)
    victim, other = ward.submit(gpus=1), ward.submit(gpus=1)
    ward.schedule()
    ward.running(victim)
    ward.sick("GPU-gpu-0", xid_count=1, xids=(79,))
    ward.look()
    assert (ward.job(victim).state, ward.job(victim).stop_cause) == (JobState.stopping, Cause.interruption)
    assert ward.job(other).stop_cause is None
    ward.end(victim, Cause.error, None, signal=15)
    assert ward.job(victim).state is JobState.queued
    assert ward.job(victim).workers_lost == 0, "it did not take the GPU down"
    ward.end(other)
    ward.now_ms += 5_000
    assert ward.schedule() == [victim]
    assert ward.job(victim).attempts[-1].worker == "gpu-1"


def test_a_crash_anywhere_in_between_ends_as_none_would_have() -> None:
    def struck() -> Ward:
        ward = Ward()
        ward.submit(gpus=1)
        ward.schedule()
        ward.sick("GPU-gpu-0", xid_count=1, xids=(79,))
        return ward

    count = len(struck().look())
    assert count == 5
    for kept in range(count):
        ward = struck()
        ward.look()
        del ward.events[len(ward.events) - count + kept :]
        ward.restart()
        ward.look()
        (job,) = ward.facts.jobs
        assert ward.facts.workers["gpu-0"].cordoned
        assert len(ward.facts.devices["GPU-gpu-0"].cordons) == 1
        assert ward.facts.devices["GPU-gpu-0"].xid_count == 1
        assert ward.job(job).stop_cause is Cause.interruption


# -- heat


def test_nothing_new_is_placed_on_a_hot_gpu_until_it_was_cool_for_a_while() -> None:
    ward = Ward(workers=1)
    ward.pool("cpu")
    ward.sick("GPU-gpu-0", temperature_c=90.0)
    ward.look()
    assert ward.state_of("GPU-gpu-0") is HealthState.suspect
    job = ward.submit(gpus=1)
    assert ward.schedule() == []
    ward.sick("GPU-gpu-0", temperature_c=88.0)
    assert ward.look() == [], "still within the hysteresis"
    ward.sick("GPU-gpu-0", temperature_c=80.0)
    assert ward.look() == ["DeviceJudged"]
    assert ward.look(CLEAR_S / 2) == []
    ward.sick("GPU-gpu-0", temperature_c=95.0)
    ward.look()
    ward.sick("GPU-gpu-0", temperature_c=80.0)
    ward.look()
    assert ward.look(CLEAR_S - 1) == []
    assert ward.look(1) == ["DeviceJudged"]
    assert ward.state_of("GPU-gpu-0") is HealthState.ok
    assert ward.schedule() == [job]


def test_the_devices_own_limit_and_a_hardware_slowdown_count_too() -> None:
    ward = Ward(gpus=2, workers=2)
    ward.sick("GPU-gpu-0", temperature_c=84.0, temperature_limit_c=83.0)
    ward.sick("GPU-gpu-1", throttled=("hw_thermal",))
    ward.sick("GPU-gpu-2", throttled=("power_cap", "sw_thermal"))
    ward.look()
    assert [ward.state_of(f"GPU-gpu-{index}") for index in range(3)] == ["suspect", "suspect", "ok"]


def test_a_gpu_that_stays_hot_is_cordoned_and_comes_back_by_itself_until_the_breaker_trips() -> None:
    ward = Ward()
    for _ in range(limits.BREAKER_CORDONS - 1):
        ward.sick("GPU-gpu-0", temperature_c=95.0)
        ward.look()
        ward.look(SUSPECT_S)
        assert ward.state_of("GPU-gpu-0") is HealthState.cordoned
        assert ward.facts.workers["gpu-0"].cordoned
        ward.sick("GPU-gpu-0")
        ward.look()
        ward.look(CLEAR_S)
        assert ward.state_of("GPU-gpu-0") is HealthState.ok
        assert not ward.facts.workers["gpu-0"].cordoned
    ward.sick("GPU-gpu-0", temperature_c=95.0)
    ward.look()
    ward.look(SUSPECT_S)
    ward.sick("GPU-gpu-0")
    ward.look()
    ward.look(10 * CLEAR_S)
    assert ward.state_of("GPU-gpu-0") is HealthState.broken
    assert ward.facts.workers["gpu-0"].broken


# -- stale


def test_an_unreadable_gpu_is_not_placed_on_and_not_broken() -> None:
    ward = Ward()
    ward.frozen.add("GPU-gpu-0")
    ward.look(limits.STALE_LOCAL_MS / 1000)
    assert ward.state_of("GPU-gpu-0") is HealthState.ok
    ward.look()
    assert (ward.state_of("GPU-gpu-0"), ward.facts.device_faults["GPU-gpu-0"].sign) == ("suspect", Sign.stale)
    ward.frozen.clear()
    ward.look()
    ward.look(CLEAR_S)
    assert ward.state_of("GPU-gpu-0") is HealthState.ok


def test_a_gpu_that_vanished_is_waited_for_after_a_restart_and_then_suspect() -> None:
    ward = Ward()
    ward.now_ms += limits.HOUR_MS
    ward.restart()
    del ward.samples["GPU-gpu-0"]
    assert ward.look(limits.STALE_LOCAL_MS / 1000) == []
    ward.look()
    assert ward.facts.device_faults["GPU-gpu-0"].reason == "it is not listed any more"


def test_what_went_away_with_its_node_is_forgotten_and_a_fault_that_lasts_is_not() -> None:
    ward = Ward(workers=2)
    ward.sick("GPU-gpu-0", temperature_c=99.0)
    ward.sick("GPU-gpu-1", ecc_uncorrected=1)
    ward.look()
    ward.pool("cpu", workers=1)
    ward.ask(cmd.ScalePool(pool="gpu", workers=0, by="ann"))
    ward.tick(1)
    ward.samples.clear()
    ward.look(3600)
    assert list(ward.facts.device_faults) == ["GPU-gpu-1"]


def test_gpus_that_nobody_ever_sampled_are_not_judged() -> None:
    ward = Ward()
    ward.pool("dark", workers=1, gpus=1)
    assert ward.look(3600) == []


def test_a_slice_is_as_sick_as_its_gpu() -> None:
    ward = Ward()
    ward.samples["MIG-1"] = DeviceSample(id="MIG-1", kind="mig", parent="GPU-gpu-0")
    ward.look()
    ward.sick("GPU-gpu-0", xid_count=1, xids=(95,))
    ward.look()
    assert ward.state_of("MIG-1") is HealthState.cordoned
    assert ward.facts.device_faults["MIG-1"].sign is Sign.xid


# -- several GPUs in a worker


def test_a_worker_goes_on_with_its_other_gpus() -> None:
    ward = Ward(gpus=2, workers=1)
    ward.pool("cpu")
    ward.sick("GPU-gpu-0", ecc_uncorrected=1)
    ward.look()
    worker = ward.facts.workers["gpu-0"]
    assert (worker.cordoned, worker.free_devices) == (False, ["GPU-gpu-1"])
    job, big = ward.submit(gpus=1), ward.submit(gpus=2)
    assert ward.schedule() == [job]
    assert ward.job(job).attempts[-1].devices == ("GPU-gpu-1",)
    found = reason(ward.state, ward.job(big), ward.now_ms)
    assert found is not None
    assert "a GPU is cordoned: 1 more memory errors" in found[1]
    ward.end(job)
    assert worker.free_devices == ["GPU-gpu-1"]
    ward.sick("GPU-gpu-1", ecc_uncorrected=1)
    ward.look()
    assert ward.facts.workers["gpu-0"].cordoned, "no GPU is left"


def test_a_faulty_gpu_is_not_given_to_a_new_worker() -> None:
    ward = Ward(workers=2)
    ward.sick("GPU-gpu-0", ecc_uncorrected=1)
    ward.look()
    ward.ask(cmd.ScalePool(pool="gpu", workers=1, by="ann"))
    ward.tick(1)
    assert list(ward.facts.workers) == ["gpu-1"], "the cordoned one went"
    ward.ask(cmd.ScalePool(pool="gpu", workers=2, by="ann"))
    assert list(ward.facts.workers) == ["gpu-1"]
    ward.ask(cmd.RepairDevice(device="GPU-gpu-0", by="ann"))
    ward.tick(1)
    assert ward.facts.workers["gpu-2"].devices == ("GPU-gpu-0",)
