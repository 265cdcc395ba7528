"""What the runtime and the bridge say to each other, inside the frames of `executors.remote.frames`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from agentorch.executors.remote.transport import Member

HELLO: Final = 0  # the number of what the bridge says first, unasked


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the bridge is started with."""

    address: str
    namespace: str
    agent_root: str = ""
    loopback: bool = False


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A question to the agent of a node."""

    node: str
    method: str
    body: bytes
    timeout_s: float


class Members(msgspec.Struct, frozen=True, array_like=True):
    """The answer to `members`."""

    members: list[Member]


class Release(msgspec.Struct, frozen=True, array_like=True):
    """End the agent of this node and let Ray take the node."""

    node: str


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Nodes wanted of the autoscaler, by type, all types at once."""

    wanted: dict[str, int]


class Dismiss(msgspec.Struct, frozen=True, array_like=True):
    """End every agent of this namespace."""

    namespace: str


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An answer, or why there is none: `unreachable` = unknown what became of it, `failed` = it was not done."""

    body: bytes = b""
    error: Literal["", "unreachable", "failed"] = ""
    words: str = ""


#: method -> what its question holds
ASKS: Final[dict[str, type[msgspec.Struct] | None]] = {
    "members": None,
    "call": Call,
    "release": Release,
    "request": Request,
    "dismiss": Dismiss,
}


def type_of(labels: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """The node's type: the first of these labels that it has, or ""."""
    found = dict(labels)
    return next((found[name] for name in names if name in found), "")
