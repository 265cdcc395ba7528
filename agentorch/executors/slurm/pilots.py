"""Nodes made of Slurm's allocations: the transport whose members are pilots.

Each pilot has a folder below `root/pilots`, made before Slurm is asked and named like its job. A pilot that Slurm has
in its queue or runs is one that stands; it is a member from when it has said where it listens until Slurm has seen its
end. So nothing needs to be remembered, and a killed runtime finds its pilots again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.executors.remote.agent_main import EXIT
from agentorch.executors.remote.line import Line, Streams
from agentorch.executors.remote.transport import Member
from agentorch.executors.slurm.batch import LOG, Submission, script
from agentorch.executors.slurm.door import knock, make_token
from agentorch.executors.slurm.names import job_name, own_name
from agentorch.executors.slurm.options import SlurmOptions
from agentorch.executors.slurm.pilot import ADDRESS, ORDER, PilotAddress, PilotOrder
from agentorch.executors.slurm.tools import SlurmJob, SlurmTools
from agentorch.model import limits

_BOOTSTRAP: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentorch.executors.slurm.pilot import main; main(sys.argv[2])"
)
_PILOTS: Final = "pilots"
_QUERY_S: Final = 1.0
_EXIT_PATIENCE_S: Final = 10.0
_WARNING_S: Final = 60
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class PilotShape:
    """What one pilot asks Slurm for. `time_min` 0 = as long as the partition allows; memory 0 = its default."""

    cpus: int = 1
    memory_bytes: int = 0
    time_min: int = 0
    partition: str = ""


class SlurmTransport:
    """Keeps `agentorch.executors.remote.transport.Transport`. `shapes` has the node types that can be asked for.

    `root` lies on the shared file system. `bind` is the address that pilots listen on ("" = the one by which their
    node reaches Slurm's controller), `scratch` a folder of each node for attempts ("" = below `root`, where logs
    outlive the pilot).
    """

    def __init__(
        self,
        root: Path,
        shapes: Mapping[str, PilotShape],
        options: SlurmOptions | None = None,
        *,
        bind: str = "",
        scratch: str = "",
    ) -> None:
        self._folder = root / _PILOTS
        self._shapes = dict(shapes)
        self._options = options or SlurmOptions()
        self._tools = SlurmTools(self._options)
        self._bind = bind
        self._scratch = scratch
        self._lines: dict[str, Line] = {}
        self._asking = asyncio.Lock()
        self._asked_at = -_QUERY_S
        self._live: dict[str, SlurmJob] = {}

    async def open(self) -> None:
        self._tools.check()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = self._folder.resolve()
            self._token = make_token(self._folder)
            self._name = own_name(self._folder)
        except OSError as error:
            raise ExecutorError(f"{self._folder} can't be used for pilots: {error}") from error
        with contextlib.suppress(NodeUnreachable):  # which ones stand is not known: the next time will do
            await asyncio.to_thread(self._forget_old, await self._standing())

    async def members(self) -> list[Member]:
        live = await self._standing()
        return await asyncio.to_thread(lambda: [member for name in live if (member := self._member(name))])

    async def call(self, node: str, method: str, body: bytes, timeout_s: float) -> bytes:
        line = self._lines.setdefault(node, Line(partial(self._connect, node)))
        try:
            async with asyncio.timeout(timeout_s):
                return await line.ask(method, body)
        except TimeoutError as error:
            raise NodeUnreachable(f"pilot {node} did not answer {method!r} within {timeout_s:g} s") from error
        except OSError as error:
            raise NodeUnreachable(f"pilot {node}: {error}") from error

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        """See `Transport.resize`. Pilots that still wait in Slurm's queue are the first to go."""
        for node in remove:
            await self._release(node)
        try:
            live = await self._standing(afresh=True)
            mine = [name for name in live if self._type_of(name) == node_type and name not in remove]
            waiting = [name for name in mine if not (self._folder / name / ADDRESS).exists()]
            for name in waiting[: max(0, len(mine) - target)]:
                await asyncio.to_thread(self._tools.cancel, [live[name].id])
            for _ in range(target - len(mine)):
                await asyncio.to_thread(self._submit, node_type)
        except (ExecutorError, OSError) as error:
            raise ProvisioningError(f"pilots of type {node_type!r}: {error}") from error

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()
        self._lines.clear()

    # -- pilots

    async def _standing(self, *, afresh: bool = False) -> dict[str, SlurmJob]:
        """The jobs of all pilots that have not ended, by the pilot's name. Raises NodeUnreachable."""
        async with self._asking:
            if afresh or time.monotonic() - self._asked_at >= _QUERY_S:
                jobs = await asyncio.to_thread(self._tools.jobs)
                prefix = job_name(self._name, "")
                mine = [job for job in jobs if job.is_live and job.name.startswith(prefix)]
                self._live = {job.name.removeprefix(prefix): job for job in mine}
                self._asked_at = time.monotonic()
        return self._live

    def _forget_old(self, standing: Collection[str]) -> None:
        """Remove the folders of pilots that ended long ago, with what lies in them."""
        before = time.time() - limits.ATTEMPT_DIRECTORIES_KEPT_MS / 1_000
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in standing:
                places = [place for place in (folder, folder / "node" / "attempts") if place.exists()]
                if max(place.stat().st_mtime for place in places) < before:
                    shutil.rmtree(folder, ignore_errors=True)

    def _member(self, name: str) -> Member | None:
        try:
            address = msgspec.json.decode((self._folder / name / ADDRESS).read_bytes(), type=PilotAddress)
        except (OSError, msgspec.DecodeError):
            return None  # not there yet
        return Member(
            id=name,
            type=self._type_of(name),
            address=address.host,
            labels=(("slurm_job", address.slurm_job), ("slurm_node", address.slurm_node)),
            notice_ms=address.notice_ms,
        )

    def _type_of(self, name: str) -> str:
        try:
            return msgspec.json.decode((self._folder / name / ORDER).read_bytes(), type=PilotOrder).node_type
        except (OSError, msgspec.DecodeError):
            return ""

    def _submit(self, node_type: str) -> None:
        if node_type not in self._shapes:
            raise ProvisioningError(f"there are no such pilots; there are {sorted(self._shapes)}")
        shape = self._shapes[node_type]
        name = f"{node_type}-{secrets.token_hex(5)}"
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        order = PilotOrder(
            node_type=node_type,
            cpu_milli=1_000 * shape.cpus,
            memory_bytes=shape.memory_bytes,
            bind=self._bind,
            scratch=self._scratch,
        )
        (folder / ORDER).write_bytes(msgspec.json.encode(order))
        arguments = [
            f"--job-name={job_name(self._name, name)}",
            f"--output={folder}/{LOG}",
            f"--chdir={folder}",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={shape.cpus}",
            f"--signal=B:TERM@{_WARNING_S}",
        ]
        arguments += [f"--mem={-(-shape.memory_bytes // _MIB)}M"] if shape.memory_bytes else []
        arguments += [f"--time={shape.time_min}"] if shape.time_min else []
        arguments += [f"--partition={shape.partition}"] if shape.partition else []
        try:
            text = script(self._options, str(folder), bootstrap=_BOOTSTRAP, flags=())
            self._tools.submit(Submission(text, arguments))
        except NodeUnreachable:
            raise  # it may have been taken: then it stands, and is counted
        except ExecutorError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _release(self, node: str) -> None:
        """It ends by itself when it is asked to; Slurm ends it all the same."""
        with contextlib.suppress(NodeUnreachable):
            await self.call(node, EXIT, b"", _EXIT_PATIENCE_S)
        line = self._lines.pop(node, None)
        if line is not None:
            await line.close()
        try:
            job = (await self._standing(afresh=True)).get(node)
            if job is not None:
                await asyncio.to_thread(self._tools.warn, [job.id])
        except NodeUnreachable as error:
            raise ProvisioningError(f"pilot {node} may not have been released: {error}") from error

    async def _connect(self, node: str) -> Streams:
        try:
            data = (self._folder / node / ADDRESS).read_bytes()
            address = msgspec.json.decode(data, type=PilotAddress)
        except msgspec.DecodeError as error:
            raise ConnectionError(f"its {ADDRESS} can't be read: {error}") from error
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            await knock(reader, writer, self._token)
        except BaseException:
            writer.close()
            raise
        return reader, writer
