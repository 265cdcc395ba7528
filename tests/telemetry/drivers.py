"""A driver to be asked through `NvmlProbe`: it has the functions of `pynvml` that the probe uses, and its errors."""

from __future__ import annotations

from types import SimpleNamespace

from pynvml import (
    NVMLError,
    NVMLError_LibraryNotFound,
    NVMLError_NotFound,
    NVMLError_NotSupported,
    NVMLError_Timeout,
)

MIB = 1 << 20


class Driver:
    """One H100 cut into one MIG slice (of two places), and one card that refuses to say its power.

    `ecc`, `rows`, `clocks` and `energy` are of the H100; the card has none of it. `report` is an error of the driver.
    """

    NVMLError = NVMLError
    NVMLError_NotFound = NVMLError_NotFound
    NVMLError_NotSupported = NVMLError_NotSupported
    NVMLError_Timeout = NVMLError_Timeout
    NVML_TEMPERATURE_GPU = 0
    NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1
    NVML_DOUBLE_BIT_ECC = 1
    NVML_VOLATILE_ECC = 0
    NVML_AGGREGATE_ECC = 1
    nvmlEventTypeXidCriticalError = 8
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self) -> None:
        self.loaded = True
        self.lost = False
        self.fallen = ""
        self.dead = ""  # it has a name, and nothing else can be read
        self.inits = 0
        self.ecc = {self.NVML_VOLATILE_ECC: 0, self.NVML_AGGREGATE_ECC: 2}
        self.rows = (0, 0, 0, 0)
        self.clocks = 0
        self.energy = 5_000_000
        self.reported: list[SimpleNamespace] = []
        self.listened: list[str] = []

    def report(self, handle: str, xid: int) -> None:
        self.reported.append(SimpleNamespace(device=handle, eventType=8, eventData=xid))

    def nvmlInit(self) -> None:
        self.inits += 1
        if not self.loaded:
            raise NVMLError_LibraryNotFound

    def nvmlDeviceGetCount(self) -> int:
        if self.lost:
            raise NVMLError(15)
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"GPU-{index}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        if handle == self.fallen:
            raise NVMLError(15)
        return handle

    def nvmlDeviceGetName(self, handle: str) -> bytes:
        return b"NVIDIA " + handle.encode()

    def _is_alive(self, handle: str) -> None:
        if handle == self.dead:
            raise NVMLError(15)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        self._is_alive(handle)
        return SimpleNamespace(used=10 * MIB, total=100 * MIB)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        self._is_alive(handle)
        return SimpleNamespace(gpu=0)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        self._is_alive(handle)
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        self._is_alive(handle)
        if handle == "GPU-1":
            raise NVMLError_NotSupported
        return 250_500

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return 700_000

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=9), SimpleNamespace(pid=7)]

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if handle == "GPU-1":
            raise NVMLError_NotSupported
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 2

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        if index == 0:
            raise NVMLError_NotFound
        return "MIG-1"

    # -- health: what the card does not have

    def _only_h100(self, handle: str) -> None:
        if handle != "GPU-0":
            raise NVMLError_NotSupported

    def nvmlDeviceGetTotalEccErrors(self, handle: str, kind: int, counter: int) -> int:
        self._only_h100(handle)
        assert kind == self.NVML_DOUBLE_BIT_ECC
        return self.ecc[counter]

    def nvmlDeviceGetRemappedRows(self, handle: str) -> tuple[int, int, int, int]:
        self._only_h100(handle)
        return self.rows

    def nvmlDeviceGetTemperatureThreshold(self, handle: str, threshold: int) -> int:
        self._only_h100(handle)
        assert threshold == self.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return 87

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        self._only_h100(handle)
        return self.clocks

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self._only_h100(handle)
        return self.energy

    def nvmlDeviceGetSupportedEventTypes(self, handle: str) -> int:
        return 8 if handle == "GPU-0" else 0

    def nvmlEventSetCreate(self) -> list[str]:
        return self.listened

    def nvmlDeviceRegisterEvents(self, handle: str, kinds: int, events: list[str]) -> None:
        assert kinds == 8
        events.append(handle)

    def nvmlEventSetWait(self, events: list[str], timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms == 0, "a probe never waits"
        if self.lost:
            raise NVMLError(999)
        if not self.reported:
            raise NVMLError_Timeout
        return self.reported.pop(0)
