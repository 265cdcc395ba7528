"""Answers with parts replaced by anything: never an exception, never an action that was not a good call."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from typing import Any

from agentorch.graphs.llm.brain import llm_brain
from agentorch.tools.reports import checked_report
from tests.graphs.port import MemoryPort
from tests.llm.asking import context, settings
from tests.llm.server import Answer, answering, call, completion

ANSWERS = 400
GOOD = {"pool": "gpu", "workers": 3, "reason": "waits are long"}
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "\ud800\x00",
    [],
    [[]],
    {},
    {"a": None},
    [None],
    "call-1",
    GOOD,
]


def mutated(value: Any, rng: random.Random) -> Any:
    """`value` with one part of it replaced, repeated or left out."""
    root = [copy.deepcopy(value)]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for container, key in places:
        inside = container[key]
        if isinstance(inside, dict | list):
            places.extend((inside, at) for at in (inside if isinstance(inside, dict) else range(len(inside))))
    container, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.2 and isinstance(container, dict):
        del container[key]
    elif kind < 0.3 and isinstance(container, list):
        container.extend([container[key]] * rng.choice([1, 100]))
    else:
        container[key] = rng.choice(ODD)
    return root[0] if root else None


def damaged(body: Any, rng: random.Random) -> bytes:
    """Its bytes, at times with some of them changed or missing."""
    content = bytearray(json.dumps(body).encode())
    if rng.random() < 0.2 and content:
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.1 and content else content)


def test_nothing_that_a_server_says_raises_or_acts_by_itself() -> None:
    rng = random.Random(1)
    good = completion(call("propose_scale", GOOD), call("read_observation", {"section": "pools"}, "call-2"))

    def answer(_: dict[str, Any]) -> Answer:
        body: Any = good
        for _ in range(rng.choice([1, 1, 2, 5])):
            body = mutated(body, rng)
        return Answer(damaged(body, rng), status=rng.choice([200] * 9 + [201]))

    async def scenario() -> tuple[int, int]:
        port = MemoryPort()
        errors = proposed = 0
        async with answering(answer) as server:
            brain = llm_brain(settings(server, max_rounds=2))
            for _ in range(ANSWERS):
                report = await brain.decide(await port.observe(), context(port))
                assert checked_report(report, report.brain).error == report.error
                assert report.error.isprintable()
                assert not (report.error and report.drafts)
                for draft in report.drafts:
                    assert draft.action["kind"] == "scale"
                    assert draft.action["workers"] in (0, 3)
                errors += bool(report.error)
                proposed += bool(report.drafts)
        return errors, proposed

    errors, proposed = asyncio.run(scenario())
    assert errors > ANSWERS / 4
    assert proposed > 0, "some damage does no harm"
