"""A driver to be asked through `NvmlProbe`: it has the functions of `pynvml` that the probe uses, and its errors."""

from __future__ import annotations

from types import SimpleNamespace

from pynvml import NVMLError, NVMLError_LibraryNotFound, NVMLError_NotFound, NVMLError_NotSupported

MIB = 1 << 20


class Driver:
    """One H100 cut into one MIG slice (of two places), and one card that refuses to say its power."""

    NVMLError = NVMLError
    NVMLError_NotFound = NVMLError_NotFound
    NVMLError_NotSupported = NVMLError_NotSupported
    NVML_TEMPERATURE_GPU = 0
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self) -> None:
        self.loaded = True
        self.lost = False
        self.fallen = ""
        self.inits = 0

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

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=10 * MIB, total=100 * MIB)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=0)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
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
