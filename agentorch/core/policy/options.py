"""What the rule brain weighs: a problem that the numbers show, and the ways to act on it."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from agentorch.model.proposals import Action, Draft, target_of

#: That are weighed beside the one that work waits for.
OTHER_POOLS: Final = 2


class Kind(Enum):
    """Why a problem is looked at, and so what the twin is asked about it."""

    plain = "plain"  # settled by what was measured: nothing is asked
    waiting = "waiting"  # work waits, or a deadline comes near: the best of several is chosen, or none
    ahead = "ahead"  # work waits, not too long yet: acted on only if the twin says that it will
    idling = "idling"  # workers are not needed: given back, unless the twin says that waits would grow


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One way to act. `hourly_usd_micros` is what it adds to pay for, None = unknown, below zero what it saves;
    `dearer` the share of the money for the work that it moves which would not be spent where the work waits now."""

    action: Action
    text: str
    reason: str
    evidence: tuple[str, ...]
    blind: bool = True  # may be chosen by the observation's numbers alone
    adds: int = 0  # workers; of nearly equal options the one that adds least is taken
    hourly_usd_micros: int | None = 0
    dearer: float = 0.0

    @property
    def target(self) -> str:
        return target_of(self.action)

    @property
    def kind(self) -> str:
        """Of action, as calibration goes by it."""
        return str(self.action.__struct_config__.tag)

    def draft(self, evidence: tuple[str, ...] = (), alternatives: tuple[str, ...] = ()) -> Draft:
        return Draft(
            action=msgspec.to_builtins(self.action),
            reason=self.reason,
            evidence=(*self.evidence, *evidence),
            alternatives=alternatives,
        )


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`options` in the order in which they would be chosen without the twin, none of them empty."""

    kind: Kind
    options: tuple[Option, ...]
    nothing: str  # what doing nothing means, by the observation
    pool: str = ""
    target_wait_s: float = 0.0
