"""Pictures of the main screens as SVG, from the recording: `python -m tests.tui.shots docs/pictures`."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from agentorch.tui.app import AgentorchApp
from tests.tui.driving import make_app, recording, settle

NAMES = {".": "full_stop", "-": "minus", "_": "underscore", "=": "equals_sign"}
SET = [NAMES.get(char, char) for char in "pools.burst-eu.max_workers=8"]
#       name, columns, rows, theme, keys pressed
SHOTS: tuple[tuple[str, int, int, str, str], ...] = (
    ("dashboard", 120, 36, "night", ""),
    ("dashboard-wide", 200, 60, "night", ""),
    ("dashboard-80", 80, 24, "night", ""),
    ("jobs", 150, 40, "night", "2"),
    ("jobs-80", 80, 24, "night", "2"),
    ("job", 150, 44, "night", "2 down enter"),
    ("pools", 150, 40, "night", "3"),
    ("costs", 120, 36, "night", "5"),
    ("inbox", 120, 40, "night", "6"),
    ("inbox-80", 80, 24, "night", "6"),
    ("inbox-day", 150, 44, "day", "6"),
    ("inbox-colour-blind", 150, 44, "colour-blind", "6"),
    ("edit", 120, 36, "night", "6 e"),
    ("approve-high", 120, 36, "night", "6 a"),
    ("reject", 100, 30, "night", "6 r"),
    ("what-if", 150, 36, "night", "6 w enter"),
    ("what-if-wide", 160, 40, "night", "6 w enter"),
    ("what-if-80", 80, 24, "night", "6 w enter plus"),
    ("what-if-ask", 100, 30, "night", "6 w"),
    ("log", 120, 30, "night", "7"),
    ("decision", 120, 40, "night", "7 enter"),
    ("replay", 120, 36, "night", "8"),
    ("branch-ask", 120, 36, "night", "8 b"),
    ("branch", 150, 44, "night", f"8 b tab {' '.join(SET)} enter"),
    ("branch-mid", 120, 36, "night", "8 b enter n"),
    ("branch-80", 80, 24, "night", "8 b enter d"),
    ("branch-wide", 200, 60, "night", "8 b enter"),
    ("branch-day", 120, 36, "day", "8 b enter n"),
    ("branch-help", 120, 40, "night", "8 b enter question_mark"),
    ("decision-80", 80, 24, "night", "7 enter"),
    ("log-80", 80, 24, "night", "7"),
    ("palette", 120, 36, "night", "2 ctrl+p"),
    ("help", 120, 40, "night", "6 question_mark"),
)


def readable(svg: str) -> str:
    """The exporter's picture as any reader's renderer can show it."""
    # Fonts that a reader has; the exporter names one that it would load from the net.
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)
    svg = re.sub(
        r"font-family: (Fira Code|arial)[^;]*;", "font-family: JetBrains Mono, DejaVu Sans Mono, monospace;", svg
    )
    # Some renderers drop spaces at the ends of a text otherwise.
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


async def take(folder: Path, name: str, size: tuple[int, int], theme: str, keys: str, **options: Any) -> None:
    made = recording()
    if keys.startswith("8"):  # only a ledger file is looked back at
        made["snapshot"] |= {"read_only": True, "seq": 18_245}
    app: AgentorchApp = make_app(made, theme_name=theme, **options)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        for key in keys.split():
            await pilot.press(key)
            await settle(app, pilot)
        svg = app.export_screenshot(title=f"agentorch {size[0]}x{size[1]}")
    (folder / f"{name}.svg").write_text(readable(svg), "utf-8")


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns, rows, theme, keys in SHOTS:
        if not wanted or name in wanted:
            asyncio.run(take(folder, name, (columns, rows), theme, keys))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
