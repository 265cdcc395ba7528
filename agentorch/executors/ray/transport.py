"""A Ray cluster as a `Transport`: members and calls through the bridge, nodes through a provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.executors.ray.link import BridgeLink
from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.providers import Provider, make_provider
from agentorch.executors.ray.wire import Call, Dismiss, Members, Release, Request
from agentorch.executors.remote.transport import Member

_MEMBERS_S: Final = 7.0
_RELEASE_S: Final = 25.0
_REQUEST_S: Final = 12.0


class RayTransport:
    """Keeps `Transport`. Nothing in this process imports ray."""

    def __init__(self, options: RayOptions) -> None:
        self._link = BridgeLink(options)
        self._provider: Provider = make_provider(options, self)

    async def open(self) -> None:
        await self._link.open()

    async def members(self) -> list[Member]:
        try:
            body = await self._link.ask("members", b"", _MEMBERS_S)
        except NodeUnreachable:
            self._link.follow_head()
            raise
        return msgspec.msgpack.decode(body, type=Members).members

    async def call(self, node: str, method: str, body: bytes, timeout_s: float) -> bytes:
        ask = msgspec.msgpack.encode(Call(node, method, body, timeout_s))
        return await self._link.ask("call", ask, timeout_s)

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        try:
            await self._provider.resize(node_type, target, remove)
        except ProvisioningError:
            raise
        except ExecutorError as error:
            raise ProvisioningError(f"nodes of type {node_type!r}: {error}") from error

    async def close(self) -> None:
        await self._link.close()
        await self._provider.close()

    @property
    def bridge_pid(self) -> int:
        """Of the bridge; 0 while it is being replaced."""
        return self._link.pid

    async def dismiss(self, namespace: str) -> None:
        """End every agent of a runtime that is over, on all nodes; what runs there ends with its lease.

        Raises ExecutorError.
        """
        await self._link.ask("dismiss", msgspec.msgpack.encode(Dismiss(namespace)), _RELEASE_S)

    # -- what providers use

    async def release(self, node: str) -> None:
        """End the node's agent and have Ray let the node go. Raises ExecutorError."""
        await self._link.ask("release", msgspec.msgpack.encode(Release(node)), _RELEASE_S)

    async def request(self, wanted: dict[str, int]) -> None:
        """Tell Ray's autoscaler how many nodes of each type are wanted. Raises ExecutorError."""
        await self._link.ask("request", msgspec.msgpack.encode(Request(wanted)), _REQUEST_S)
