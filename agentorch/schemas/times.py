"""Points in time as people type them: ISO-8601 with a zone, `+2h` from now, or seconds since the epoch."""

from __future__ import annotations

import math
import re
from datetime import datetime

from agentorch.model.units import parse_duration_ms

_ISO = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d)?)(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: The end of the year 9999, the last that ISO-8601 and `datetime` can say.
LATEST_MS = 253_402_300_799_000


def parse_time_ms(value: str | int | float, now_ms: int) -> int:
    """Returns milliseconds since the epoch. Raises ValueError with what was expected.

    A time without a zone is refused: the server's zone is not the caller's.
    """
    expected = "a time such as 2031-05-01T12:00:00Z, +2h, or seconds since the epoch"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected {expected}, not {value!r}")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("+"):
            return now_ms + parse_duration_ms(text[1:])
        found = _ISO.fullmatch(text)
        if found is None:
            if _ISO.fullmatch(text + "Z"):
                raise ValueError(f"{value!r} has no time zone: add Z or an offset such as +02:00")
            raise ValueError(f"expected {expected}, not {value!r}")
        try:
            moment = datetime.fromisoformat(found[1].upper() + (found[2] or "")[:7] + found[3].upper())
        except ValueError as error:
            raise ValueError(f"expected {expected}, not {value!r}: {error}") from error
        number = max(0.0, moment.timestamp())  # before the epoch is as long over as the epoch itself
    else:
        number = float(value)
    if not math.isfinite(number) or not 0 <= number * 1000 <= LATEST_MS:
        raise ValueError(f"expected {expected}, not {value!r}")
    return round(number * 1000)
