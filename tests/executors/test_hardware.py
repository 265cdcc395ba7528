"""What this machine has, as the scheduler hears it."""

from __future__ import annotations

import os

import psutil

from agentorch.executors.hardware import local_node
from agentorch.model.observation import DeviceSample


def test_processors_and_memory_of_this_machine() -> None:
    node = local_node("n-1")
    assert node.id == "n-1"
    assert node.cpu_milli == 1_000 * len(os.sched_getaffinity(0))
    assert node.memory_bytes == psutil.virtual_memory().total
    assert node.devices == ()


def test_slices_stand_for_the_gpu_they_cut_and_unknown_memory_fits_nothing() -> None:
    node = local_node(
        "n-1",
        [
            DeviceSample(id="cpu", kind="cpu", memory_total_bytes=1),
            DeviceSample(id="GPU-0", kind="gpu", name="H100", memory_total_bytes=80),
            DeviceSample(id="MIG-1", kind="mig", name="H100 1g", memory_total_bytes=10, parent="GPU-0"),
            DeviceSample(id="GPU-1", kind="gpu", name="T4"),
        ],
    )
    assert node.devices == ("MIG-1", "GPU-1")
    assert node.device_names == ("H100 1g", "T4")
    assert node.device_memory_bytes == (10, 0)
