"""Machines of a network of their own: one namespace each, all plugged into a switch that is a namespace too.

Needs root. Run as a program inside the first one it is the runtime that loses sight of the others, twenty times.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import NodeInfo
from agentorch.model.jobs import Cause
from tests.executors.ends import Ends, until_logged
from tests.executors.remote.test_partition import SCRIPT, time_in
from tests.executors.rigs import shell
from tests.ray.cluster import until_up

CUT = 4  # machines that are cut off at once; the head takes what ran there
ROUNDS = 5
LEASE_S, MARGIN_S = 4.0, 2.0
_SWITCH = "aoswitch"
_COMMAND_S = 90.0


def name(number: int) -> str:
    return f"aonode{number}"


def address(number: int) -> str:
    return f"10.77.0.{10 + number}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=_COMMAND_S)


@contextmanager
def network(machines: int) -> Iterator[None]:
    """The namespaces exist within; nothing outside them is touched."""
    try:
        ip("netns", "add", _SWITCH)
        ip("-n", _SWITCH, "link", "add", "switch", "type", "bridge")
        ip("-n", _SWITCH, "link", "set", "switch", "up")
        for number in range(machines):
            ip("netns", "add", name(number))
            ip("-n", name(number), "link", "set", "lo", "up")
            ip(
                "link",
                "add",
                "net",
                "netns",
                name(number),
                "type",
                "veth",
                "peer",
                "name",
                f"port{number}",
                "netns",
                _SWITCH,
            )
            ip("-n", name(number), "addr", "add", f"{address(number)}/24", "dev", "net")
            ip("-n", name(number), "link", "set", "net", "up")
            ip("-n", _SWITCH, "link", "set", f"port{number}", "master", "switch")
            ip("-n", _SWITCH, "link", "set", f"port{number}", "up")
        yield
    finally:
        for space in [_SWITCH, *(name(number) for number in range(machines))]:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def plug(number: int, *, state: str) -> None:
    """`down` pulls the machine's cable."""
    ip("-n", _SWITCH, "link", "set", f"port{number}", state)


def inside(number: int, root: Path, *arguments: str) -> list[str]:
    """The command line, for a machine with a state directory of its own."""
    return ["ip", "netns", "exec", name(number), "env", f"XDG_STATE_HOME={root / name(number)}", *arguments]


def agentorch(number: int, root: Path, *arguments: str) -> str:
    command = inside(number, root, sys.executable, "-m", "agentorch.cli", "ray", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
    if done.returncode:
        raise AssertionError(f"{arguments} on {name(number)}: {done.stderr}")
    return done.stdout.strip()


def join(number: int, root: Path) -> None:
    token = root / name(0) / "agentorch/ray/token"
    where = f"{address(0)}:6379"
    agentorch(number, root, "join", where, "--token-file", str(token), "--host", address(number), "--num-cpus", "1")


class Partition:
    """Cuts and heals; what was seen is kept in `gaps` and `noticed`, in seconds."""

    def __init__(self, root: Path, executor: RemoteExecutor, ends: Ends) -> None:
        self._root = root
        self._executor = executor
        self._ends = ends
        self.gaps: list[float] = []
        self.noticed: list[float] = []

    async def round(self, round_: int) -> None:
        nodes = {node.address: node for node in await until_up(self._executor, CUT + 1)}
        refuge = nodes[address(0)]
        await asyncio.gather(*(self._cut(number, round_, nodes[address(number)], refuge) for number in cut_ones()))
        # Ray counts a machine as dead that it did not see for some seconds, for good: it joins again as another node.
        await asyncio.gather(*(asyncio.to_thread(self._again, number) for number in cut_ones()))

    async def _cut(self, number: int, round_: int, node: NodeInfo, refuge: NodeInfo) -> None:
        job = f"{number}-{round_}"
        old, new = self._root / f"{job}-old", self._root / f"{job}-new"
        await self._executor.launch([shell(job, SCRIPT.format(out=old), node=node.id)])
        await until_logged(self._executor, f"{job}.1", b"ready")
        cut_s = time.time()
        await asyncio.to_thread(plug, number, state="down")
        status = await self._ends.of(f"{job}.1")
        self.noticed.append(time.time() - cut_s)
        assert status.cause is Cause.node_lost, status
        await self._executor.launch([shell(f"{job}-again", SCRIPT.format(out=new), node=refuge.id)])
        await until_logged(self._executor, f"{job}-again.1", b"ready")
        await self._executor.stop(f"{job}-again.1", Cause.cancelled, 0)
        await self._ends.of(f"{job}-again.1")
        await asyncio.to_thread(plug, number, state="up")
        ended_s = max(time_in(Path(f"{old}.{part}")) for part in ("last", "daemon"))
        assert ended_s > cut_s  # it went on while it was cut off: the case that matters
        self.gaps.append(time_in(Path(f"{new}.first")) - ended_s)

    def _again(self, number: int) -> None:
        agentorch(number, self._root, "down")
        join(number, self._root)


def cut_ones() -> range:
    return range(1, CUT + 1)


async def run(root: Path) -> None:
    options = RayOptions(state=root / name(0) / "agentorch/ray")
    executor = RemoteExecutor(
        RayTransport(options), root / "control", name="ray", lease_s=LEASE_S, margin_s=MARGIN_S, patience_s=30.0
    )
    await executor.open(1)
    try:
        async with Ends(executor) as ends:
            partition = Partition(root, executor, ends)
            for round_ in range(ROUNDS):
                await partition.round(round_)
    finally:
        await executor.close()
    print(json.dumps({"gaps": partition.gaps, "noticed": partition.noticed}))


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    asyncio.run(run(Path(sys.argv[1])))
