"""What all wire models share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 7.0 is an integer too, as JSON Schema says."""
    return int(value) if type(value) is float and value.is_integer() else value


#: Marks an integer that comes in, after its bounds. Strict as everything here: no text, no booleans.
INTEGRAL = BeforeValidator(_whole)


class Request(BaseModel):
    """Comes in: unknown fields are refused by name, so that a typing mistake is never silently ignored.

    Strict: `"5"` and `true` are not numbers, and NaN is none either. Frozen: a default that can be hashed is shared,
    and not copied for every request.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Document(BaseModel):
    """Goes out. Clients ignore fields they do not know, so fields can be added."""

    model_config = ConfigDict(extra="ignore")


class Page(Document):
    """A page of a list. `next` is the cursor of the following page, None on the last; `total` is exact."""

    next: str | None = None
    total: int


class Problem(BaseModel):
    """RFC 9457 problem document. `code` is stable; `retry_after` (seconds) where trying again helps."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retry_after: float | None = None
