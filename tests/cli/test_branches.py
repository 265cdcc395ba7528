"""Replays that a recording's server is asked for: what goes wrong with one is told, and not for ever."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agentorch.cli.branches import Branches
from agentorch.schemas.replay import BranchRequest

RULES = BranchRequest(brain="rules", wait_s=30)


def test_a_replay_that_cannot_be_started_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        branches = Branches(tmp_path / "none.db")
        branches.last_seq = 10
        monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
        failed = await branches(RULES)
        assert (failed.state, failed.replay) == ("failed", None)
        assert failed.problem.startswith("the replay could not be run: FileNotFoundError")
        assert str(tmp_path / "nowhere") in failed.problem
        monkeypatch.setattr(sys, "executable", speaks(tmp_path, "echo nonsense"))
        assert "the replay could not be run: ValidationError" in (await branches(RULES)).problem
        monkeypatch.setattr(sys, "executable", speaks(tmp_path, "echo 'no such ledger' >&2; exit 2"))
        assert (await branches(RULES)).problem == "no such ledger"
        monkeypatch.setattr(sys, "executable", speaks(tmp_path, "exit 3"))
        assert (await branches(RULES)).problem == "the replay ended with exit code 3"
        await branches.aclose()

    asyncio.run(scenario())


def speaks(folder: Path, script: str) -> str:
    """A program that only does this."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)
