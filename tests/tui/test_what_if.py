"""Asking the twin: an answer is a card, and nothing is ever proposed or changed."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.tui.app import AgentorchApp
from agentorch.tui.screens.what_if import WhatIf, command_of, read_workers
from tests.tui.driving import drive, make_app, screen_text, sent, type_keys


def shown(app: AgentorchApp) -> str:
    return "\n".join(screen_text(app))


def test_from_the_inbox_another_number_of_workers_is_asked_about() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 w")
        assert "What if burst-eu had this many workers?" in shown(app)
        await type_keys(app, pilot, "backspace 1 enter")
        assert "What if: grow burst-eu from 0 to 1 workers?" in shown(app)
        assert "p95 wait 5m41s → 1m36s" in shown(app)
        await type_keys(app, pilot, "plus plus")
        assert "What if: grow burst-eu from 0 to 3 workers?" in shown(app)
        assert "guardrails would deny it" in shown(app)
        assert sent(app) == []
        await type_keys(app, pilot, "escape")
        assert not isinstance(app.page, WhatIf)

    drive(make_app(), scenario)


def test_a_number_that_is_none_is_not_asked_about() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 w backspace x")
        assert "a whole number of workers, 0 or more" in shown(app)
        await type_keys(app, pilot, "enter")
        assert len(app.screen_stack) == 2, "it must not leave the form"

    drive(make_app(), scenario)


def test_from_the_fleet_a_pool_and_a_worker_are_asked_about() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        page_keys = "3 " + " ".join(["down"] * 6)
        await type_keys(app, pilot, page_keys + " w")
        assert "Place nothing new on a10-serve-0" in shown(app) or "place nothing new on a10-serve-0" in shown(app)
        assert "guardrails would ask a person" in shown(app)
        assert "in the noise: p95 wait 9s → 11s" in shown(app)
        await type_keys(app, pilot, "plus")
        assert "only a number of workers can be one more or one fewer" in shown(app)
        assert sent(app) == []

    drive(make_app(), scenario)


def test_where_the_twin_does_not_answer_it_says_why() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "3 w 9 enter")
        assert "the twin did not answer: the recording has no answer about" in shown(app)

    drive(make_app(), scenario)


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ({"kind": "scale", "pool": "gpu", "workers": 6}, "agentorch what-if scale gpu 6"),
        ({"kind": "uncordon", "worker": "gpu-1"}, "agentorch what-if uncordon gpu-1"),
        ({"kind": "reroute", "job": "job-1", "pool": "cpu"}, "agentorch what-if reroute job-1 cpu"),
        ({"kind": "reschedule", "job": "job-1", "change": "preempt"}, "agentorch what-if preempt job-1"),
        (
            {"kind": "reschedule", "job": "job-1", "change": "priority", "priority": 9},
            "agentorch what-if priority job-1 9",
        ),
        ({"kind": "reschedule", "job": "job-1", "change": "start_at", "start_ms": 9}, ""),
        ({"kind": "alert", "text": "x"}, ""),
    ],
)
def test_the_same_on_the_command_line(action: dict[str, Any], command: str) -> None:
    assert command_of(action) == command


@pytest.mark.parametrize(
    ("text", "workers"), [(" 4 ", 4), ("0", 0), ("", None), ("-1", None), ("4.5", None), ("٣", None)]
)
def test_workers_are_read(text: str, workers: int | None) -> None:
    found, wrong = read_workers(text)
    assert (found, bool(wrong)) == (workers, workers is None)
