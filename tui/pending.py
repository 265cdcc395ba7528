"""Approvals in their grace: given, shown, and for a few seconds still to be taken back before they are sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument


@dataclass(frozen=True)
class Held:
    proposal: ProposalDocument
    send_at: float  # on the caller's clock
    edits: dict[str, int | str] | None = None


class Pending:
    """At most one answer per proposal; the newest can be undone first. Knows no timer: the app asks what is due."""

    def __init__(self, send: Callable[[Held], None]) -> None:
        self._held: dict[str, Held] = {}
        self._send = send

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, proposal_id: str) -> bool:
        return proposal_id in self._held

    @property
    def newest(self) -> Held | None:
        return next(reversed(self._held.values()), None)

    def hold(self, held: Held) -> None:
        self._held[held.proposal.id] = held

    def undo(self) -> Held | None:
        """Take back the newest; None when there is none."""
        return self._held.popitem()[1] if self._held else None

    def release(self, now: float) -> None:
        """Send what is due."""
        for proposal_id, held in list(self._held.items()):
            if held.send_at <= now:
                del self._held[proposal_id]
                self._send(held)

    def drop_all(self) -> list[Held]:
        """Forget everything unsent, because it could not be sent any more."""
        dropped = list(self._held.values())
        self._held.clear()
        return dropped
