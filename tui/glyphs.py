"""Every sign the terminal UI draws, each one cell wide and never shown as an emoji; a word always stands beside it.

`--ascii` maps them one to one (`to_ascii`), so that no layout changes; the sparkline levels and braille dots are mapped
by how full they are.
"""

from __future__ import annotations

BRAND = "◆"
LIVE = "●"
LOST = "○"
PAST = "◷"
AGENT = "◈"
HUMAN = "◉"
GUARD = "▣"
SYSTEM = "▣"
EXPIRY = "◷"
RUNNING = "●"
QUEUED = "◌"
HELD = "■"
FAILED = "✗"
DONE = "✓"
STOPPING = "◍"
CANCELLED = "⊘"
IDLE = "○"
HIGH = "▲"
MEDIUM = "◆"
LOW = "▽"
ASK = "►"
HOLD = "·"
UP = "▴"
DOWN = "▾"
ARROW = "→"
DOT = "·"
BADGE = "●"
MARK = "▮"
SEPARATOR = "│"
CRUMB = "›"
DASH = "–"
DIFFERS = "≠"
CURSOR = "▌"
PLAY = "▸"
PAUSE = "‖"

BAR = "━"
HALF_BAR = "╸"
TRACK = "─"
LEVELS = "▁▂▃▄▅▆▇"
AXIS = "│"
TICK = "┤"
GOAL = "╌"
NOW = "┊"

RISKS = {"high": (HIGH, "error"), "medium": (MEDIUM, "warning"), "low": (LOW, "primary")}
ACTORS = {"agent": (AGENT, "agent"), "human": (HUMAN, "human"), "guard": (GUARD, "guard"), "system": (SYSTEM, "guard")}
STATES = {
    "queued": (QUEUED, ""),
    "held": (HELD, "warning"),
    "starting": (RUNNING, "success muted"),
    "running": (RUNNING, "success"),
    "stopping": (STOPPING, "warning"),
    "succeeded": (DONE, "dim"),
    "failed": (FAILED, "error"),
    "cancelled": (CANCELLED, "dim"),
}
OUTCOMES = {
    "ok": (DONE, "success"),
    "denied": (HELD, "guard"),
    "failed": (FAILED, "error"),
    "expired": (EXPIRY, "warning"),
    "pending": (QUEUED, "dim"),
    "hold": (HOLD, "dim"),
    "info": (HOLD, "dim"),
}

_ASCII = {
    **dict.fromkeys("●◉", "*"),
    **dict.fromkeys("○◌", "o"),
    "◆": "+",
    "▲": "!",
    "◈": "A",
    "◉": "H",
    "▣": "G",
    "◷": "@",
    "■": "#",
    "✗": "x",
    "✓": "v",
    "◍": "%",
    "⊘": "/",
    "▽": "-",
    "►": ">",
    "·": ".",
    "▴": "^",
    "▾": "v",
    "→": ">",
    "▮": "#",
    "│": "|",
    "›": ">",
    "–": "-",
    "≠": "!",
    "▌": ">",
    "▸": ">",
    "‖": "=",
    "━": "=",
    "╸": "-",
    "─": "-",
    "┤": "+",
    "╌": "-",
    "┊": ":",
    "×": "x",
    "…": "~",
    "≤": "<",
    "≥": ">",
    "±": "~",
    "°": "'",
    "“": '"',
    "”": '"',
    "’": "'",
    **dict(zip(LEVELS, "_.-=+*#", strict=True)),
}
_TABLE = {ord(sign): plain for sign, plain in _ASCII.items()}


def to_ascii(text: str) -> str:
    """The same number of cells in ASCII; a character without a counterpart becomes `?` (two where it is wide)."""
    if text.isascii():
        return text
    from rich.cells import cell_len

    mapped = text.translate(_TABLE)
    if mapped.isascii():
        return mapped
    return "".join(char if char.isascii() else _dots(char) or "?" * cell_len(char) for char in mapped)


def _dots(char: str) -> str:
    """A braille cell by where its dots are: above `'`, below `.`, both `:`."""
    pattern = ord(char) - 0x2800
    if not 0 <= pattern <= 0xFF:
        return ""
    above, below = pattern & 0b00011011, pattern & 0b11100100
    return ":" if above and below else "'" if above else "." if below else " "
