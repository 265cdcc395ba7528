"""Health of devices and workers: what is seen, what follows, and who may undo it."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.core.explain import explain, reason
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.health import FATAL_XIDS, LASTING_XIDS, HealthState, Sign
from agentorch.model.jobs import Cause, JobState, Reason
from agentorch.model.observation import DeviceSample
from tests.core.world import World, refold


class Ward(World):
    """A world with telemetry: `sick` changes what a device's samples say from now on, `look` reports them all."""

    def __init__(self, gpus: int = 1, workers: int = 2, **pool: Any) -> None:
        super().__init__()
        self.ask(cmd.StartRuntime(version="1"))
        self.tenant()
        self.pool("gpu", workers=workers, max_workers=workers, cpus=4, gpus=gpus, **pool)
        self.samples = {name: healthy(name) for worker in self.facts.workers.values() for name in worker.devices}
        self.frozen: set[str] = set()
        self.look()

    def sick(self, device: str, **fields: Any) -> None:
        self.samples[device] = healthy(device, **fields)

    def look(self, seconds: float = 2) -> list[str]:
        """Time passes, and what telemetry says is reported. The events that followed, by name."""
        self.now_ms += int(seconds * 1000)
        for name, sample in self.samples.items():
            if name not in self.frozen:
                self.samples[name] = DeviceSample(**{**fields_of(sample), "at_ms": self.now_ms})
        before = len(self.events)
        self.ask(cmd.ReportHealth(samples=tuple(self.samples.values())))
        self.assert_sound()
        return [type(event).__name__ for event in self.events[before:]]

    def state_of(self, device: str) -> HealthState:
        fault = self.facts.device_faults.get(device)
        return HealthState.ok if fault is None else fault.state

    def restart(self) -> None:
        """All that is left is the ledger."""
        self.state = refold(self.events)
        self.ask(cmd.StartRuntime(version="1"))


def fields_of(sample: DeviceSample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in sample.__struct_fields__}


def healthy(device: str, **fields: Any) -> DeviceSample:
    good: dict[str, Any] = {
        "kind": "gpu",
        "temperature_c": 60.0,
        "power_watts": 100.0,
        "power_limit_watts": 400.0,
        "ecc_uncorrected": 0,
        "ecc_uncorrected_ever": 5,
        "rows_pending": False,
        "rows_failed": False,
        "xid_count": 0,
    }
    return DeviceSample(id=device, **{**good, **fields})


CLEAR_S = limits.SUSPECT_CLEAR_MS / 1000
SUSPECT_S = limits.SUSPECT_MAX_MS / 1000


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
    assert reason(ward.state, ward.job(big), ward.now_ms) is not None
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


# -- workers


def fail(ward: World, times: int, on: str) -> None:
    """So many attempts in a row are lost on this worker."""
    others = [name for name in ward.facts.workers if name != on and not ward.facts.workers[name].cordoned]
    for name in others:
        ward.ask(cmd.CordonWorker(worker=name, cordoned=True, by="ann"))
    for _ in range(times):
        job = ward.submit()
        assert ward.schedule() == [job]
        ward.running(job)
        ward.end(job, Cause.lost, None)
        ward.ask(cmd.CancelJob(job=job, by="ann"))
    for name in others:
        ward.ask(cmd.CordonWorker(worker=name, cordoned=False, by="ann"))


def test_a_worker_on_which_attempts_vanish_again_and_again_is_cordoned() -> None:
    ward = Ward(workers=3)
    fail(ward, limits.WORKER_FAILURES_CORDON - 1, "gpu-1")
    assert ward.look() == []
    fail(ward, 1, "gpu-1")
    assert ward.look() == ["WorkerCordoned", "AlertRaised"]
    worker = ward.facts.workers["gpu-1"]
    assert (worker.cordoned_by, worker.cordon_sign) == ("health", "failures")
    ward.look(24 * 3600)
    assert ward.facts.workers["gpu-1"].cordoned, "what fails does not come back by itself"


def test_work_that_comes_to_its_own_end_speaks_for_the_worker() -> None:
    ward = Ward(workers=3)
    fail(ward, limits.WORKER_FAILURES_CORDON - 1, "gpu-1")
    for name in ("gpu-0", "gpu-2"):
        ward.ask(cmd.CordonWorker(worker=name, cordoned=True, by="ann"))
    job = ward.submit()
    ward.schedule()
    ward.running(job)
    ward.end(job, Cause.error, 1)
    assert ward.facts.workers["gpu-1"].failures == 0


def test_a_node_under_pressure_gets_nothing_new_until_it_is_well_for_a_while() -> None:
    ward = Ward()
    ward.samples["cpu"] = DeviceSample(id="cpu", kind="cpu", memory_stall_percent=0.0, io_stall_percent=50.0)
    assert ward.look() == []
    ward.samples["cpu"] = DeviceSample(id="cpu", kind="cpu", pressure_percent=100.0, memory_pressure_percent=90.0)
    assert ward.look() == [], "a busy processor is what it is paid for"
    ward.samples["cpu"] = DeviceSample(id="cpu", kind="cpu", memory_stall_percent=60.0)
    assert ward.look() == ["WorkerSuspected", "WorkerSuspected"]
    ward.submit()
    assert ward.schedule() == []
    ward.look(limits.HOUR_MS / 1000)
    assert not any(worker.cordoned for worker in ward.facts.workers.values()), "pressure only makes suspect"
    ward.samples["cpu"] = DeviceSample(id="cpu", kind="cpu", memory_stall_percent=35.0)
    assert ward.look() == [], "within the hysteresis"
    ward.samples["cpu"] = DeviceSample(id="cpu", kind="cpu", memory_stall_percent=0.0)
    ward.look()
    ward.look(CLEAR_S)
    assert len(ward.schedule()) == 1


# -- G11


def test_where_everything_looks_sick_nothing_is_cordoned_and_people_are_told_once() -> None:
    ward = Ward(workers=2)
    job = ward.submit(gpus=1)
    ward.schedule()
    for device in list(ward.samples):
        ward.sick(device, xid_count=1, xids=(119,))
    ward.look()
    ward.look()
    alerts = [alert.code for alert in ward.facts.alerts]
    assert alerts == ["health-halt"]
    assert not any(worker.cordoned for worker in ward.facts.workers.values())
    assert [ward.state_of(device) for device in ward.samples] == ["suspect", "suspect"], "nothing new is placed there"
    assert ward.job(job).stop_cause is None
    ward.pool("cpu", workers=8)
    ward.look()
    assert [ward.state_of(device) for device in ward.samples] == ["cordoned", "cordoned"], "the halt is over"
    assert ward.job(job).stop_cause is Cause.interruption


def test_more_than_45_percent_and_more_than_3_unhealthy_halt_cordons() -> None:
    ward = Ward(workers=8)
    for index in range(3):
        ward.sick(f"GPU-gpu-{index}", ecc_uncorrected=1)
    ward.look()
    assert sum(worker.cordoned for worker in ward.facts.workers.values()) == 3
    ward.sick("GPU-gpu-3", ecc_uncorrected=1)
    ward.look()
    assert ward.facts.health_halt == "4 of 8 workers look unhealthy"
    assert ward.state_of("GPU-gpu-3") is HealthState.suspect


# -- who may undo it


def broken_ward() -> Ward:
    ward = Ward()
    for count in range(1, limits.BREAKER_CORDONS + 1):
        ward.sick("GPU-gpu-0", ecc_uncorrected=count)
        ward.look()
        if count < limits.BREAKER_CORDONS:
            ward.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))
            ward.look()
            assert ward.state_of("GPU-gpu-0") is HealthState.ok, "what the counters said before is no new sign"
    return ward


def test_after_too_many_cordons_only_a_repair_brings_a_gpu_back() -> None:
    ward = broken_ward()
    assert ward.state_of("GPU-gpu-0") is HealthState.broken
    with pytest.raises(Refused, match="agentorch workers repair gpu-0") as refused:
        ward.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))
    assert refused.value.code == "conflict"
    ward.restart()
    for by in ("supervisor", "supervisor/rules", "health"):
        with pytest.raises(Refused, match="only a person"):
            ward.ask(cmd.RepairWorker(worker="gpu-0", by=by))
    ward.ask(cmd.RepairWorker(worker="gpu-0", by="ann"))
    ward.look()
    worker = ward.facts.workers["gpu-0"]
    assert (worker.cordoned, worker.broken, worker.free_devices) == (False, False, ["GPU-gpu-0"])
    ward.sick("GPU-gpu-0", ecc_uncorrected=9)
    ward.look()
    assert ward.state_of("GPU-gpu-0") is HealthState.cordoned, "the breaker counts from the repair on"


def test_a_repair_of_what_is_still_wrong_does_not_last() -> None:
    ward = Ward()
    ward.sick("GPU-gpu-0", rows_failed=True)
    ward.look()
    ward.ask(cmd.RepairWorker(worker="gpu-0", by="ann"))
    assert not ward.facts.workers["gpu-0"].cordoned
    ward.look()
    assert ward.facts.workers["gpu-0"].cordoned


def test_a_repair_of_a_device_brings_its_worker_back() -> None:
    ward = broken_ward()
    ward.ask(cmd.RepairDevice(device="GPU-gpu-0", by="ann"))
    assert not ward.facts.workers["gpu-0"].cordoned
    with pytest.raises(Refused) as refused:
        ward.ask(cmd.RepairDevice(device="GPU-9", by="ann"))
    assert refused.value.code == "not_found"


def test_cordons_of_long_ago_do_not_trip_the_breaker() -> None:
    ward = Ward()
    for count in range(1, limits.BREAKER_CORDONS + 2):
        ward.sick("GPU-gpu-0", ecc_uncorrected=count)
        ward.look(limits.BREAKER_WINDOW_MS / 1000)
        assert ward.state_of("GPU-gpu-0") is HealthState.cordoned
        ward.ask(cmd.CordonWorker(worker="gpu-0", cordoned=False, by="ann"))


def test_a_person_s_cordon_is_left_to_people() -> None:
    ward = Ward()
    ward.ask(cmd.CordonWorker(worker="gpu-0", cordoned=True, by="ann", reason="fan"))
    ward.sick("GPU-gpu-0", temperature_c=99.0)
    ward.look()
    ward.look(SUSPECT_S)
    ward.sick("GPU-gpu-0")
    ward.look()
    ward.look(CLEAR_S)
    worker = ward.facts.workers["gpu-0"]
    assert (worker.cordoned, worker.cordon_reason, worker.cordoned_by) == (True, "fan", "ann")


# -- power


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
