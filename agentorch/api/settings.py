"""What the rooms of the API know of how they were made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agentorch.model.proposals import Draft
from agentorch.model.twin import Outlook
from agentorch.schemas.replay import BranchDocument, BranchRequest

Foresee = Callable[[tuple[Draft, ...]], Awaitable[Outlook]]
Branch = Callable[[BranchRequest], Awaitable[BranchDocument]]


@dataclass(frozen=True)
class ApiSettings:
    """`loopback`: bound to loopback only. Then, as long as no key exists, whoever reaches the server is its operator;
    and requests that name another host are refused. `foresee`: the twin; None where there is none to ask. `branch`
    replays a part of a recording with another brain; None on a running server.
    """

    secret: bytes
    loopback: bool
    allowed_hosts: tuple[str, ...]
    brain: Callable[[], str]
    loop_lag_s: Callable[[], float] | None
    foresee: Foresee | None = None
    branch: Branch | None = None
