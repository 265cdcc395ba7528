"""What is told about a cluster, and what Ray's processes find in their environment."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agentorch.errors import ExecutorError

#: Labels by which a Ray node says its type, the strongest first. The last is set by Ray's own autoscaler.
TYPE_LABELS: Final = ("agentorch.io/pool", "pool", "ray.io/node-group")
#: Label of nodes that were started here: the name of their record.
MACHINE_LABEL: Final = "agentorch.io/machine"
#: A resource of which each node of an autoscaled type has one: wanting three of it is wanting three nodes.
TYPE_RESOURCE: Final = "agentorch.io.node."
NO_TOKEN: Final = "none"
PROVIDERS: Final = ("none", "local", "command", "autoscaler")
LOOPBACK: Final = "127.0.0.1"

_CLUSTER: Final = "cluster.json"
_TOKEN: Final = "token"
_KNOCK_S: Final = 5.0

#: For every process of Ray that is started here.
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else the agent, and with it every job, is at nice 15
    "RAY_task_events_report_interval_ms": "0",  # else the head grows with each call
    "RAY_memory_monitor_refresh_ms": "0",  # Ray must not kill an agent for what jobs use
    "RAY_enable_metrics_collection": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nodes that are stopped are empty already
}


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster that was started, or joined, from this machine; `folder` holds the files of its sessions."""

    address: str
    folder: str
    host: str = LOOPBACK


@dataclass(frozen=True)
class RayOptions:
    """`state` is our own directory: token, records of nodes started here, logs. "" = as `agentorch ray up` left it."""

    state: Path
    address: str = ""
    python: str = ""  # interpreter that has ray and agentorch
    token_file: str = ""  # `none` = a cluster without authentication
    namespace: str = "agentorch"  # of its agents: two runtimes on one cluster need two
    agent_root: str = ""  # directory on each node for what the agents keep; "" = below the user's state directory
    provider: str = "none"
    add_command: str = ""
    remove_command: str = ""
    node_cpus: int = 0  # of each node that provider `local` starts; 0 = as many as this machine has

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ExecutorError(f"executors.ray.provider: {self.provider!r}; known: {', '.join(PROVIDERS)}")
        if self.provider == "command" and not (self.add_command and self.remove_command):
            raise ExecutorError("executors.ray.provider = command needs add_command and remove_command")

    @property
    def interpreter(self) -> str:
        return self.python or sys.executable

    def cluster(self) -> Cluster | None:
        """What was started or joined here, if anything was. Raises ExecutorError if its record can't be read."""
        path = self.state / _CLUSTER
        try:
            return msgspec.json.decode(path.read_bytes(), type=Cluster)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ExecutorError(f"{path} can't be read: {error}") from error

    def remember(self, cluster: Cluster) -> None:
        write_private(self.state / _CLUSTER, msgspec.json.encode(cluster))

    def forget(self) -> None:
        (self.state / _CLUSTER).unlink(missing_ok=True)

    def where(self) -> str:
        """HOST:PORT of the head. Raises ExecutorError when nobody said it."""
        if self.address:
            return self.address
        cluster = self.cluster()
        if cluster is None:
            raise ExecutorError(
                "no Ray cluster is known: start one with `agentorch ray up`, or set executors.ray.address"
            )
        return cluster.address

    def token_path(self) -> Path | None:
        """The file that holds the cluster's token; None = it wants none. Raises ExecutorError if there is no file."""
        if self.token_file == NO_TOKEN:
            return None
        path = Path(self.token_file).expanduser() if self.token_file else self.state / _TOKEN
        if not path.is_file():
            raise ExecutorError(
                f"{path}: no token of a Ray cluster there; copy the head's (it is in its state directory), or set "
                f"executors.ray.token_file = {NO_TOKEN!r} for a cluster without authentication"
            )
        return path

    def make_token(self) -> Path:
        """The token of a new cluster, readable by its owner only; one that is there is kept."""
        path = Path(self.token_file).expanduser() if self.token_file else self.state / _TOKEN
        if not path.exists():
            write_private(path, secrets.token_hex(32).encode())
        return path

    def take_token(self, source: Path) -> None:
        """Keep a copy of another machine's token as ours. Raises ExecutorError if it can't be read."""
        try:
            token = source.expanduser().read_bytes()
        except OSError as error:
            raise ExecutorError(f"{source}: can't read the token: {error}") from error
        write_private(self.state / _TOKEN, token)

    def environment(self) -> dict[str, str]:
        """For a process of Ray: this one's own, less what others set for Ray, with our settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        token = self.token_path()
        # Explicit, because Ray otherwise makes a token of its own, below the user's home.
        access = (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)} if token else {"RAY_AUTH_MODE": "disabled"}
        )
        return {**own, **_SETTINGS, **access}


def write_private(path: Path, data: bytes) -> None:
    """Whole or not at all, readable by the owner only. Raises ExecutorError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.rename(path)
    except OSError as error:
        raise ExecutorError(f"{path} can't be written: {error}") from error


def is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("localhost", "::1")


def knock(address: str) -> None:
    """Raises OSError if nobody listens at the head's address, ValueError if it is none.

    Ray itself would try for minutes before it says so.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
