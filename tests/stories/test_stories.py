"""Stories: what was asked of the core and what it said, readable as a transcript.

Each `*.txt` begins with its title, then blocks: a command line, and indented below it the events that followed, or the
refusal. `AGENTORCH_ACCEPT=1 pytest tests/stories` writes the answers anew, for a person to read before they are kept.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentorch.core.explain import reason
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model.events import EVENT_NAMES, Event
from agentorch.model.jobs import Cause, Tier
from tests.core.world import World

FOLDER = Path(__file__).parent
DOLLAR = 1_000_000


def fields(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def pool(world: World, name: str, *words: str) -> None:
    given = fields(list(words))
    price = given.get("price")
    world.pool(
        name,
        workers=int(given.get("workers", 1)),
        max_workers=int(given.get("max", 8)),
        cpus=int(given.get("cpus", 1)),
        gpus=int(given.get("gpus", 0)),
        price_usd_micros_per_hour=None if price == "unknown" else int(float(price or 0) * DOLLAR),
    )


def tenant(world: World, name: str, *words: str) -> None:
    given = fields(list(words))
    cap = given.get("cap")
    world.tenant(
        name,
        weight=int(given.get("weight", 100)),
        hard_cap_usd_micros=None if cap is None else int(float(cap) * DOLLAR),
    )


def submit(world: World, owner: str, *words: str) -> None:
    given = fields(list(words))
    spec: dict[str, Any] = {}
    if "tier" in given:
        spec["tier"] = Tier(given["tier"])
    if "priority" in given:
        spec["priority"] = int(given["priority"])
    if "for" in given:
        spec["max_duration_ms"] = int(given["for"]) * 1000
    if "after" in given:
        spec["depends_on"] = (given["after"],)
    world.submit(owner, cpus=float(given.get("cpus", 1)), gpus=int(given.get("gpus", 0)), **spec)


def wait(world: World, seconds: str) -> None:
    world.tick(float(seconds))


def ends(world: World, job: str, cause: str = "completed", code: str = "0") -> None:
    world.end(job, Cause(cause), int(code) if code != "-" else None)


VERBS: dict[str, Callable[..., Any]] = {
    "pool": pool,
    "tenant": tenant,
    "submit": submit,
    "schedule": lambda world: world.schedule(),
    "runs": lambda world, job: world.running(job),
    "ends": ends,
    "wait": wait,
    "cancel": lambda world, job: world.ask(cmd.CancelJob(job=job, by="ann")),
    "hold": lambda world, job: world.ask(cmd.PatchJob(job=job, by="ann", hold=True)),
    "scale": lambda world, pool, size: world.ask(cmd.ScalePool(pool=pool, workers=int(size), by="ann")),
    "cordon": lambda world, worker: world.ask(cmd.CordonWorker(worker=worker, cordoned=True, by="ann")),
}


def said(event: Event) -> str:
    """An event in one line, without what every line would repeat."""
    body = msgspec.to_builtins(event)
    for name in ("event", "at_ms", "spec", "resources", "charge", "number", "body_sha256", "paid_until_ms", "ended_ms"):
        body.pop(name, None)
    told = " ".join(f"{key}={value}" for key, value in body.items() if value not in ("", 0, [], None, {}))
    return f"    {EVENT_NAMES[type(event)]} {told}".rstrip()


def tell(world: World, line: str) -> list[str]:
    verb, *words = shlex.split(line)
    if verb == "why":
        found = reason(world.state, world.job(words[0]), world.now_ms)
        return [f"    {found[0]}: {found[1]}" if found else f"    {world.job(words[0]).state}"]
    before = len(world.events)
    try:
        VERBS[verb](world, *words)
    except Refused as refused:
        return [f"    refused {refused.code}: {refused.message}"]
    return [said(event) for event in world.events[before:]] or ["    nothing"]


def retell(text: str) -> str:
    world = World()
    out = []
    for line in text.splitlines():
        if line.startswith("    "):
            continue
        out.append(line)
        if line and not line.startswith("#"):
            out.extend(tell(world, line))
    world.assert_sound()
    return "\n".join(out) + "\n"


@pytest.mark.parametrize("story", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    told = retell(story.read_text())
    if os.environ.get("AGENTORCH_ACCEPT") == "1":
        story.write_text(told)
    assert told == story.read_text()
