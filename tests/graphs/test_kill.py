"""kill -9 at the worst moments: the next process finds what waited, and acts at most once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentorch.model.proposals import AnswerKind, BrainReport, Draft, ProposalState
from tests.graphs.brains import Saying
from tests.graphs.port import MemoryPort
from tests.graphs.stage import Stage
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually

ROOT = Path(__file__).parents[2]


def killed_child(stage_name: str, folder: Path, when: str) -> str:
    """Run the child until it is killed; returns the id of its proposal."""
    arguments = [sys.executable, "-m", "tests.graphs.child", stage_name, str(folder), when]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        proposal = child.stdout.readline().strip()
        if when == "pending":
            child.kill()
        assert child.wait() == -signal.SIGKILL
    assert proposal
    return proposal


@pytest.mark.parametrize("keep_file", [True, False], ids=["file kept", "file deleted"])
def test_killed_while_pending(
    open_stage: Callable[[], Stage], stage_name: str, tmp_path: Path, keep_file: bool
) -> None:
    waiting = killed_child(stage_name, tmp_path, "pending")
    checkpoints = tmp_path / "checkpoints.db"
    if not keep_file:
        for file in tmp_path.glob("checkpoints.db*"):
            file.unlink()

    async def scenario() -> None:
        stage = open_stage()
        async with supervising(stage.port, Saying(), checkpoints=checkpoints) as supervisor:
            assert (stage.state(waiting), stage.effects(waiting)) == ("open", 0)
            assert await supervisor.threads.waiting() == {waiting}
            await stage.answer(waiting, AnswerKind.approve)
            await eventually(lambda: stage.effects(waiting) == 1)
            assert stage.alerts() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_effect(open_stage: Callable[[], Stage], stage_name: str, tmp_path: Path, when: str) -> None:
    waiting = killed_child(stage_name, tmp_path, when)

    async def scenario() -> None:
        stage = open_stage()
        assert stage.effects(waiting) == (0 if when == "before" else 1)
        for _ in range(2):
            async with supervising(stage.port, Saying(), checkpoints=tmp_path / "checkpoints.db") as supervisor:
                assert (stage.state(waiting), stage.effects(waiting)) == ("done", 1)
                assert await supervisor.threads.waiting() == set()

    asyncio.run(scenario())


def test_what_a_crash_left_as_acting_is_carried_out_once() -> None:
    async def scenario() -> None:
        port = MemoryPort()
        async with supervising(port, Saying()) as supervisor:
            drafts = tuple(Draft(action={"kind": "scale", "pool": f"ask-{n}", "workers": 3}) for n in range(2))
            one, other = await port.hand_in(1, BrainReport(brain="saying", drafts=drafts))
            one.state = other.state = ProposalState.acting
            await supervisor.reconcile()
            assert port.record.effects == [], "while it runs, what is acting belongs to the runtime"
        async with supervising(port, Saying()):
            assert port.record.effects == [one.id, other.id]
        async with supervising(port, Saying()):
            assert port.record.effects == [one.id, other.id]

    asyncio.run(scenario())
