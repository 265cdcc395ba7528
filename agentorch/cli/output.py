"""How documents are printed: a table for people, JSON for programs. Narration goes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel

Format = Literal["table", "json", "jsonl"]
Row = TypeVar("Row")

#: Word -> ANSI colour; shape and word carry the meaning, colour only helps.
_COLOURS: Final = {
    **dict.fromkeys(("running", "succeeded", "ok", "up", "done", "allowed", "approved"), "32"),
    **dict.fromkeys(("failed", "FAILED", "denied", "down", "high"), "31"),
    **dict.fromkeys(("queued", "held", "starting", "stopping", "open", "ask", "paused", "warning", "medium"), "33"),
}


def note(text: str) -> None:
    """One line of narration."""
    print(text, file=sys.stderr, flush=True)


def safe(text: str) -> str:
    """Without control characters: a name or a reason must not drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


class Printer:
    """Prints to stdout in one of three formats."""

    def __init__(self, form: Format) -> None:
        self.form = form
        # NO_COLOR is the one variable that is no setting of ours: https://no-color.org
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def rows(self, items: Sequence[Row], columns: Sequence[tuple[str, Callable[[Row], Any]]]) -> None:
        """A list of documents; `columns` are header and cell for the table."""
        if self.form == "json":
            print(json.dumps([plain(item) for item in items], indent=2))
        elif self.form == "jsonl":
            for item in items:
                print(json.dumps(plain(item)), flush=True)
        elif items:
            self._table([name for name, _ in columns], [[cell(value(item)) for _, value in columns] for item in items])
        else:
            note("nothing")

    def one(self, item: Any, lines: Sequence[tuple[str, Any]]) -> None:
        """A single document; `lines` are name and value for people. Empty values are left out."""
        if self.form != "table":
            print(json.dumps(plain(item), indent=2 if self.form == "json" else None))
            return
        width = max((len(name) for name, _ in lines), default=0)
        for name, value in lines:
            text = cell(value)
            if text != "":
                print(f"{name:<{width}}  {self._painted(text)}")

    def _table(self, header: list[str], body: list[list[str]]) -> None:
        widths = [max(len(row[index]) for row in [header, *body]) for index in range(len(header))]
        print("  ".join(name.upper().ljust(width) for name, width in zip(header, widths, strict=True)).rstrip())
        for row in body:
            cells = [self._painted(text) + " " * (width - len(text)) for text, width in zip(row, widths, strict=True)]
            print("  ".join(cells).rstrip())

    def _painted(self, text: str) -> str:
        colour = _COLOURS.get(text)
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour else text


def plain(item: Any) -> Any:
    return item.model_dump(mode="json") if isinstance(item, BaseModel) else item


def cell(value: Any) -> str:
    """A value as one line of text; None and empty are nothing, for unknown say so where it is known to be."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(cell(one) for one in value)
        case dict():
            return ", ".join(f"{key}={cell(one)}" for key, one in value.items())
        case _:
            return safe(str(value))


def span(seconds: float | None) -> str:
    """251.4 -> `4m11s`; None -> `?`."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def foretold(middle_s: float | None, most_s: float | None, unknown: str = "unknown") -> str:
    """A forecast: `about 2m03s, 90 %: 5m10s`."""
    if middle_s is None:
        return unknown
    return f"about {span(middle_s)}" + ("" if most_s is None else f", 90 %: {span(most_s)}")


def when(at: float | None) -> str:
    """Seconds since the epoch in the reader's zone; today's without the date."""
    if at is None:
        return ""
    moment = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def dollars(amount: float | None) -> str:
    """None is unknown, never zero."""
    if amount is None:
        return "unknown"
    return f"${amount:.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.4f}"


def size(count: int) -> str:
    """Bytes for people; 0 is no limit."""
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= scale:
            return f"{count / scale:.4g}{unit}"
    return f"{count}B" if count else ""
