"""Ray nodes as processes of this machine: started, recorded, and ended one by one.

Each has a record and a log below the state directory, so that whoever comes later ends exactly what was started here.
Blocking: callers on an event loop use a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil

from agentorch.errors import ProvisioningError
from agentorch.executors.ray.options import (
    LOOPBACK,
    MACHINE_LABEL,
    TYPE_LABELS,
    Cluster,
    RayOptions,
    knock,
    write_private,
)

_HOST: Final = "agentorch.executors.ray.host"
_READY: Final = "Ray runtime started"
_START_S: Final = 60.0
_STOP_S: Final = 8.0  # a raylet whose head is away does not heed SIGTERM
_LOOK_S: Final = 0.05
_STORE_BYTES: Final = 80_000_000  # of the object store: only long logs pass through it
DEFAULT_PORT: Final = 6379


class Machine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A node that was started here. `born` is its process's start, in clock ticks after boot: no other one has it."""

    name: str
    pid: int
    born: int
    head: bool = False
    type: str = ""
    address: str = ""


class Machines:
    """The nodes of this machine that belong to this state directory."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._folder = options.state / "nodes"
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start_head(
        self,
        *,
        host: str = LOOPBACK,
        port: int = DEFAULT_PORT,
        cpus: int = 0,
        autoscaling: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Cluster:
        """A new cluster with this machine at its head; `port` 0 takes a free one. Raises ProvisioningError.

        `autoscaling` configures Ray's autoscaler, the second version: only to that one a node with an agent is no idle
        one. `variables` are added to the environment of Ray's processes.
        """
        if any(machine.head for machine in self.running()):
            raise ProvisioningError("a cluster that was started here runs already: `agentorch ray down` ends it")
        self._options.make_token()
        before = self._options.cluster()
        if before is not None and not self.running():
            shutil.rmtree(before.folder, ignore_errors=True)  # of a cluster that nobody ended
        port = port or _free_port(host)
        cluster = Cluster(address=f"{host}:{port}", folder=self._session_folder(), host=host)
        self._options.remember(cluster)
        scaling = ["--autoscaling-config", str(autoscaling)] if autoscaling else ["--no-monitor"]
        arguments = ["--head", "--port", str(port), "--include-dashboard", "false", *scaling]
        try:
            chosen = {"RAY_enable_autoscaler_v2": "1"} if autoscaling else {}
            self._start(cluster, arguments, head=True, cpus=cpus, variables={**chosen, **(variables or {})})
        except BaseException:
            self._options.forget()
            shutil.rmtree(cluster.folder, ignore_errors=True)
            raise
        return cluster

    def join(
        self,
        address: str = "",
        *,
        host: str = "",
        cpus: int | None = None,
        gpus: int | None = None,
        node_type: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Machine:
        """One more node of the cluster, on this machine. "" = the cluster known here. Raises ProvisioningError.

        `host` is the address of this machine; by default loopback if the head is there, else what Ray finds.
        """
        cluster = self._options.cluster()
        if cluster is None or address not in ("", cluster.address):
            if cluster is not None and self.running():
                raise ProvisioningError(f"this machine is in the cluster {cluster.address}: leave it first")
            address = address or self._options.where()
            host = host or (LOOPBACK if address.startswith(LOOPBACK) else "")
            cluster = Cluster(address=address, folder="", host=host)
        try:
            knock(cluster.address)
        except (OSError, ValueError) as error:
            raise ProvisioningError(f"no Ray cluster answers at {cluster.address!r}: {error}") from error
        arguments = ["--address", cluster.address]
        if gpus is not None:
            arguments += ["--num-gpus", str(gpus)]
        if not cluster.folder:
            cluster = msgspec.structs.replace(cluster, folder=self._session_folder())
        try:
            machine = self._start(cluster, arguments, cpus=cpus, node_type=node_type, labels=labels or {}, host=host)
        except BaseException:
            if not self.running():
                shutil.rmtree(cluster.folder, ignore_errors=True)
            raise
        self._options.remember(cluster)
        return machine

    def running(self) -> list[Machine]:
        """Those that live; the records of those that died, and their zombies, are tidied away."""
        for pid, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[pid]
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                machine = msgspec.json.decode(path.read_bytes(), type=Machine)
            except FileNotFoundError:
                continue  # another process tidied it
            except (OSError, msgspec.DecodeError) as error:
                raise ProvisioningError(f"{path} can't be read: {error}") from error
            if _born(machine.pid) == machine.born:
                found.append(machine)
            else:
                path.unlink(missing_ok=True)
        return found

    def stop(self, machine: Machine) -> None:
        """End this node and nothing else; returns when it is gone."""
        try:
            pidfd = os.pidfd_open(machine.pid)
        except ProcessLookupError:
            pidfd = -1
        if pidfd >= 0:
            try:
                if _born(machine.pid) == machine.born:
                    self._end(machine, pidfd)
            finally:
                os.close(pidfd)
        (self._folder / f"{machine.name}.json").unlink(missing_ok=True)

    def stop_all(self) -> list[Machine]:
        """End every node that was started here, the head last, and forget the cluster. Returns those that it ended."""
        machines = sorted(self.running(), key=lambda machine: machine.head)
        for machine in machines:
            self.stop(machine)
        cluster = self._options.cluster()
        if cluster is not None:
            shutil.rmtree(cluster.folder, ignore_errors=True)
            self._options.forget()
        return machines

    # -- one process

    def _start(
        self,
        cluster: Cluster,
        arguments: Sequence[str],
        *,
        head: bool = False,
        cpus: int | None = None,
        node_type: str = "",
        labels: Mapping[str, str] | None = None,
        host: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Machine:
        name = f"{'head' if head else 'node'}-{secrets.token_hex(4)}"
        marks = {**(labels or {}), MACHINE_LABEL: name, **({TYPE_LABELS[0]: node_type} if node_type else {})}
        command = [self._options.interpreter, "-m", _HOST, host or cluster.host, *arguments]
        command += ["--temp-dir", cluster.folder, "--object-store-memory", str(_STORE_BYTES)]
        command += ["--include-log-monitor", "false", "--disable-usage-stats"]
        command += ["--labels", ",".join(f"{key}={value}" for key, value in sorted(marks.items()))]
        if cpus is not None:
            command += ["--num-cpus", str(cpus)]
        log = self._folder / f"{name}.log"
        machine = Machine(name=name, pid=0, born=0, head=head, type=node_type, address=cluster.address)
        with self._alone():
            return self._spawn(command, machine, log, {**self._options.environment(), **(variables or {})})

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One start at a time: two that start at once may choose the same name for their sockets."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _spawn(self, command: Sequence[str], machine: Machine, log: Path, environment: Mapping[str, str]) -> Machine:
        try:
            with log.open("wb") as sink:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,  # it outlives whoever started it
                )
        except OSError as error:
            raise ProvisioningError(f"a Ray node can't be started: {error}") from error
        self._children[process.pid] = process
        machine = msgspec.structs.replace(machine, pid=process.pid, born=_born(process.pid))
        # Recorded before it is up, so that it is not forgotten when whoever starts it dies meanwhile.
        write_private(self._folder / f"{machine.name}.json", msgspec.json.encode(machine))
        self._await_ready(machine, process, log)
        return machine

    def _await_ready(self, machine: Machine, process: subprocess.Popen[bytes], log: Path) -> None:
        give_up = time.monotonic() + _START_S
        while _READY not in log.read_text(errors="replace"):
            ended = process.poll() is not None
            if ended or time.monotonic() > give_up:
                why = f"ended with {process.returncode}" if ended else f"was not up within {_START_S:g} s"
                said = log.read_text(errors="replace")[-1_000:].strip()
                self.stop(machine)
                raise ProvisioningError(f"Ray node {machine.name} {why}; it said:\n{said}")
            time.sleep(_LOOK_S)

    def _end(self, machine: Machine, pidfd: int) -> None:
        # What dies with it by the kernel's hand: Ray's processes are bound to their parent's life.
        session = [process for process in psutil.process_iter() if _session(process.pid) == machine.pid]
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not session:
                break
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            _gone, session = psutil.wait_procs(session, timeout=_STOP_S)
        for process in session:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(session, timeout=_STOP_S)
        child = self._children.pop(machine.pid, None)
        if child is not None:
            child.wait()

    def _session_folder(self) -> str:
        """Not below the state directory: the names of Ray's sockets are long, and a socket's may have 107 bytes."""
        return tempfile.mkdtemp(prefix="agentorch-ray-")


def _born(pid: int) -> int:
    """The start of this process in clock ticks after boot; 0 = there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
