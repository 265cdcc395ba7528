"""What every event is."""

from __future__ import annotations

import msgspec


class Recorded(msgspec.Struct, frozen=True, gc=False, tag_field="event", omit_defaults=True, kw_only=True):
    at_ms: int
