"""Asking the twin over HTTP: a forecast of one action, and what guardrails would say of it; nothing is proposed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentorch.errors import ServerRefused
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.runtime.recording import Recording
from tests.api.live import Live
from tests.api.test_views import serving

SCALE = {"kind": "scale", "pool": "cpu", "workers": 4}


def test_what_if_is_answered_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario(server: Live) -> None:
        async with server.client() as client:
            for number in range(3):
                await client.submit({"command": ["true"], "start_at": "+1h", "name": f"job-{number}"})
            before = await client.snapshot()
            found = await client.foresee(SCALE)
            after = await client.snapshot()
        assert (found.kind, found.target, found.before, found.after) == ("scale", "pool:cpu", "2 workers", "4 workers")
        assert found.ruling in ("allow", "ask", "deny")
        assert found.notes
        impact = found.impact
        assert impact.idle is not None and impact.acted is not None
        assert impact.horizon_s > 0 and impact.draws > 0 and impact.steps > 0
        assert {"misses", "preempted"} <= {one.measure for one in impact.changes}
        assert after.approvals == before.approvals == []
        assert after.pools[0].target == before.pools[0].target

    with Live(tmp_path) as server:
        asyncio.run(scenario(server))


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ({"kind": "explode"}, "explode"),
        ({"kind": "scale", "pool": "cpu", "workers": "many"}, "workers"),
        ({"kind": "scale", "pool": "cpu", "workers": 4, "why": "because"}, "why"),
    ],
)
def test_what_is_no_action_is_named(tmp_path: Path, action: dict[str, object], text: str) -> None:
    async def scenario(server: Live) -> None:
        async with server.client() as client:
            with pytest.raises(ServerRefused) as caught:
                await client.foresee(action)
            assert caught.value.status == 400 or caught.value.status == 422
            assert text in str(caught.value)

    with Live(tmp_path) as server:
        asyncio.run(scenario(server))


def test_what_can_not_be_done_has_a_reason_instead_of_numbers(tmp_path: Path) -> None:
    async def scenario(server: Live) -> None:
        async with server.client() as client:
            found = await client.foresee({"kind": "scale", "pool": "nowhere", "workers": 4})
        assert found.impact.changes == []
        assert "nowhere" in found.impact.text
        assert found.ruling == "deny"

    with Live(tmp_path) as server:
        asyncio.run(scenario(server))


def test_a_recording_has_no_twin_to_ask(tmp_path: Path) -> None:
    with Live(tmp_path):
        pass

    async def look_back() -> None:
        recording = Recording(SqliteLedger(tmp_path / "ledger.db", read_only=True), "ledger.db")
        await recording.open()
        try:
            async with serving(recording, tmp_path) as client:
                with pytest.raises(ServerRefused, match="no running server"):
                    await client.foresee(SCALE)
        finally:
            await recording.close()

    asyncio.run(look_back())
