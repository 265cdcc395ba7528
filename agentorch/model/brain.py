"""What every brain is: one small interface. Brains are interchangeable; none of them acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Verdict


class BrainContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a brain may use while it decides: a preview of what guardrails would say. Reads are free."""

    preview: Callable[[tuple[Draft, ...]], Awaitable[list[Verdict]]]
    timeout_s: float


class Brain(Protocol):
    id: str

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        """Drafts of what it wants, or none and a reason to hold."""
