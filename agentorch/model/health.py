"""What is known to be wrong with devices and workers: signs, states, and the driver's error codes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

#: Whom the core writes down as the doer when telemetry or failures took something out.
HEALTH: Final = "health"


class HealthState(StrEnum):
    """Each is graver than the one before; only `ok` takes new work."""

    ok = "ok"
    suspect = "suspect"  # nothing new is placed there; clears by itself
    cordoned = "cordoned"  # a fault: it drains
    broken = "broken"  # cordoned too often: only a person's repair brings it back


class Sign(StrEnum):
    """What was seen, the gravest first."""

    xid = "xid"  # its driver reported an error after which NVIDIA wants it reset
    ecc = "ecc"  # memory errors that could not be corrected
    rows = "rows"  # a bad memory row waits for a reset, or could not be replaced
    link = "link"  # errors on its links to other GPUs
    failures = "failures"  # attempts in a row ended on the worker by no fault of the jobs
    devices = "devices"  # every device of the worker is out
    heat = "heat"  # over its temperature limit, or slowed down for heat
    stale = "stale"  # nothing is known of it for too long
    pressure = "pressure"  # all work on its node waits for memory or for the disk


SIGN_RANK: Final[dict[Sign, int]] = {sign: rank for rank, sign in enumerate(Sign)}
#: What runs on such a device is stopped and queued again; results can't be trusted.
FATAL: Final = frozenset({Sign.xid, Sign.ecc})
#: What goes away by itself. Anything else is undone by a person only.
TRANSIENT: Final = frozenset({Sign.heat, Sign.stale, Sign.pressure})

#: Xid codes after which NVIDIA's catalogue asks for a reset of the GPU (79, 151: of the machine) at once; 48 by its
#: own workflow. Source: https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, columns "Resolution
#: Bucket (Immediate Action)" RESET_GPU, RESTART_BM, RESTART_VM, for A100 to GB200. All others are the application's
#: (RESTART_APP), or for information.
FATAL_XIDS: Final[dict[int, str]] = {
    46: "GPU stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halted",
    64: "a memory row could not be replaced",
    79: "GPU has fallen off the bus",
    95: "uncontained memory error",
    109: "context switch timed out",
    110: "security fault",
    119: "GSP does not answer",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "GPU could not be initialised",
    151: "key rotation failed",
    155: "NVLink: software-defined error",
    156: "resources were retired",
    158: "fatal timeout",
}
#: Codes that a person should look at and that need not stop what runs: NVLink workflows, and a retirement that failed
#: (same source).
LASTING_XIDS: Final[dict[int, str]] = {
    74: "NVLink error",
    157: "resources could not be retired",
}


class DeviceCounters(msgspec.Struct, kw_only=True):
    """What a device's counters said last: only an increase is a sign. Only `core.evolve` writes to it."""

    node: str
    parent: str = ""  # MIG: the GPU it is a slice of
    seen_ms: int = 0  # when it was first seen
    ecc_uncorrected: int | None = None
    ecc_uncorrected_ever: int | None = None
    xid_count: int | None = None
    cordons: list[int] = []  # times at which it was cordoned, the newest ones


class DeviceFault(msgspec.Struct, kw_only=True):
    """Why a device takes no new work. Only `core.evolve` writes to it."""

    state: HealthState
    sign: Sign
    reason: str
    evidence: str = ""
    since_ms: int
    well_ms: int | None = None  # since when the sign is not seen any more


class PoolPower(msgspec.Struct, kw_only=True):
    """What the GPUs of a pool with a watt cap draw, rounded up to a tenth of the cap. None = unknown."""

    watts: int | None = None
    start_watts: int | None = None  # that one more busy GPU is reckoned with
    starts: list[tuple[int, int]] = []  # (time, watts) of starts that the samples may not show yet
