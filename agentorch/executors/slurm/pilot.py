"""A pilot: a batch job that is an agent of a node, so that many short attempts need no job of their own.

It reads what it is to be from its folder, listens, and says in the folder where. Slurm's SIGTERM (a time limit that is
near, preemption, somebody's scancel) becomes a notice, which the runtime reads: it moves its work away. However it
ends, everything that it started ends first; where it is killed, leases do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from agentorch.executors import lease, processes
from agentorch.executors.attempt_dir import write_whole
from agentorch.executors.remote.agent_main import Server
from agentorch.executors.remote.node import serving
from agentorch.executors.slurm.door import TOKEN, let_in
from agentorch.model.attempts import NodeInfo

ORDER: Final = "order.json"
ADDRESS: Final = "address.json"
#: How long after the warning a pilot goes on: less than Slurm's `KillWait`, which is 30 s where nobody changed it.
NOTICE_S: Final = 25.0
_AGAIN_S: Final = 0.02


class PilotOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a pilot is to be. `bind` "" = the address by which its node reaches Slurm.

    `scratch` "" = attempts lie in the pilot's folder.
    """

    node_type: str
    cpu_milli: int
    memory_bytes: int = 0  # 0 = all that the machine has
    bind: str = ""
    scratch: str = ""


class PilotAddress(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    slurm_node: str = ""
    slurm_job: str = ""
    notice_ms: int | None = None


def main(folder: str) -> None:
    """Be the pilot of this folder, until told otherwise."""
    processes.become_subreaper()
    try:
        uvloop.run(_run(Path(folder)))
    finally:
        _end_everything()


async def _run(folder: Path) -> None:
    order = msgspec.json.decode((folder / ORDER).read_bytes(), type=PilotOrder)
    token = (folder.parent / TOKEN).read_bytes()
    root = Path(order.scratch, f"agentorch-{folder.name}") if order.scratch else folder / "node"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with serving(root, folder.name, offered=lambda info: _share(info, order)) as agent:
        server = Server(agent)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await let_in(reader, writer, token):
                await server.serve(reader, writer)
            else:
                writer.close()

        warned = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, warned.set)
        listening = await asyncio.start_server(serve, order.bind or _own_address())
        host, port = listening.sockets[0].getsockname()[:2]
        environment = os.environ
        address = PilotAddress(
            host=host,
            port=port,
            slurm_node=environment.get("SLURMD_NODENAME", ""),
            slurm_job=environment.get("SLURM_JOB_ID", ""),
        )
        _write(folder, ADDRESS, address)
        over = asyncio.create_task(server.until_over())
        warning = asyncio.create_task(warned.wait())
        await asyncio.wait([over, warning], return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            notice_ms = time.time_ns() // 1_000_000 + int(NOTICE_S * 1_000)
            _write(folder, ADDRESS, msgspec.structs.replace(address, notice_ms=notice_ms))
            await asyncio.wait([over], timeout=NOTICE_S)
        for task in (over, warning):
            task.cancel()
        listening.close()
    if (root / "attempts").is_dir():
        lease.write_lease(root / "attempts", 0)  # what runs ends by itself, and says why


def _own_address() -> str:
    """By which the controller is reached from here, so on the cluster's network; else that of the machine's name."""
    _cluster, _, rest = os.environ.get("SLURM_WORKING_CLUSTER", "").partition(":")
    controller, _, rest = rest.partition(":")
    port = rest.partition(":")[0]
    if controller and port.isdecimal():
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((controller, int(port)))  # sends nothing: the kernel only chooses the way
            return str(probe.getsockname()[0])
    return socket.gethostname()


def _share(info: NodeInfo, order: PilotOrder) -> NodeInfo:
    """What Slurm gave of the machine. Its GPUs are not offered: which of them are ours is not seen by telemetry."""
    return msgspec.structs.replace(
        info,
        cpu_milli=order.cpu_milli,
        memory_bytes=order.memory_bytes or info.memory_bytes,
        devices=(),
        device_names=(),
        device_memory_bytes=(),
    )


def _write(folder: Path, name: str, record: msgspec.Struct) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        write_whole(fd, name, msgspec.json.encode(record), durable=True)
    finally:
        os.close(fd)


def _end_everything() -> None:
    """Shims that a lease has ended take a second; then whatever is left is killed, until the kernel says it is over."""
    patience = time.monotonic() + 2 * lease.CHECK_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if time.monotonic() > patience:
            processes.kill_descendants(os.getpid())
        time.sleep(_AGAIN_S)
