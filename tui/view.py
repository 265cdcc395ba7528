"""What the pages draw from: one snapshot, the time it is drawn at, and the zone that times are shown in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from agentorch.tui import words

if TYPE_CHECKING:
    from agentorch.schemas.documents import BudgetDocument, PoolDocument
    from agentorch.schemas.supervision import ProposalDocument, SnapshotDocument


@dataclass(frozen=True)
class View:
    snapshot: SnapshotDocument
    now: float
    zone: tzinfo | None = None  # None: the machine's own

    def clock(self, at: float | None, *, seconds: bool = True) -> str:
        return words.clock(at, self.zone, seconds=seconds)

    def moment(self, at: float | None) -> str:
        return words.moment(at, self.now, self.zone)

    def ago(self, at: float | None) -> str:
        return words.UNKNOWN if at is None else words.duration(max(0.0, self.now - at))

    def proposal(self, proposal_id: str) -> ProposalDocument | None:
        for proposal in (*self.snapshot.approvals, *self.snapshot.decided):
            if proposal.id == proposal_id:
                return proposal
        return None

    def pool(self, name: str) -> PoolDocument | None:
        return next((pool for pool in self.snapshot.pools if pool.name == name), None)

    def budget(self, tenant: str) -> BudgetDocument | None:
        return next((budget for budget in self.snapshot.budgets if budget.tenant == tenant), None)

    @property
    def cap_usd(self) -> float | None:
        """The sum of all caps; None where a tenant has none, because then there is no sum."""
        caps = [budget.hard_cap_usd for budget in self.snapshot.budgets]
        known = [cap for cap in caps if cap is not None]
        return sum(known) if known and len(known) == len(caps) else None
