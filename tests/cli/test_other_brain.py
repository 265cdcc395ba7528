"""A brain from a Python file, in each of the shapes that people write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentorch.cli.other_brain import brain_from
from agentorch.errors import ConfigError
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import Draft, Mode, Verdict
from agentorch.model.twin import Course, Outlook

SEEN = Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded)
HOLD = "from agentorch.model.proposals import BrainReport\n"


async def preview(drafts: tuple[Draft, ...]) -> list[Verdict]:
    return []


async def foresee(drafts: tuple[Draft, ...]) -> Outlook:
    return Outlook(horizon_s=0.0, idle=Course())


def asked(folder: Path, text: str) -> tuple[str, str]:
    """Its id, and why it holds."""
    file = folder / "mine.py"
    file.write_text(HOLD + text)
    brain = brain_from(file)
    context = BrainContext(preview=preview, foresee=foresee, timeout_s=1.0)
    return brain.id, asyncio.run(brain.decide(SEEN, context)).hold


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def decide(observation):\n    return BrainReport(brain='x', hold='no')", "mine"),
        ("async def decide(observation, context):\n    return BrainReport(brain='x', hold='no')", "mine"),
        (
            "class Brain:\n    id = 'timid/1'\n    async def decide(self, observation, context):\n"
            "        return BrainReport(brain=self.id, hold='no')",
            "timid/1",
        ),
        (
            "class Some:\n    id = 'some/1'\n    def decide(self, observation):\n"
            "        return BrainReport(brain=self.id, hold='no')\nbrain = Some()",
            "some/1",
        ),
    ],
)
def test_a_function_a_class_or_an_object(tmp_path: Path, text: str, name: str) -> None:
    assert asked(tmp_path, text) == (name, "no")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "expected a function `decide"),
        ("class Brain:\n    def __init__(self, key): ...", "Brain\\(\\) raised TypeError"),
        ("def decide(:", "SyntaxError"),
    ],
)
def test_what_is_no_brain_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        asked(tmp_path, text)
