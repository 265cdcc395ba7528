"""What the rooms of the API know of how they were made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agentorch.model.proposals import Draft
from agentorch.model.twin import Outlook

Foresee = Callable[[tuple[Draft, ...]], Awaitable[Outlook]]


@dataclass(frozen=True)
class ApiSettings:
    """`loopback`: bound to loopback only. Then, as long as no key exists, whoever reaches the server is its operator;
    and requests that name another host are refused. `foresee`: the twin; None where there is none to ask.
    """

    secret: bytes
    loopback: bool
    allowed_hosts: tuple[str, ...]
    brain: Callable[[], str]
    loop_lag_s: Callable[[], float] | None
    foresee: Foresee | None = None
