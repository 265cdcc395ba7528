"""How tests drive the screen: the recording, a frozen clock, and waiting for what was asked to be there."""

from __future__ import annotations

import asyncio
import copy
import json
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from agentorch.tui.app import AgentorchApp
from agentorch.tui.recorded import RecordedFeed

FILE = Path(__file__).parent / "data" / "recording.json"


@cache
def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return stored


def recording() -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(_stored())


def make_app(changed: dict[str, Any] | None = None, *, read_only: bool = False, **options: Any) -> AgentorchApp:
    feed = RecordedFeed(changed or recording(), read_only=read_only)
    options.setdefault("grace_s", 0.0)
    return AgentorchApp(feed, zone=UTC, **options)


async def settle(app: AgentorchApp, pilot: Pilot[Any]) -> None:
    """Until the app has nothing left to do but wait for its feed and its timers, and its picture stands still."""
    before: list[tuple[str, list[str]]] | None = None
    for _ in range(10):
        await pilot.pause()
        busy = [worker for worker in app.workers if worker.group != "feed" and not worker.is_finished]
        if busy:
            await app.workers.wait_for_complete(busy)
            continue
        now = screen_rows(app)
        if now == before:
            return
        before = now


def screen_text(app: AgentorchApp) -> list[str]:
    """What the screen shows, row by row, without trailing spaces."""
    return [row for row, _ in screen_rows(app)]


def screen_rows(app: AgentorchApp) -> list[tuple[str, list[str]]]:
    """Text and style runs of each row: `12:#d9dee5 on #11171d b` for twelve cells."""
    height = app.size.height
    lines = app.screen._compositor.render_strips()
    rows = []
    for strip in lines[:height]:
        text = "".join(segment.text for segment in strip)
        runs: list[str] = []
        for segment in strip.simplify():
            style = segment.style
            if style is None:
                runs.append(f"{segment.cell_length}:")
                continue
            names = [colour.name for colour in (style.color, style.bgcolor) if colour is not None]
            runs.append(
                f"{segment.cell_length}:{' on '.join(names)}{' b' if style.bold else ''}{' r' if style.reverse else ''}"
            )
        rows.append((text.rstrip(), runs))
    return rows


def drive(app: AgentorchApp, scenario: Any, size: tuple[int, int] = (120, 36)) -> None:
    """Run `scenario(app, pilot)` on a screen of `size` after the first paint."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            await scenario(app, pilot)

    asyncio.run(run())


async def type_keys(app: AgentorchApp, pilot: Pilot[Any], keys: str) -> None:
    """Press keys one after the other, each when the one before has had its effect."""
    for key in keys.split():
        await pilot.press(key)
        await settle(app, pilot)


def sent(app: AgentorchApp) -> list[tuple[str, dict[str, Any]]]:
    """What the recorded server was asked to change."""
    feed = app.feed
    assert isinstance(feed, RecordedFeed)
    return feed.recorded.sent
