"""An approval on the real server: asked, answered, edited, raced for, and still there after kill -9."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.server import ASKING, SMALL, Server, eventually, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, ASKING) as server:
        yield server


def crowd(server: Server) -> None:
    """More work than one worker can take, so that the supervisor wants to grow."""
    for _ in range(6):
        server.submit("sleep 300", resources=SMALL)


def workers(server: Server) -> int:
    return int(server.get("/v1/pools")[0]["workers"])


def state(server: Server, proposal: str) -> str:
    decided = server.get("/v1/snapshot")["decided"]
    return next((str(one["state"]) for one in decided if one["id"] == proposal), "open")


def test_approved_it_happens_and_the_first_answer_wins(server: Server) -> None:
    crowd(server)
    asked = server.open_approval()
    assert asked["impact"]["draws"] > 0
    assert {"misses", "preempted"} <= {one["measure"] for one in asked["impact"]["changes"]}
    with ThreadPoolExecutor(4) as people:
        codes = list(people.map(lambda _: server.answer(asked, "approve").status_code, range(4)))
    assert sorted(codes) == [200, 409, 409, 409]
    eventually(lambda: workers(server) == 3, "the pool has grown")
    assert server.get("/v1/ledger/verify")["ok"] is True


def test_an_edit_narrows_and_never_widens(server: Server) -> None:
    crowd(server)
    asked = server.open_approval()
    assert asked["edit_fields"]["workers"]["to"] == 3
    wide = server.answer(asked, "edit", edits={"workers": 9})
    assert (wide.status_code, wide.json()["code"]) == (422, "widened")
    assert server.answer(asked, "edit", edits={"workers": 2}).status_code == 200
    eventually(lambda: workers(server) == 2, "the pool has grown by one")


def test_a_rejection_needs_no_hash_and_nothing_happens(server: Server) -> None:
    crowd(server)
    asked = server.open_approval()
    stale = server.http.post(f"/v1/approvals/{asked['id']}/answer", json={"answer": "approve", "proposal_hash": "0"})
    assert (stale.status_code, stale.json()["code"]) == (409, "changed")
    rejected = server.http.post(
        f"/v1/approvals/{asked['id']}/answer", json={"answer": "reject", "reason": "too dear today"}
    )
    assert rejected.status_code == 200
    assert state(server, asked["id"]) == "rejected"
    assert workers(server) == 1


@pytest.mark.parametrize("checkpoints", ["kept", "deleted"])
def test_a_pending_approval_outlives_kill_9(server: Server, checkpoints: str) -> None:
    crowd(server)
    asked = server.open_approval()
    server.kill()
    if checkpoints == "deleted":
        for file in server.data.glob("checkpoints.db*"):
            file.unlink()
    server.start()
    again = server.open_approval()
    assert (again["id"], again["proposal_hash"]) == (asked["id"], asked["proposal_hash"])
    assert server.answer(again, "approve").status_code == 200
    eventually(lambda: workers(server) == 3, "the pool has grown")
    assert server.get("/v1/ledger/verify")["ok"] is True


def test_a_world_that_moved_asks_again(server: Server) -> None:
    crowd(server)
    asked = server.open_approval()
    grown = server.http.patch("/v1/pools/small", json={"workers": 2})
    assert grown.status_code == 200, grown.text
    late = server.answer(asked, "approve")
    assert late.status_code in (403, 409, 410), late.text
    assert late.json()["code"] in ("changed", "guardrail", "already_answered", "expired")
    assert workers(server) == 2
