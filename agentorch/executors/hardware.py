"""What this machine has, as an executor tells it. GPUs are found by telemetry and handed in as plain samples."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psutil

from agentorch.model.attempts import NodeInfo
from agentorch.model.observation import DeviceSample


def local_node(node: str, devices: Sequence[DeviceSample] = ()) -> NodeInfo:
    """This machine: the processors this process may use, all memory, and the GPUs among `devices`.

    A GPU that is cut into MIG slices can't be used as a whole, so its slices are listed in its place. Memory that
    could not be read is 0 here: nothing that asks for GPU memory fits on such a device.
    """
    sliced = {sample.parent for sample in devices if sample.kind == "mig"}
    usable = [sample for sample in devices if sample.kind in ("gpu", "mig") and sample.id not in sliced]
    return NodeInfo(
        id=node,
        cpu_milli=1_000 * len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        devices=tuple(sample.id for sample in usable),
        device_names=tuple(sample.name for sample in usable),
        device_memory_bytes=tuple(sample.memory_total_bytes or 0 for sample in usable),
    )
