"""What a job printed, as it is printed: bounded, plain, searchable."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from agentorch.tui.spans import Line, Span, line, plain, wrap

KEPT_LINES: Final = 20_000
# Colours and cursor movements that a program wrote for its own terminal.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class LogTail:
    """The newest lines. Text comes in pieces that may end anywhere."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.dropped = 0
        self._partial = ""

    def clear(self) -> None:
        self.lines.clear()
        self.dropped = 0
        self._partial = ""

    def feed(self, text: str) -> None:
        *whole, self._partial = (self._partial + text).split("\n")
        for raw in whole:
            if len(self.lines) == KEPT_LINES:
                self.dropped += 1
            self.lines.append(clean(raw))

    def drawn(self, width: int, *, wrapped: bool, sought: str) -> list[Line]:
        """As lines to draw; what was found is marked."""
        rows = [*self.lines, clean(self._partial)] if self._partial else list(self.lines)
        head: list[Line] = []
        if self.dropped:
            head = [line((f"{self.dropped} older lines are not shown: agentorch logs has them", "warning"))]
        if wrapped:
            rows = [part for row in rows for part in (wrap(row, width) if len(row) > width else [row])]
        return head + [marked(row, sought) for row in rows]


def clean(text: str) -> str:
    """One line without escapes; of a line that was overwritten by carriage returns, the last version."""
    text = _ESCAPES.sub("", text.rstrip("\r"))
    return plain(text.rpartition("\r")[2].expandtabs(8))


def marked(text: str, sought: str) -> Line:
    at = text.lower().find(sought.lower()) if sought else -1
    if at < 0:
        return [Span(text)] if text else []
    end = at + len(sought)
    return line(text[:at], (text[at:end], "warning chip"), text[end:])
