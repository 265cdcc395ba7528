"""What every brain is: one small interface. Brains are interchangeable; none of them acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Verdict
from agentorch.model.twin import Outlook


class BrainContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a brain may use while it decides: what guardrails would say, and what the twin foresees. Reads are free.

    `foresee` answers with one impact for each draft, each on its own against doing nothing; it raises Refused when the
    cycle's budget of questions is used up, or when there is no twin.
    """

    preview: Callable[[tuple[Draft, ...]], Awaitable[list[Verdict]]]
    foresee: Callable[[tuple[Draft, ...]], Awaitable[Outlook]]
    timeout_s: float


class Brain(Protocol):
    id: str

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        """Drafts of what it wants, or none and a reason to hold."""
