"""Health of workers, how much may look sick at once, and who may undo what."""

from __future__ import annotations

import pytest

from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.health import HealthState
from agentorch.model.jobs import Cause
from agentorch.model.observation import DeviceSample
from tests.core.ward import CLEAR_S, SUSPECT_S, Ward

# -- workers


def fail(ward: Ward, times: int, on: str) -> None:
    """So many attempts in a row are lost on this worker."""
    others = [name for name in ward.facts.workers if name != on and not ward.facts.workers[name].cordoned]
    for name in others:
        ward.ask(cmd.CordonWorker(worker=name, cordoned=True, by="ann"))
    for _ in range(times):
        ward.now_ms += limits.FAILURES_APART_MS
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


def test_what_is_lost_at_one_moment_is_one_incident() -> None:
    ward = Ward(workers=2)
    jobs = [ward.submit() for _ in range(6)]
    assert ward.schedule() == jobs
    for job in jobs:
        ward.end(job, Cause.no_capacity, None)
    assert [worker.failures for worker in ward.facts.workers.values()] == [1, 1]
    assert ward.look() == []


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
