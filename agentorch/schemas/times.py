"""Points in time as people type them: ISO-8601 with a zone, `+2h` from now, or seconds since the epoch."""

from __future__ import annotations

import math
import re
from datetime import datetime

from agentorch.model.units import parse_duration_ms

#: What `parse_time_ms` reads of ISO-8601: an offset or Z is required.
ISO_PATTERN = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)"
_ISO = re.compile(ISO_PATTERN, re.ASCII)
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
        if not _ISO.fullmatch(text):
            if _ISO.fullmatch(text + "Z"):
                raise ValueError(f"{value!r} has no time zone: add Z or an offset such as +02:00")
            raise ValueError(f"expected {expected}, not {value!r}")
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"expected {expected}, not {value!r}") from error
        number = moment.timestamp()
    else:
        number = float(value)
    if not math.isfinite(number) or not 0 <= number * 1000 <= LATEST_MS:
        raise ValueError(f"expected {expected}, not {value!r}")
    return round(number * 1000)
