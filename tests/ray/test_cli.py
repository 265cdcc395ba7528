"""`agentorch ray`: a cluster of one's own, joined, shown and ended from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.cli.shell import agentorch, process
from tests.ray.cluster import needs_ray

pytestmark = needs_ray


def test_a_cluster_is_started_joined_shown_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    up = process("ray", "up", "--port", "0")
    assert up.returncode == 0, up.stderr
    try:
        token = state / "agentorch/ray/token"
        assert str(token) in up.stderr
        assert token.stat().st_mode & 0o777 == 0o600
        assert process("ray", "up", "--port", "0").returncode != 0
        address = up.stdout.strip()
        joined = process("ray", "join", address, "--num-cpus", "1", "--node-type", "small", "--label", "zone=x")
        assert joined.returncode == 0, joined.stderr
        shown = process("ray", "status", "--output", "json")
        rows = {row["machine"]: row for row in json.loads(shown.stdout)}
        assert rows[joined.stdout.strip()]["type"] == "small"
        assert len(rows) == 2
        pids = [row["pid"] for row in rows.values()]
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        down = process("ray", "down")
    assert down.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    again = process("ray", "status")
    assert again.returncode == 2
    assert "agentorch ray up" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("join",), "agentorch ray up"),
        (("join", "127.0.0.1:9"), "no Ray cluster answers at '127.0.0.1:9'"),
        (("join", "nowhere"), "no Ray cluster answers at 'nowhere'"),
        (("join", "127.0.0.1:9", "--label", "zone"), "expected NAME=VALUE"),
        (("join", "127.0.0.1:9", "--token-file", "/no/such/file"), "can't read the token"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    done = agentorch("ray", *arguments)
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
