"""The terminal UI in a real terminal: submit, see it run, follow its log, approve, see the action happen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.server import ASKING, SMALL, Server, eventually, running

pytestmark = [
    pytest.mark.terminal,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: it is the terminal of this test"),
]


class Terminal:
    """A tmux session of its own server, 120 columns by 36 lines."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def tmux(self, *words: str, check: bool = True) -> str:
        # COLUMNS and LINES of the test run's own terminal would overrule the size of this one.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TMUX")}
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words],
            env={**environment, "TERM": "xterm-256color"},
            capture_output=True,
            text=True,
            check=check,
            timeout=30,
        )
        return done.stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t")

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "t", *keys)

    def shows(self, text: str) -> str:
        try:
            return eventually(
                lambda: screen if text in (screen := self.screen()) else None, f"the screen shows {text!r}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.screen()}") from error


@contextmanager
def terminal(folder: Path, server: Server, *words: str) -> Iterator[Terminal]:
    found = Terminal(folder / "tmux")
    command = " ".join([sys.executable, "-m", "agentorch.cli", *words])
    variables = [f"-e{name}={value}" for name, value in server.environment.items() if name.startswith("AGENTORCH_")]
    found.tmux("-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "120", "-y", "36", *variables, command)
    try:
        yield found
    finally:
        found.tmux("kill-server", check=False)  # it has ended by itself when its last program has


def test_an_operator_s_round(tmp_path: Path) -> None:
    with running(tmp_path, ASKING) as server, terminal(tmp_path, server, "tui") as screen:
        screen.shows("live")
        job = server.submit("for i in 1 2 3; do echo line $i; done; sleep 300", name="talkative", resources=SMALL)
        screen.type("2")
        screen.shows("sorted by")
        screen.shows("talkative")
        screen.type("Enter")
        screen.shows("line 3")
        assert server.get(f"/v1/jobs/{job}")["state"] == "running"
        for _ in range(5):
            server.submit("sleep 300", resources=SMALL)
        screen.shows("1 to approve")
        screen.type("Escape")
        screen.shows("sorted by")
        screen.type("6")
        card = screen.shows("no action")
        assert "Grow small from 1 to 3 workers" in card
        assert "not computed" not in card
        screen.type("w")
        screen.shows("What if small had this many workers?")
        screen.type("Enter")
        asked = screen.shows("nothing was proposed")
        assert "What if: grow small from 1 to 3 workers?" in asked
        screen.type("Escape")
        screen.shows("soonest first")
        screen.type("a")
        eventually(lambda: server.get("/v1/pools")[0]["workers"] == 3, "the pool has grown")
        screen.shows("inbox empty")
        server.stop()
        lost = screen.shows("reconnect")
        assert "live" not in lost.splitlines()[0]
        server.start()
        screen.shows("live")
        screen.type("q")


def test_a_ledger_file_is_shown_read_only(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ended(server.submit("true", name="recorded"))
        server.stop()
        with terminal(tmp_path, server, "replay", str(server.data), "--tui") as screen:
            assert "● live" not in screen.shows("actions are off")
            screen.type("2")
            assert "succeeded" in screen.shows("recorded")
            screen.type("8")
            screen.shows("chain head")
            screen.type("b")
            screen.shows("what would another mind have made of this?")
            screen.type("Enter")
            screen.shows("0 otherwise")
            screen.type("q")
