"""Where nodes come from and go to: a provider adds what is missing of a type, and lets go of the nodes named."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from agentorch.errors import ProvisioningError
from agentorch.executors.ray.machines import Machines
from agentorch.executors.ray.options import MACHINE_LABEL, RayOptions, write_private
from agentorch.executors.remote.transport import Member

_COMMAND_S: Final = 300.0
_JOIN_S: Final = 900.0  # a node that was ordered and has not joined by then is not waited for any more
_SAID: Final = 2_000  # characters of what a failed command said


class Cluster(Protocol):
    """What providers need of the transport."""

    async def members(self) -> list[Member]: ...

    async def release(self, node: str) -> None: ...

    async def request(self, wanted: dict[str, int]) -> None: ...


class Provider(Protocol):
    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        """See `Transport.resize`."""

    async def close(self) -> None: ...


def make_provider(options: RayOptions, cluster: Cluster) -> Provider:
    kinds: dict[str, Callable[[RayOptions, Cluster], Provider]] = {
        "none": NoProvider,
        "local": LocalProvider,
        "command": CommandProvider,
        "autoscaler": AutoscalerProvider,
    }
    return kinds[options.provider](options, cluster)


class NoProvider:
    """Machines come and go by other hands: nodes can be let go of, and not be added."""

    def __init__(self, options: RayOptions, cluster: Cluster) -> None:
        self._cluster = cluster

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        members = await self._cluster.members()
        await release_all(self._cluster, members, remove)
        standing = sum(member.type == node_type and member.id not in remove for member in members)
        if standing < target:
            raise ProvisioningError(
                f"{target - standing} more nodes of type {node_type!r} are wanted, and nobody can add them: join "
                f"machines with `agentorch ray join`, or set executors.ray.provider"
            )

    async def close(self) -> None:
        """Nothing is held."""


class LocalProvider:
    """Every node is a few processes of this machine: for laptops, demonstrations and tests."""

    def __init__(self, options: RayOptions, cluster: Cluster) -> None:
        self._machines = Machines(options)
        self._cpus = options.node_cpus or os.cpu_count() or 1
        self._cluster = cluster
        self._one_at_a_time = asyncio.Lock()

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        async with self._one_at_a_time:
            members = await self._cluster.members()
            await release_all(self._cluster, members, remove)
            running = {machine.name: machine for machine in await asyncio.to_thread(self._machines.running)}
            for member in members:
                machine = running.get(dict(member.labels).get(MACHINE_LABEL, ""))
                if member.id in remove and machine is not None and not machine.head:
                    await asyncio.to_thread(self._machines.stop, machine)
                    del running[machine.name]
            # A node that has just been started is not a member yet, one of another machine has no record here.
            standing = {name for name, machine in running.items() if machine.type == node_type}
            standing |= {
                dict(member.labels).get(MACHINE_LABEL, member.id)
                for member in members
                if member.type == node_type and member.id not in remove
            }
            starts = [self._start(node_type) for _ in range(target - len(standing))]
            await gather_all(starts)

    async def _start(self, node_type: str) -> None:
        await asyncio.to_thread(self._machines.join, cpus=self._cpus, node_type=node_type)

    async def close(self) -> None:
        """Nodes live on: `agentorch ray down` ends them."""


class _Ordered(msgspec.Struct):
    """Nodes of one type that were ordered: when, and who was a member already at the first order."""

    known: list[str] = []
    at_s: list[float] = []


class CommandProvider:
    """Commands of the user's own add and remove nodes: any cloud, any script.

    `add_command` adds one node of `{type}`, `remove_command` removes the node `{node}` at `{address}`. Between its
    order and its joining a node counts as if it were there, also across a restart.
    """

    def __init__(self, options: RayOptions, cluster: Cluster) -> None:
        self._add, self._remove = options.add_command, options.remove_command
        self._book = options.state / "ordered.json"
        self._cluster = cluster
        self._one_at_a_time = asyncio.Lock()

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        async with self._one_at_a_time:
            members = await self._cluster.members()
            await release_all(self._cluster, members, remove)
            for member in members:
                if member.id in remove:
                    about = {"node": member.id, "address": member.address, "type": member.type}
                    await run_command(self._remove, {**dict(member.labels), **about})
            there = [member.id for member in members if member.type == node_type and member.id not in remove]
            book = self._read()
            ordered = book.setdefault(node_type, _Ordered())
            settle(ordered, there, time.time())
            write_private(self._book, msgspec.json.encode(book))
            for _ in range(target - len(there) - len(ordered.at_s)):
                # Noted first: a node too few for a quarter of an hour is cheaper than one that nobody knows of.
                ordered.at_s.append(time.time())
                write_private(self._book, msgspec.json.encode(book))
                try:
                    await run_command(self._add, {"type": node_type})
                except ProvisioningError:
                    ordered.at_s.pop()
                    raise
                finally:
                    write_private(self._book, msgspec.json.encode(book))

    def _read(self) -> dict[str, _Ordered]:
        try:
            return msgspec.json.decode(self._book.read_bytes(), type=dict[str, _Ordered])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise ProvisioningError(f"{self._book} can't be read: {error}") from error

    async def close(self) -> None:
        """Nothing is held."""


class AutoscalerProvider:
    """Ray's own autoscaler: it is told how many nodes of each type are wanted, and takes those that are let go of.

    Each node type of its configuration carries the resource `agentorch.io.node.TYPE: 1` (docs/ray.md).
    """

    def __init__(self, options: RayOptions, cluster: Cluster) -> None:
        self._book = options.state / "wanted.json"
        self._cluster = cluster
        self._one_at_a_time = asyncio.Lock()

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        async with self._one_at_a_time:
            # A request replaces the one before, of all types: the others' are kept across restarts.
            try:
                wanted = msgspec.json.decode(self._book.read_bytes(), type=dict[str, int])
            except FileNotFoundError:
                wanted = {}
            except (OSError, msgspec.DecodeError) as error:
                raise ProvisioningError(f"{self._book} can't be read: {error}") from error
            wanted[node_type] = target
            write_private(self._book, msgspec.json.encode(wanted))
            # Before anything is let go of, or it would be replaced at once.
            await self._cluster.request(wanted)
            await release_all(self._cluster, await self._cluster.members(), remove)

    async def close(self) -> None:
        """Nothing is held."""


async def release_all(cluster: Cluster, members: Sequence[Member], remove: Sequence[str]) -> None:
    """Let go of those of `remove` that are still there."""
    there = {member.id for member in members}
    await gather_all([cluster.release(node) for node in remove if node in there])


async def gather_all(works: Sequence[Awaitable[None]]) -> None:
    """All of them to their end; then the first failure, if there was one."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def settle(ordered: _Ordered, there: Sequence[str], now_s: float) -> None:
    """Each node that has joined since takes one order off, the oldest first; so does too long a wait."""
    if not ordered.at_s:
        ordered.known = list(there)
    for node in there:
        if node not in ordered.known:
            ordered.known.append(node)
            del ordered.at_s[:1]
    ordered.at_s = [at_s for at_s in ordered.at_s if now_s - at_s < _JOIN_S]


async def run_command(template: str, values: Mapping[str, str]) -> None:
    """Run it without a shell, each `{name}` replaced within its own argument. Raises ProvisioningError."""
    try:
        command = [argument.format_map(values) for argument in shlex.split(template)]
    except (KeyError, ValueError, IndexError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise ProvisioningError(f"command {template!r} can't be filled in: {error!r}; known are {known}") from error
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ProvisioningError(f"command {template!r} can't be run: {error}") from error
    try:
        async with asyncio.timeout(_COMMAND_S):
            said, _ = await process.communicate()
    except TimeoutError as error:
        raise ProvisioningError(f"command {template!r} did not end within {_COMMAND_S:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        text = said.decode(errors="replace").strip()[-_SAID:]
        raise ProvisioningError(f"command {template!r} ended with {process.returncode}: {text}")
