"""The micro syntax that people type, read into the units of the house: `24GB`, `90m`, `H100:2`, `4+`, `$1.50`.

Every function here is pure and raises ValueError with what was expected. A number without a unit is refused where
guessing it would be a trap: a bare `24` of memory is neither bytes nor gigabytes.
"""

from __future__ import annotations

import math
import re
from typing import Final

from agentorch.model import limits

#: The grammars, as regular expressions that JSON Schema understands too: OpenAPI says exactly what is read here.
SIZE_PATTERN: Final = r"\d{1,6}(\.\d{1,6})? ?([kKmMgGtT]?[bB]|[kKmMgGtT]|[kKmMgGtT]i[bB]?)|0"
DURATION_PATTERN: Final = r"\d{1,5}(\.\d{1,6})?|(\d{1,4}(\.\d{1,3})?(ms|s|m|h|d|w)){1,6}"
CORES_PATTERN: Final = r"([1-9]\d{0,5}(\.\d{1,3})?|0\.[1-9]\d{0,2})\+?"
USD_PATTERN: Final = r"\$?\d{1,8}(\.\d{1,6})?"
GPU_PATTERN: Final = r"\d{1,4}|[A-Za-z][A-Za-z0-9 ._-]{0,63}(:\d{1,4})?"

_SIZE = re.compile(SIZE_PATTERN, re.ASCII)
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_CORES = re.compile(CORES_PATTERN, re.ASCII)
_USD = re.compile(USD_PATTERN, re.ASCII)
_GPU = re.compile(GPU_PATTERN, re.ASCII)
_BYTE_PREFIXES: Final = "kmgt"
_DURATION_UNITS: Final = {
    "w": 7 * limits.DAY_MS,
    "d": limits.DAY_MS,
    "h": limits.HOUR_MS,
    "m": limits.MINUTE_MS,
    "s": limits.SECOND_MS,
    "ms": 1,
}

#: Nothing that the ledger stores as an integer may leave 64 bits; longer than six spans of 9999 weeks nobody waits.
DURATION_MAX_MS: Final = 6 * 10_000 * 7 * limits.DAY_MS
BARE_BYTES_MIN: Final = 1_000_000  # a smaller number without a unit was not meant as bytes
BYTES_MAX: Final = 1024**4 * 1_000_000
CPU_MILLI_MAX: Final = 1_000_000_000
USD_MICROS_MAX: Final = 10**14
GPUS_MAX: Final = 9_999

Scalar = str | int | float


def _number(value: Scalar, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {expected}, not {value!r}")  # noqa: TRY004 - ValueError is this module's contract
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected {expected}, not {value!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"expected {expected}, not {value!r}")
    return number


def _bounded(value: float, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise ValueError(f"{what} is out of range")
    return round(value)


def parse_bytes(value: Scalar) -> int:
    """`24GB` (decimal), `24GiB` (binary), `512M`; an int is bytes. Returns bytes.

    A bare number below a megabyte is refused, because whoever writes `memory: 24` means something else.
    """
    expected = "a size with a unit, such as 24GB or 512MiB"
    if isinstance(value, str):
        text = value.strip()
        if not _SIZE.fullmatch(text):
            raise ValueError(f"expected {expected}, not {value!r}")
        unit = text.lstrip("0123456789. ").lower()
        base = 1024 if "i" in unit else 1000
        power = _BYTE_PREFIXES.find(unit[:1]) + 1 if unit else 0
        scale = float(base**power)
        return round(float(text[: len(text) - len(unit)]) * scale)
    number = _number(value, expected)
    if 0 < number < BARE_BYTES_MIN:
        raise ValueError(f"expected {expected}: {value!r} has no unit, and would be bytes")
    return _bounded(number, 0, BYTES_MAX, f"size {value!r}")


def format_bytes(value: int) -> str:
    """24000000000 -> `24GB`, exactly when it can be said exactly, else with one decimal."""
    for unit, size in (("PB", 1000**5), ("TB", 1000**4), ("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if value >= size:
            whole = value / size
            return f"{whole:.0f}{unit}" if value % size == 0 else f"{whole:.1f}{unit}"
    return f"{value}B"


def parse_duration_ms(value: Scalar) -> int:
    """`90m`, `1h30m`, `500ms`, `2d`; a bare number is seconds. Returns milliseconds."""
    expected = "a duration such as 90m, 1h30m or seconds"
    if isinstance(value, str):
        text = value.strip()
        if not _DURATION.fullmatch(text):
            raise ValueError(f"expected {expected}, not {value!r}")
        if parts := _DURATION_PART.findall(text):
            return round(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))
        value = text
    number = _number(value, expected) * limits.SECOND_MS
    return _bounded(number, 0, DURATION_MAX_MS, f"duration {value!r}")


def format_duration_ms(value: int) -> str:
    """5400000 -> `1h30m`; 0 -> `0s`. Reading it back gives the same number, up to 9999 weeks."""
    parts = []
    for unit, size in _DURATION_UNITS.items():
        count, value = divmod(value, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_cpu_milli(value: Scalar) -> int:
    """`4`, `0.5`, `4+` (at least: what a job asks for is always a minimum). Returns thousandths of a core."""
    expected = "a number of cores such as 4 or 0.5"
    if isinstance(value, str):
        if not _CORES.fullmatch(value.strip()):
            raise ValueError(f"expected {expected}, not {value!r}")
        value = value.strip().removesuffix("+")
    return _bounded(_number(value, expected) * 1000, 1, CPU_MILLI_MAX, f"cpus {value!r}")


def parse_gpu(value: Scalar) -> tuple[str, int]:
    """`2`, `H100`, `H100:2`, `A100-80GB:4`. Returns (model, count); model "" means any."""
    expected = "gpus such as 2, H100 or H100:2"
    if isinstance(value, str):
        text = value.strip()
        if not _GPU.fullmatch(text):
            raise ValueError(f"expected {expected}, not {value!r}")
        if text.isdecimal():
            return "", int(text)
        model, colon, count = text.partition(":")
        return model, int(count) if colon else 1
    number = _number(value, expected)
    if number != int(number):
        raise ValueError(f"expected {expected}, not {value!r}")
    return "", _bounded(number, 0, GPUS_MAX, f"gpu {value!r}")


def parse_usd_micros(value: Scalar) -> int:
    """`1.5`, `$1.50`. Returns micro-dollars."""
    expected = "an amount of dollars such as 1.50"
    if isinstance(value, str):
        if not _USD.fullmatch(value.strip()):
            raise ValueError(f"expected {expected}, not {value!r}")
        value = value.strip().removeprefix("$")
    return _bounded(_number(value, expected) * 1_000_000, 0, USD_MICROS_MAX, f"amount {value!r}")


def usd(micros: int) -> float:
    """Micro-dollars as dollars, for people and the wire; sums are made before, in integers."""
    return micros / 1_000_000


def usd_or_none(micros: int | None) -> float | None:
    """As `usd`; unknown stays unknown."""
    return None if micros is None else micros / 1_000_000


def seconds(ms: int) -> float:
    """Milliseconds as seconds."""
    return ms / 1000


def seconds_or_none(ms: int | None) -> float | None:
    """As `seconds`; unknown stays unknown."""
    return None if ms is None else ms / 1000
