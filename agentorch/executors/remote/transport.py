"""The seam to an engine: who is a member, a call to one of them, and how many there should be. Nothing else is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Member(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A machine that the engine lists. `alive` is the engine's opinion, which proves nothing about what runs there."""

    id: str  # never used again for another machine, nor for the same one after it was away
    type: str = ""
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    alive: bool = True
    notice_ms: int | None = None  # when its provider takes it away, if it said so


class Transport(Protocol):
    async def open(self) -> None:
        """Reach the engine. Raises ExecutorError if it can't be; later failures are its own to mend."""

    async def members(self) -> list[Member]:
        """The machines there are now. Raises NodeUnreachable while the engine can't be asked."""

    async def call(self, node: str, method: str, body: bytes, timeout_s: float) -> bytes:
        """`NodeAgent.handle(method, body)` on that node, whose agent is started if there is none.

        Raises NodeUnreachable when no answer came in time: the call may have been carried out all the same.
        Raises ExecutorError when the agent itself refused, with its words.
        """

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        """Want this many nodes of the type, and let go of `remove`. Raises ProvisioningError."""

    async def close(self) -> None:
        """Let go of the engine; agents and what they run live on."""
