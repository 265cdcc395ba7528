"""Probes: what each kind of device says of itself, now. A probe stamps no time and keeps no past; the sampler does.

A field that could not be read is None, and `error` says why; what a device does not have is None too, and no error. A
device that is there is never left out because it is hard to read: what can't be read counts as busy further up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil

from agentorch.model.observation import DeviceSample
from agentorch.telemetry.nvml import Reader, XidLog, throttles

RETRY_DRIVER_S = 60.0  # a driver may be installed, or loaded, while we run


class DeviceProbe(Protocol):
    def sample(self) -> list[DeviceSample]:
        """Every device of its kind. Blocking, and called from one thread at a time; may raise, and may hang."""


class NullProbe:
    """No devices."""

    def sample(self) -> list[DeviceSample]:
        return []


class FakeProbe:
    """Says what it was told to, one item a call, then the last one again; an exception as an item is raised."""

    def __init__(self, script: Sequence[list[DeviceSample] | Exception]) -> None:
        self._script = list(script)
        self.calls = 0

    def sample(self) -> list[DeviceSample]:
        item = self._script[min(self.calls, len(self._script) - 1)]
        self.calls += 1
        if isinstance(item, Exception):
            raise item
        return list(item)


class HostProbe:
    """The machine's processors and memory, as one device `cpu`. `pressure` is the directory of the kernel's PSI files.

    Pressure says best whether a machine hurts: the share of the last ten seconds in which something had to wait.
    """

    def __init__(self, node: str = "local", pressure: Path = Path("/proc/pressure")) -> None:
        self._node = node
        self._pressure = pressure
        self._times: tuple[float, float] | None = None

    def sample(self) -> list[DeviceSample]:
        errors: list[str] = []
        memory = psutil.virtual_memory()
        sample = DeviceSample(
            id="cpu",
            kind="cpu",
            name=f"{psutil.cpu_count() or 0} processors",
            node=self._node,
            utilization_percent=self._utilization(errors),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            pressure_percent=self._avg10("cpu", "some", errors),
            memory_pressure_percent=self._avg10("memory", "some", errors),
            io_pressure_percent=self._avg10("io", "some", errors),
            memory_stall_percent=self._avg10("memory", "full", errors),
            io_stall_percent=self._avg10("io", "full", errors),
            error="; ".join(errors),
        )
        return [sample]

    def _utilization(self, errors: list[str]) -> float | None:
        times = psutil.cpu_times()
        # Guest time is contained in user time already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._times = self._times, (total, idle)
        if before is None or total <= before[0]:
            errors.append("utilization: it takes two samples")
            return None
        idle_share = float(idle - before[1]) / float(total - before[0])
        return min(100.0, max(0.0, 100.0 * (1.0 - idle_share)))

    def _avg10(self, resource: str, kind: str, errors: list[str]) -> float | None:
        """`some avg10=0.68 avg60=...` -> 0.68. Kernels without PSI have no such file."""
        try:
            lines = (self._pressure / resource).read_text(encoding="ascii").splitlines()
            fields = next(line.split() for line in lines if line.startswith(f"{kind} "))
            return float(dict(field.split("=") for field in fields[1:])["avg10"])
        except (OSError, ValueError, KeyError, StopIteration) as error:
            errors.append(f"{resource} pressure, {kind}: {error}")
            return None


class NvmlProbe:
    """NVIDIA GPUs and their MIG slices, through nvidia-ml-py (import name `pynvml`).

    Without a driver there are no devices, and it is looked for again now and then. Once devices have been seen, a
    driver that goes away is an error, not an empty machine. `clock_s` is monotonic.
    """

    def __init__(self, node: str = "local", *, nvml: Any = None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._nvml = nvml
        self._clock_s = clock_s
        self._ready = False
        self._seen = False
        self._next_try_s: float | None = None
        self._xids: XidLog | None = None
        self._names: dict[int, tuple[str, str]] = {}  # index -> UUID and name, as it was last read

    def sample(self) -> list[DeviceSample]:
        """Raises NVMLError when devices were there before and NVML does not answer now."""
        if not self._connect():
            return []
        nvml = self._nvml
        samples: list[DeviceSample] = []
        failure: Exception | None = None
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            count, failure = 0, error
        assert self._xids is not None, "there is one once the driver answered"
        self._xids.take()
        for index in range(count):
            try:
                samples += self._device(index, self._xids)
            except nvml.NVMLError as error:  # it fell off the bus: its last sample grows old, the others are fine
                failure = error
                samples += self._fallen(index, self._xids, error)
        if failure is not None:
            self._ready = False  # the next sample connects again
            if not samples:
                raise failure
        self._seen = self._seen or bool(samples)
        return samples

    def _connect(self) -> bool:
        if self._ready:
            return True
        now_s = self._clock_s()
        if not self._seen and self._next_try_s is not None and now_s < self._next_try_s:
            return False
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError:
            if self._seen:
                raise
            self._next_try_s = now_s + RETRY_DRIVER_S
            return False
        self._ready = True
        if self._xids is None:
            self._xids = XidLog(self._nvml)
        return True

    def _fallen(self, index: int, xids: XidLog, error: Exception) -> list[DeviceSample]:
        """All that is left to say of a GPU that can't be read: the errors that its driver reported, if any."""
        uuid, name = self._names.get(index, ("", ""))
        count = xids.count(uuid)
        if not count:
            return []
        newest = xids.newest(uuid)
        return [
            DeviceSample(
                id=uuid, kind="gpu", name=name, node=self._node, xid_count=count, xids=newest, error=f"device: {error}"
            )
        ]

    def _device(self, index: int, xids: XidLog) -> list[DeviceSample]:
        """The GPU, then its slices. One that fell off the bus says nothing, or nothing but its name: that raises."""
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        read = Reader(nvml)
        memory = read("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        rates = read("utilization", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        limit = read("power limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        power = read("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        heat = read("temperature", lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)))
        if read.failure is not None and memory is rates is power is heat is None:
            raise read.failure
        name = _text(read("name", lambda: nvml.nvmlDeviceGetName(handle)) or "")
        self._names[index] = (uuid, name)
        read.maybe("xids", lambda: xids.listen(handle, uuid))
        sample = DeviceSample(
            id=uuid,
            kind="gpu",
            name=name,
            node=self._node,
            utilization_percent=None if rates is None else float(rates.gpu),
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            temperature_c=heat,
            power_watts=None if power is None else power / 1000,
            power_limit_watts=None if limit is None else limit / 1000,
            processes=self._processes(handle, read),
            xid_count=xids.count(uuid),
            xids=xids.newest(uuid),
        )
        sample = self._with_health(sample, handle, read)
        return [sample, *self._slices(handle, uuid)]

    def _with_health(self, sample: DeviceSample, handle: Any, read: Reader) -> DeviceSample:
        """With what tells a sick GPU from a well one; most consumer cards have only some of it."""
        nvml = self._nvml
        rows = read.maybe("remapped rows", lambda: nvml.nvmlDeviceGetRemappedRows(handle))
        limit = read.maybe(
            "temperature limit",
            lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        )
        clocks = read.maybe("clocks", lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

        def ecc(counter: int) -> int | None:
            return read.maybe(
                "ecc", lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, nvml.NVML_DOUBLE_BIT_ECC, counter))
            )

        return msgspec.structs.replace(
            sample,
            temperature_limit_c=None if limit is None else float(limit),
            energy_mj=read.maybe("energy", lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))),
            throttled=None if clocks is None else throttles(clocks),
            ecc_uncorrected=ecc(nvml.NVML_VOLATILE_ECC),
            ecc_uncorrected_ever=ecc(nvml.NVML_AGGREGATE_ECC),
            rows_pending=None if rows is None else bool(rows[2]),
            rows_failed=None if rows is None else bool(rows[3]),
            error=read.error,
        )

    def _slices(self, parent: Any, parent_uuid: str) -> list[DeviceSample]:
        nvml = self._nvml
        try:
            enabled, _pending = nvml.nvmlDeviceGetMigMode(parent)
        except nvml.NVMLError_NotSupported:
            return []
        if enabled != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        slices = []
        for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(parent)):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, index)
            except nvml.NVMLError_NotFound:
                continue  # places for slices need not be taken
            slices.append(self._slice(handle, parent_uuid))
        return slices

    def _slice(self, handle: Any, parent_uuid: str) -> DeviceSample:
        nvml = self._nvml
        read = Reader(nvml)
        memory = read("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        return DeviceSample(
            id=_text(nvml.nvmlDeviceGetUUID(handle)),
            kind="mig",
            name=_text(read("name", lambda: nvml.nvmlDeviceGetName(handle)) or ""),
            node=self._node,
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            parent=parent_uuid,
            processes=self._processes(handle, read),
            error="; ".join(filter(None, (read.error, "utilization: NVML has none for slices"))),
        )

    def _processes(self, handle: Any, read: Reader) -> tuple[int, ...]:
        running = read("processes", lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return tuple(sorted(process.pid for process in running or ()))


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
