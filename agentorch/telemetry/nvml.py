"""What NVML is asked beside the everyday numbers: reading fields that may fail, errors of the driver, slowed clocks."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from agentorch.model import limits

Value = TypeVar("Value")

#: Events taken from the driver in one look; more wait for the next.
_EVENTS_AT_ONCE: Final = 256

#: Why clocks are held down, as far as it says something is wrong. Bits and names:
#: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
_THROTTLES: Final = (
    (0x04, "power_cap"),
    (0x08, "hw_slowdown"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "power_brake"),
)


class Reader:
    """Reads a field, or remembers why it can't be read. What a device does not have is no error, only unknown."""

    def __init__(self, nvml: Any) -> None:
        self._kind: type[Exception] = nvml.NVMLError
        self._absent: type[Exception] = nvml.NVMLError_NotSupported
        self._errors: list[str] = []
        self.failure: Exception | None = None  # the newest

    def __call__(self, field: str, call: Callable[[], Value]) -> Value | None:
        """A field that every device should have."""
        try:
            return call()
        except self._kind as error:
            self._failed(field, error)
            return None

    def maybe(self, field: str, call: Callable[[], Value]) -> Value | None:
        """A field that many devices do not have."""
        try:
            return call()
        except self._absent:
            return None
        except self._kind as error:
            self._failed(field, error)
            return None

    def _failed(self, field: str, error: Exception) -> None:
        self._errors.append(f"{field}: {error}")
        self.failure = error

    @property
    def error(self) -> str:
        return "; ".join(self._errors)


def throttles(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _THROTTLES if bits & bit)


class XidLog:
    """Errors that the driver reports of each GPU (Xids), counted since it was first listened to.

    Never waits: what has been reported by now is taken, the rest comes with the next look.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._set: Any = None
        self._by_handle: dict[Any, str] = {}
        self._counts: dict[str, int] = {}
        self._newest: dict[str, deque[int]] = {}

    def listen(self, handle: Any, uuid: str) -> None:
        """Raises NVMLError where the device reports no errors; its count stays unknown then."""
        nvml = self._nvml
        if self._by_handle.get(_key(handle)) == uuid:
            return
        if not nvml.nvmlDeviceGetSupportedEventTypes(handle) & nvml.nvmlEventTypeXidCriticalError:
            raise nvml.NVMLError_NotSupported
        if self._set is None:
            self._set = nvml.nvmlEventSetCreate()
        nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._set)
        self._by_handle[_key(handle)] = uuid
        self._counts.setdefault(uuid, 0)

    def take(self) -> None:
        """Count what has been reported since the last look."""
        nvml = self._nvml
        for _ in range(_EVENTS_AT_ONCE if self._set is not None else 0):
            try:
                event = nvml.nvmlEventSetWait(self._set, 0)
            except nvml.NVMLError_Timeout:
                return
            except nvml.NVMLError:  # the driver was loaded anew: listen again, counts go on
                self._set, self._by_handle = None, {}
                return
            uuid = self._by_handle.get(_key(event.device))
            if uuid is not None and event.eventType & nvml.nvmlEventTypeXidCriticalError:
                self._counts[uuid] += 1
                self._newest.setdefault(uuid, deque(maxlen=limits.XIDS_KEPT)).append(int(event.eventData))

    def count(self, uuid: str) -> int | None:
        return self._counts.get(uuid)

    def newest(self, uuid: str) -> tuple[int, ...]:
        return tuple(self._newest.get(uuid, ()))


def _key(handle: Any) -> Any:
    """Handles are C pointers, which compare by identity of the Python object; their addresses do not."""
    return ctypes.cast(handle, ctypes.c_void_p).value if isinstance(handle, ctypes._Pointer) else handle
