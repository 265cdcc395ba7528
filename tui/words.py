"""Numbers, times and money in words: always with their unit, never longer than needed, unknown said as unknown."""

from __future__ import annotations

from datetime import datetime, tzinfo

UNKNOWN = "–"


def clock(at: float | None, zone: tzinfo | None, *, seconds: bool = True) -> str:
    """`14:52:41` in `zone` (None: the machine's own)."""
    if at is None:
        return UNKNOWN
    return datetime.fromtimestamp(at, zone).strftime("%H:%M:%S" if seconds else "%H:%M")


def moment(at: float | None, now: float, zone: tzinfo | None) -> str:
    """The time of day, with its date when that is not today."""
    if at is None:
        return UNKNOWN
    when, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    return when.strftime("%H:%M:%S" if when.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def countdown(seconds: float) -> str:
    """`0:47`, `14:02`, `3h05m`; never negative."""
    whole = max(0, int(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}:{whole % 60:02d}"


def duration(seconds: float | None) -> str:
    """`12s`, `4m12s`, `3h05m`, `2d04h`; under ten seconds with one decimal, unless it is whole."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if 0 < seconds < 9.95 and round(seconds, 1) % 1:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def usd(amount: float | None) -> str:
    """`$0.53`, `$510`, `$12.4k`; small amounts keep the digits that make them not zero."""
    if amount is None:
        return UNKNOWN
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    if amount >= 10_000:
        return f"{sign}${amount / 1000:.1f}k"
    if amount >= 100:
        return f"{sign}${amount:.0f}"
    if amount >= 0.01 or amount == 0:
        return f"{sign}${amount:.2f}"
    return f"{sign}${amount:.4f}"


def rate(usd_per_hour: float | None) -> str:
    return UNKNOWN if usd_per_hour is None else f"{usd(usd_per_hour)}/h"


def percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}%"


def count(number: int) -> str:
    """Groups of three, so that ten thousand and a million do not look alike: `4 812 334`."""
    return f"{number:,}".replace(",", " ")


def size(octets: int | None) -> str:
    """`512 MB`, `24 GB`: powers of 1000, as memory is written in a job."""
    if octets is None:
        return UNKNOWN
    amount = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number(value: float) -> str:
    """A number without needless decimals: `4`, `0.5`, `31.2`."""
    return f"{value:.1f}".removesuffix(".0")


def plural(amount: int, one: str, many: str = "") -> str:
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def cut(shown: int, total: int, what: str) -> str:
    """Announces what is not shown: `100 of 4 812 334 jobs`; no more than `12 jobs` when all are."""
    return f"{count(shown)} of {count(total)} {what}s" if shown < total else plural(total, what)
