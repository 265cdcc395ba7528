"""Branching a recording: asked for, driven, side by side; nothing of it can be changed."""

from __future__ import annotations

from typing import Any

import pytest

from agentorch.tui.app import AgentorchApp
from agentorch.tui.branching import Asked, read_branch
from agentorch.tui.recorded import RecordedFeed
from agentorch.tui.screens.branch import Branch
from tests.tui.driving import drive, make_app, recording, screen_text, sent, type_keys
from tests.tui.test_goldens import looked_back


def looking_back(**changed: Any) -> AgentorchApp:
    made = recording() | changed
    looked_back(made)
    return make_app(made)


def shown(app: AgentorchApp) -> str:
    return "\n".join(screen_text(app))


def asked(app: AgentorchApp) -> list[dict[str, Any]]:
    feed = app.feed
    assert isinstance(feed, RecordedFeed)
    return feed.recorded.branched


def test_another_mind_is_asked_about_a_part_with_other_settings() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b tab a equals_sign 2 tab 9 tab 1 8")
        await type_keys(app, pilot, "enter")
        assert isinstance(app.page, Branch)
        first = asked(app)[0]
        assert {"brain": "rules", "set": {"a": "2"}, "from": 9, "to": 18}.items() <= first.items()
        assert len(asked(app)) == 2, "it is asked again until it is done"
        assert app.page.command() == "agentorch replay FILE --brain rules --set a=2 --from '#9' --to '#18'"
        assert sent(app) == []

    drive(looking_back(), scenario)


def test_differences_are_gone_through_and_looked_at() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b enter")
        page = app.page
        assert isinstance(page, Branch)
        assert "8 alike" in shown(app) and "both hold 4 times, until" in shown(app) and "6 otherwise" in shown(app)
        assert page._seq == 17_935, "the first difference is marked"
        await type_keys(app, pilot, "n n")
        assert page._seq == 18_090
        await type_keys(app, pilot, "N")
        assert page._seq == 17_997
        await type_keys(app, pilot, "n n n n n")
        assert "there is no next difference" in shown(app)
        await type_keys(app, pilot, "d")
        assert "Place nothing new on h100-train-2" not in shown(app)
        await type_keys(app, pilot, "v")
        assert "Jobs that run" in shown(app)

    drive(looking_back(), scenario)


def test_a_decision_is_looked_at_as_of_its_moment() -> None:
    made = recording()
    past = made["snapshot"] | {"read_only": True, "seq": 100}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b tab a equals_sign 2 enter o")
        assert app.feed.at == 17_935
        assert not isinstance(app.page, Branch)
        await type_keys(app, pilot, "b")
        assert "a=2" in shown(app), "who comes back finds what was asked before"

    drive(looking_back(at={"100": past}), scenario)


def test_why_it_failed_is_said() -> None:
    failed = {"state": "failed", "problem": "gpt-oss-120b does not answer at http://127.0.0.1:9"}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b enter")
        assert "gpt-oss-120b does not answer" in shown(app)

    drive(looking_back(branches=[failed]), scenario)


def test_a_server_without_it_says_so() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b enter")
        assert "the recording has no branch" in shown(app)

    drive(looking_back(branches=[]), scenario)


def test_a_live_server_is_not_branched() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 b")
        assert "this is a live server" in shown(app)
        assert len(app.screen_stack) == 1

    drive(make_app(), scenario)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (("rules", "", "", ""), Asked()),
        ((" recorded ", "a=1 b.c=2m", "", "5"), Asked("recorded", {"a": "1", "b.c": "2m"}, None, 5)),
        (("", "", "", ""), "brain: name one"),
        (("rules", "a", "", ""), "set: 'a' is not KEY=VALUE"),
        (("rules", "a=", "", ""), "set: 'a=' is not KEY=VALUE"),
        (("rules", "", "0", ""), "from: a sequence number, 1 to 100"),
        (("rules", "", "", "101"), "to: a sequence number, 1 to 100"),
        (("rules", "", "7", "5"), "from: must not be after to"),
        (("rules", "", "x", ""), "from: a sequence number, 1 to 100"),
    ],
)
def test_what_is_typed_is_read(typed: tuple[str, str, str, str], found: Asked | str) -> None:
    read, wrong = read_branch(*typed, 100)
    if isinstance(found, Asked):
        assert (read, wrong) == (found, [])
    else:
        assert found in wrong[0]
