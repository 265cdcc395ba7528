"""The time limit of a call, kept by the kernel: a stop signal to this process, and a KILL when its grace is over.

Imports only the standard library. POSIX timers (timer_create(2)) need no thread and no runtime, are none of those that
Python code can reach, and a fork does not inherit them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Final

_SIGEV_SIGNAL: Final = 0
_NS: Final = 1_000_000_000


class _Event(ctypes.Structure):
    """struct sigevent, on Linux 64 bytes long."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("_", ctypes.c_byte * 48),
    )


class _Moment(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (("interval", _Moment), ("value", _Moment))


class Deadline:
    """Two timers, made when a call first needs them. Raises OSError if the kernel has none left."""

    def __init__(self, stop_signal: int) -> None:
        self._signals = (stop_signal, int(signal.SIGKILL))
        self._timers: list[ctypes.c_void_p] = []

    def set(self, timeout_ms: int, grace_ms: int) -> None:
        """From now on."""
        if not self._timers:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._timers = [self._make(number) for number in self._signals]
        self._arm(self._timers[0], timeout_ms)
        self._arm(self._timers[1], timeout_ms + grace_ms)

    def clear(self) -> None:
        for timer in self._timers:
            self._arm(timer, 0)

    def _make(self, number: int) -> ctypes.c_void_p:
        event = _Event(signo=number, notify=_SIGEV_SIGNAL)
        timer = ctypes.c_void_p()
        self._check(self._libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)))
        return timer

    def _arm(self, timer: ctypes.c_void_p, after_ms: int) -> None:
        """0 = never."""
        after_ns = after_ms * 1_000_000
        setting = _Setting(value=_Moment(after_ns // _NS, after_ns % _NS))
        self._check(self._libc.timer_settime(timer, 0, ctypes.byref(setting), None))

    def _check(self, result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"a timer: {os.strerror(number)}")
