"""A ledger file read again: verified, stepped through, looked back into, and found out when it was tampered with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.server import ASKING, SMALL, Server, eventually, running


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that had an approval answered, and was stopped."""
    with running(tmp_path_factory.mktemp("replay"), ASKING) as server:
        for _ in range(5):
            server.submit("sleep 300", resources=SMALL)
        asked = server.open_approval()
        server.answer(asked, "approve")
        eventually(lambda: server.get("/v1/pools")[0]["workers"] == 3, "the pool has grown")
        server.cancel_all()
        server.stop()
        yield server


def test_decisions_come_back_whole(recorded: Server) -> None:
    told = json.loads(recorded.command("replay", str(recorded.data), "--output", "json").stdout)
    assert told["seq"] == told["last_seq"]
    assert [one["cycle"] for one in told["decisions"]] == list(range(1, len(told["decisions"]) + 1))
    assert all(one["observation"] for one in told["decisions"])
    proposals = [proposal for one in told["decisions"] for proposal in one["proposals"]]
    grown = next(one for one in proposals if one["kind"] == "scale")
    assert (grown["state"], grown["answer"]["kind"]) == ("done", "approve")
    assert told["state"]["pools"][0]["workers"] == 3


def test_the_past_is_as_it_was(recorded: Server) -> None:
    whole = json.loads(recorded.command("replay", str(recorded.data), "--output", "json").stdout)
    grown = next(p for one in whole["decisions"] for p in one["proposals"] if p["kind"] == "scale")
    before = json.loads(
        recorded.command("replay", str(recorded.data), "--seq", str(grown["judged_seq"]), "--output", "json").stdout
    )
    assert before["state"]["pools"][0]["workers"] == 1
    by_time = recorded.command("replay", str(recorded.data), "--at", str(grown["created_at"]), "--output", "json")
    assert json.loads(by_time.stdout)["state"]["pools"][0]["workers"] == 1


def test_the_table_is_for_people(recorded: Server) -> None:
    told = recorded.command("replay", str(recorded.data))
    assert "asks" in told.stdout
    assert "Grow small from 1 to 3 workers" in told.stdout
    assert "pool small: 3 of 1-3 workers" in told.stdout


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_byte_is_found_and_named(recorded: Server, tmp_path: Path, seed: int) -> None:
    body = bytearray((recorded.data / "ledger.db").read_bytes())
    place = body.find(b'"job-submitted"') + random.Random(seed).randrange(200)
    body[place] ^= 1 << seed
    tampered = tmp_path / "ledger.db"
    tampered.write_bytes(body)
    told = recorded.command("verify", str(tampered))
    assert told.returncode == 1
    assert "NOT OK at sequence" in told.stdout


def test_what_is_no_ledger_is_said(recorded: Server, tmp_path: Path) -> None:
    told = recorded.command("verify", str(tmp_path))
    assert told.returncode == 2
    assert "there is no ledger" in told.stderr
