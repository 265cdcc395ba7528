"""The frame and the global keys, the smaller screens, and what happens when the server goes away."""

from __future__ import annotations

from typing import Any

from agentorch.tui.actions import SCREENS
from agentorch.tui.app import AgentorchApp
from agentorch.tui.recorded import RecordedFeed
from agentorch.tui.screens.pools import Pools
from tests.tui.driving import drive, make_app, recording, screen_rows, screen_text, sent, settle, type_keys


def shown(app: AgentorchApp) -> str:
    return "\n".join(screen_text(app))


def test_numbers_go_to_screens_and_the_navigation_lights_up() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        for number, (name, _, _) in enumerate(SCREENS, 1):
            await type_keys(app, pilot, str(number))
            assert app.page is not None
            assert app.page.screen_id == name

    drive(make_app(), scenario)


def test_the_navigation_works_with_the_mouse() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        column = screen_text(app)[1].index("5 Costs")
        await pilot.click("#navigation", offset=(column + 3, 0))
        await settle(app, pilot)
        assert app.page is not None
        assert app.page.screen_id == "costs"

    drive(make_app(), scenario)


def test_the_badge_survives_every_width() -> None:
    for width in (40, 60, 80, 120, 250):

        async def scenario(app: AgentorchApp, pilot: Any) -> None:
            assert "3 to approve" in screen_text(app)[0]
            assert screen_text(app)[0].endswith("0:47")

        drive(make_app(), scenario, (width, 24))


def test_a_lost_server_dims_the_body_and_turns_actions_off() -> None:
    app = make_app()
    assert isinstance(app.feed, RecordedFeed)
    api = app.feed.recorded

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6")
        bright = screen_rows(app)[10][1]
        api.gone = "nothing listens there"
        api.feed_events.put_nowait(None)
        while app.feed.link.state != "lost":
            await pilot.pause()
        await settle(app, pilot)
        assert "server lost 0s ago" in screen_text(app)[2]
        assert "showing the state of 14:52:40 · actions are off · retry " in screen_text(app)[2]
        assert "reconnecting" in screen_text(app)[0]
        assert screen_rows(app)[11][1] != bright, "the body is dimmed"
        await type_keys(app, pilot, "j a")
        assert "approve is off: the server is lost" in shown(app)
        assert sent(app) == []
        api.gone = ""
        await type_keys(app, pilot, "ctrl+r")
        while app.feed.link.state != "live":
            await pilot.pause()
        await settle(app, pilot)
        assert "server lost" not in shown(app)
        await type_keys(app, pilot, "a")
        assert len(sent(app)) == 1

    drive(app, scenario)


def test_a_server_that_never_answered_is_waited_for() -> None:
    app = make_app()
    assert isinstance(app.feed, RecordedFeed)
    app.feed.recorded.gone = "connection refused"

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        while not app.feed.link.tries:
            await pilot.pause()
        assert "no answer for" in shown(app)
        assert "waiting for the server" in shown(app)
        for key in "2345678":
            await type_keys(app, pilot, key)
        assert app.is_running

    drive(app, scenario)


def test_the_palette_finds_and_performs() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "ctrl+p s p e n d enter")
        assert app.page is not None
        assert app.page.screen_id == "costs"

    drive(make_app(), scenario)


def test_the_palette_says_why_something_is_off() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "2 ctrl+p c a n c e l")
        assert "off: started with --read-only" in shown(app)

    drive(make_app(read_only=True), scenario)


def test_jumping_by_name() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "colon a p minus 3 f a 1 enter")
        assert app.page is not None
        assert app.page.screen_id == "inbox"
        assert "ap-3fa1 · cordon" in shown(app)
        await type_keys(app, pilot, "colon l 4 minus b a t c h minus 0 enter")
        assert isinstance(app.page, Pools)
        assert app.page.table.current is not None
        assert app.page.table.current.key == "worker:l4-batch-0"

    drive(make_app(), scenario)


def test_help_is_of_this_screen() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "5 question_mark")
        assert "change the tenant's hard cap" in shown(app)
        assert "agentorch budgets" in shown(app)
        await type_keys(app, pilot, "question_mark")
        assert len(app.screen_stack) == 1

    drive(make_app(), scenario)


def test_pausing_and_letting_go_on() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "exclamation_mark enter")
        assert sent(app) == [("set_mode", {"mode": "paused", "reason": ""})]
        while "PAUSED" not in screen_text(app)[0]:
            await pilot.pause()
        await type_keys(app, pilot, "exclamation_mark enter")
        assert len(sent(app)) == 1, "staying paused is preselected"
        await type_keys(app, pilot, "exclamation_mark right enter")
        assert sent(app)[-1] == ("set_mode", {"mode": "observe", "reason": ""})

    drive(make_app(), scenario)


def test_a_cap_is_changed_by_one_who_may() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "5 e x enter")
        assert "an amount in dollars" in shown(app)
        await type_keys(app, pilot, "backspace 5 enter")
        assert sent(app) == [("set_budget", {"tenant": "search", "hard_cap_usd": 4005.0})]

    drive(make_app(), scenario)


def test_cordon_acts_on_a_worker_with_a_reason() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "3 d")
        assert "cordon acts on a worker" in shown(app)
        await type_keys(app, pilot, "down d e c c enter")
        assert sent(app) == [("cordon", {"worker": "h100-train-0", "cordoned": True, "reason": "ecc"})]

    drive(make_app(), scenario)


def test_a_pool_folds() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "3 space")
        assert "h100-train-0 " not in shown(app).split("Devices")[0]
        assert "a10-serve-0" in shown(app)

    drive(make_app(), scenario)


def test_the_log_opens_a_decision_and_its_json() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "7 enter")
        assert "What the brain saw" in shown(app)
        await type_keys(app, pilot, "J")
        assert '"cycle": 941,' in shown(app)
        await type_keys(app, pilot, "escape s s")
        assert "only human" in shown(app)
        assert "fallback" not in shown(app)

    drive(make_app(), scenario)


def test_the_log_announces_what_it_does_not_show() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "7")
        assert "14 of 5 812 lines" in shown(app)

    drive(make_app(), scenario)


def test_replay_steps_through_a_recording() -> None:
    made = recording()
    made["snapshot"]["read_only"] = True
    made["at"] = {"1": dict(made["snapshot"], seq=1, queued=0), "18000": dict(made["snapshot"], seq=18_000, queued=3)}

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        feed = app.feed
        await type_keys(app, pilot, "8 left_square_bracket")
        assert feed.snapshot is not None
        assert feed.snapshot.seq == 18_430
        await type_keys(app, pilot, "left_curly_bracket left_curly_bracket")
        assert feed.snapshot.seq == 18_369
        await type_keys(app, pilot, "right_curly_bracket right_square_bracket")
        assert feed.snapshot.seq == 18_401
        await type_keys(app, pilot, "home 1")
        assert "queue 0" in screen_text(app)[0]
        assert "seq 1 of 18 431" in screen_text(app)[2]
        await type_keys(app, pilot, "6 j a")
        assert "approve is off: this is a recording" in shown(app)
        await type_keys(app, pilot, "8 end")
        assert feed.at is None

    drive(make_app(made), scenario)


def test_a_live_server_says_how_to_replay() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "8 left_square_bracket")
        assert "agentorch replay FILE --tui" in shown(app)
        assert app.feed.at is None

    drive(make_app(), scenario)


def test_keys_can_be_remapped_by_the_actions_id() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6 j a")
        assert sent(app) == []
        await type_keys(app, pilot, "F")
        assert len(sent(app)) == 1

    drive(make_app(keymap={"inbox.approve": "F"}), scenario)


def test_themes_turn_without_leaving() -> None:
    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        seen = [str(screen_rows(app)[5][1])]
        for _ in range(3):
            await type_keys(app, pilot, "ctrl+t")
            seen.append(str(screen_rows(app)[5][1]))
        assert len(set(seen)) == 4

    drive(make_app(), scenario)


def test_text_from_outside_can_neither_move_the_cursor_nor_be_markup() -> None:
    made = recording()
    made["snapshot"]["approvals"][0]["title"] = "[red]x[/] \x1b[2J\r\nnext"
    made["snapshot"]["approvals"][0]["reason"] = "\x1b]0;title\x07 and [b]bold[/b]"

    async def scenario(app: AgentorchApp, pilot: Any) -> None:
        await type_keys(app, pilot, "6")
        assert "[red]x[/]" in shown(app)
        assert "[b]bold[/b]" in shown(app)
        assert "\x1b" not in shown(app)

    drive(make_app(made), scenario)
