"""Each screen as text at three sizes, and a digest of its colours and weights.

Rewritten by `pytest tests/tui --accept-goldens` (or AGENTORCH_ACCEPT=1): read the difference before you accept it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from agentorch.tui.app import AgentorchApp
from tests.tui.driving import drive, make_app, recording, screen_rows, type_keys

GOLDENS = Path(__file__).parent / "goldens"
SIZES = ((80, 24), (120, 36), (200, 60))

#        name, keys pressed from the dashboard
SCREENS = (
    ("dashboard", ""),
    ("jobs", "2"),
    ("jobs-filter", "2 slash s t a t e colon"),
    ("job", "2 down enter"),
    ("pools", "3"),
    ("worker", "3 down"),
    ("routes", "4"),
    ("costs", "5"),
    ("inbox", "6"),
    ("inbox-decided", "6 end"),
    ("edit", "6 e"),
    ("approve-high", "6 a"),
    ("reject", "6 j r"),
    ("what-if", "6 w enter"),
    ("what-if-ask", "6 w"),
    ("log", "7"),
    ("decision", "7 enter"),
    ("replay-live", "8"),
    ("palette", "2 ctrl+p"),
    ("help", "6 question_mark"),
    ("pause", "exclamation_mark"),
)


def empty_world(made: dict[str, Any]) -> None:
    """A server that was started a second ago."""
    snapshot = made["snapshot"]
    for name in ("approvals", "decided", "log", "recent_jobs", "devices"):
        snapshot[name] = []
    snapshot |= {"queued": 0, "running": 0, "wait_s_p95": 0.0, "history": {}, "truncated": {}, "spent_usd": 0.0}
    made["jobs"] = []


def read_only(made: dict[str, Any]) -> None:
    made["snapshot"]["key_roles"] = ["view"]


def looked_back(made: dict[str, Any]) -> None:
    made["snapshot"] |= {"read_only": True, "seq": 18_245}


WIDE = ("dashboard", "jobs", "job", "pools", "costs", "inbox", "what-if", "log", "decision", "replay-live")
CASES = [
    pytest.param(name, keys, size, id=f"{name}-{size[0]}x{size[1]}")
    for name, keys in SCREENS
    for size in SIZES
    if size != SIZES[2] or name in WIDE
]

#           name, what differs from the recording, keys
VARIANTS = (
    ("empty-dashboard", empty_world, ""),
    ("empty-jobs", empty_world, "2"),
    ("empty-inbox", empty_world, "6"),
    ("viewer-inbox", read_only, "6"),
    ("replay", looked_back, "8"),
    ("branch", looked_back, "8 b enter"),
    ("branch-ask", looked_back, "8 b"),
)
VARIANT_CASES = [
    pytest.param(name, change, keys, size, id=f"{name}-{size[0]}x{size[1]}")
    for name, change, keys in VARIANTS
    for size in SIZES
    if size != SIZES[2] or name == "branch"
]


def check(app: AgentorchApp, name: str, accept: bool) -> None:
    """Compare with the stored picture; the digest comes last, so that a difference in text is seen first."""
    width, height = app.size
    rows = screen_rows(app)
    digest = hashlib.sha256(json.dumps([runs for _, runs in rows]).encode()).hexdigest()[:16]
    text = "\n".join([*(row for row, _ in rows), f"-- styles {digest}", ""])
    file = GOLDENS / f"{name}.{width}x{height}.txt"
    if accept:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    stored = file.read_text("utf-8") if file.exists() else "there is no golden yet: run with --accept-goldens"
    assert text.splitlines() == stored.splitlines()


@pytest.mark.parametrize(("name", "keys", "size"), CASES)
def test_screen(name: str, keys: str, size: tuple[int, int], accept: bool) -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, keys)
        check(app, name, accept)

    drive(make_app(), scenario, size)


@pytest.mark.parametrize(("name", "change", "keys", "size"), VARIANT_CASES)
def test_states_look_different(name: str, change: Any, keys: str, size: tuple[int, int], accept: bool) -> None:
    made = recording()
    change(made)

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, keys)
        check(app, name, accept)

    drive(make_app(made), scenario, size)


@pytest.mark.parametrize("theme", ["day", "colour-blind", "ansi"])
def test_themes(theme: str, accept: bool) -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6")
        check(app, f"inbox-{theme}", accept)

    drive(make_app(theme_name=theme), scenario, (120, 36))


ASCII = (("dashboard", ""), ("inbox", "6"), ("jobs", "2"), ("reject", "6 r"), ("what-if", "6 w enter"))


@pytest.mark.parametrize(("name", "keys"), [*ASCII, ("branch", "8 b enter")])
def test_ascii_has_nothing_else(name: str, keys: str, accept: bool) -> None:
    made = recording()
    if name == "branch":
        looked_back(made)

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, keys)
        foreign = {char for row, _ in screen_rows(app) for char in row if not char.isascii()}
        assert foreign == set()
        check(app, f"ascii-{name}", accept)

    drive(make_app(made, ascii_only=True), scenario, (120, 36))
