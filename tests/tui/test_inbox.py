"""Answering: friction follows risk, edits only narrow, and every answer names what was looked at."""

from __future__ import annotations

from typing import Any

from agentorch.errors import ServerRefused
from agentorch.tui.app import AgentorchApp
from agentorch.tui.screens.inbox import Inbox
from tests.tui.driving import drive, make_app, recording, screen_text, sent, settle, type_keys

HIGH, MEDIUM, LOW = "ap-3f9c", "ap-3f9d", "ap-3fa1"


def answer(proposal: str, kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    base: dict[str, Any] = {"edits": None, "reason": "", "proposal_hash": f"hash-of-{proposal}"}
    return ("answer", {"id": proposal, "answer": kind, **base, **fields})


def test_medium_risk_is_one_key() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a")
        assert sent(app) == [answer(MEDIUM, "approve")]
        assert not any(MEDIUM in proposal.id for proposal in app.feed.snapshot.approvals)  # type: ignore[union-attr]

    drive(make_app(), scenario)


def test_an_approval_in_its_grace_can_be_taken_back() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a")
        assert any("approving ap-3f9d in" in row and "undo" in row for row in screen_text(app))
        await type_keys(app, pilot, "u")
        assert any("taken back: ap-3f9d is still open" in row for row in screen_text(app))
        assert sent(app) == []

    drive(make_app(grace_s=3600.0), scenario)


def test_leaving_sends_what_was_in_its_grace() -> None:
    app = make_app(grace_s=3600.0)

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a")
        await pilot.press("q")
        await pilot.pause()

    drive(app, scenario)
    assert sent(app) == [answer(MEDIUM, "approve")]


def test_high_risk_asks_again_and_enter_alone_does_nothing() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 a")
        shown = "\n".join(screen_text(app))
        assert "Approve Scale burst-eu from 0 to 2 workers?" in shown
        assert shown.count("p95 wait 5m41s → 1m36s") >= 1
        await type_keys(app, pilot, "enter")
        assert sent(app) == []
        await type_keys(app, pilot, "a right enter")
        assert sent(app) == [answer(HIGH, "approve")]

    drive(make_app(), scenario)


def test_an_edit_is_checked_while_it_is_typed() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 e backspace 9")
        assert any("workers: 1 to 2; an edit may narrow a proposal, never widen it" in row for row in screen_text(app))
        await type_keys(app, pilot, "enter")
        assert sent(app) == [], "a wrong value must not leave the form"
        await type_keys(app, pilot, "backspace 1 enter right enter")
        assert sent(app) == [answer(HIGH, "edit", edits={"workers": 1})]

    drive(make_app(), scenario)


def test_what_has_no_fields_can_not_be_edited() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j e")
        assert any("nothing that an edit could narrow" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_a_rejection_carries_its_reason() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j r d e m o enter")
        assert sent(app) == [answer(MEDIUM, "reject", reason="demo")]

    drive(make_app(), scenario)


def test_escape_rejects_nothing() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 r x escape")
        assert sent(app) == []
        assert len(app.screen_stack) == 1

    drive(make_app(), scenario)


def test_several_marked_are_answered_together() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j space space A")
        assert any("Approve 2?" in row for row in screen_text(app))
        await type_keys(app, pilot, "right enter")
        assert [fields["id"] for _, fields in sent(app)] == [MEDIUM, LOW]
        assert any("2 approved" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_a_refusal_is_said() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        app.feed.recorded.refusal = ServerRefused(409, "changed", "the proposal changed: look again")  # type: ignore[attr-defined]
        await type_keys(app, pilot, "6 j a")
        assert any("refused: the proposal changed: look again" in row for row in screen_text(app))

    drive(make_app(), scenario)


def test_a_key_without_the_role_says_why() -> None:
    made = recording()
    made["snapshot"]["key_roles"] = ["view", "submit"]

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a")
        assert any("approve is off: this key lacks the role 'approve'" in row for row in screen_text(app))
        assert sent(app) == []

    drive(make_app(made), scenario)


def test_started_read_only_changes_nothing() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a r 2 x exclamation_mark")
        assert any("is off: started with --read-only" in row for row in screen_text(app))
        assert sent(app) == []
        assert len(app.screen_stack) == 1

    drive(make_app(read_only=True), scenario)


def test_the_list_never_reorders_under_the_cursor() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j")
        page = app.page
        assert isinstance(page, Inbox)
        snapshot = app.feed.snapshot
        assert snapshot is not None
        urgent = snapshot.approvals[2].model_copy(update={"id": "ap-new", "expires_at": snapshot.server_time + 5})
        snapshot.approvals = [urgent, *reversed(snapshot.approvals)]
        app.feed.changed()
        await settle(app, pilot)
        assert page.waiting.order == [HIGH, MEDIUM, LOW, "ap-new"]
        assert page.waiting.current_id == MEDIUM

    drive(make_app(), scenario)


def test_an_impact_that_was_not_computed_is_not_invented() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j j")
        assert any("impact: not computed yet" in row for row in screen_text(app))

    drive(make_app(), scenario)
