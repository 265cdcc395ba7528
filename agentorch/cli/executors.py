"""Which executors a server is made of. Engines are imported only where they are asked for."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentorch.config.settings import RaySettings, Settings, SlurmSettings
from agentorch.core.facts import Facts
from agentorch.errors import ConfigError
from agentorch.executors.contract import Executor
from agentorch.executors.energy import ReadEnergy
from agentorch.executors.local import LocalExecutor
from agentorch.model import limits
from agentorch.model.attempts import parse_attempt_id
from agentorch.model.fleet import Node, NodeState, PoolSpec
from agentorch.model.jobs import Resources
from agentorch.model.observation import DeviceSample
from agentorch.runtime.clock import Clock

if TYPE_CHECKING:
    from agentorch.executors.slurm.options import SlurmOptions

Placement = Callable[[str], str | None]


def executors_of(
    settings: Settings,
    data_dir: Path,
    *,
    devices: Sequence[DeviceSample],
    energy: ReadEnergy,
    placement: Placement,
    clock: Clock,
) -> dict[str, Executor]:
    """The local executor, always, and those that pools, or `server.executor`, name.

    Raises ExecutorError when an engine's settings contradict each other.
    """
    named = {settings.server.executor, *(pool.executor for pool in settings.pools)}
    made: dict[str, Executor] = {"local": LocalExecutor(data_dir / "attempts", devices=tuple(devices), energy=energy)}
    if "ray" in named:
        made["ray"] = _ray(settings.ray, data_dir / "ray", placement, clock)
    if "slurm" in named:
        made["slurm"] = _slurm(settings.slurm, data_dir)
    if "pilot" in named:
        made["pilot"] = _pilots(settings, data_dir, placement, clock)
    return made


def _ray(settings: RaySettings, directory: Path, placement: Placement, clock: Clock) -> Executor:
    from agentorch.executors.ray.options import RayOptions
    from agentorch.executors.ray.transport import RayTransport
    from agentorch.executors.remote.executor import RemoteExecutor

    options = RayOptions(
        state=ray_state(settings),
        namespace=_namespace(directory),
        address=settings.address,
        python=settings.python,
        token_file=settings.token_file,
        agent_root=settings.agent_root,
        provider=settings.provider,
        add_command=settings.add_command,
        remove_command=settings.remove_command,
        node_cpus=settings.node_cpus,
    )
    transport = RayTransport(options)
    return RemoteExecutor(
        transport,
        directory,
        name="ray",
        placement=placement,
        lease_s=settings.lease_ms / 1000,
        clock_ms=clock.now_ms,
    )


def _namespace(directory: Path) -> str:
    """Of this server's agents, for as long as its data directory lives: two servers may share a cluster."""
    path = directory / "namespace"
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(f"agentorch-{secrets.token_hex(4)}\n", encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def ray_state(settings: RaySettings) -> Path:
    """The directory that `agentorch ray` keeps: one a user, unless it is configured."""
    if settings.state:
        return Path(settings.state).expanduser()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "agentorch" / "ray"


def _slurm(settings: SlurmSettings, data_dir: Path) -> Executor:
    from agentorch.executors.slurm.executor import SlurmExecutor

    return SlurmExecutor(_slurm_root(settings, data_dir), _slurm_options(settings))


def _slurm_root(settings: SlurmSettings, data_dir: Path) -> Path:
    return Path(settings.root).expanduser() if settings.root else data_dir / "attempts-slurm"


def _slurm_options(settings: SlurmSettings) -> SlurmOptions:
    from agentorch.executors.slurm.options import SlurmOptions

    return SlurmOptions(
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        extra=settings.extra,
        commands=settings.commands,
        conf=Path(settings.conf).expanduser() if settings.conf else None,
        python=settings.python or sys.executable,
        fence_s=settings.fence_ms / 1000,
    )


def _pilots(settings: Settings, data_dir: Path, placement: Placement, clock: Clock) -> Executor:
    from agentorch.executors.remote.executor import RemoteExecutor
    from agentorch.executors.slurm.pilots import PilotShape, SlurmTransport

    kinds = {one.name for one in settings.pilots}
    for pool in settings.pools:
        if pool.executor == "pilot" and pool.node_type not in kinds:
            raise ConfigError(
                f"pools.{pool.name}.node_type = {pool.node_type!r}: expected the name of a [pilots.NAME] table; "
                f"there are: {', '.join(sorted(kinds)) or 'none'}"
            )
    shapes = {
        one.name: PilotShape(one.cpus, one.memory_bytes, -(-one.time_ms // limits.MINUTE_MS), one.partition)
        for one in settings.pilots
    }
    root = _slurm_root(settings.slurm, data_dir)
    transport = SlurmTransport(root, shapes, _slurm_options(settings.slurm))
    return RemoteExecutor(transport, data_dir / "pilots", name="pilot", placement=placement, clock_ms=clock.now_ms)


def node_of(facts: Facts, attempt: str) -> str | None:
    """The node on which an attempt, or a rank of it, was ordered, as the ledger has it; None = unknown."""
    job, number, rank = parse_attempt_id(attempt)
    found = facts.jobs.get(job)
    known = next((one for one in found.attempts if one.number == number), None) if found is not None else None
    if known is None or rank >= len(known.members):
        return None
    return known.members[rank].node or None


def pools_of_nodes(executor: str, nodes: Collection[Node]) -> tuple[PoolSpec, ...]:
    """One pool for each type of node that an executor lists: its workers are whole nodes, at an unknown price."""
    types: dict[str, list[Node]] = {}
    for node in nodes:
        if node.executor == executor and node.state is not NodeState.down:
            types.setdefault(node.type, []).append(node)
    return tuple(_pool_of(executor, kind, found) for kind, found in sorted(types.items()))


def _pool_of(executor: str, kind: str, nodes: Sequence[Node]) -> PoolSpec:
    gpus = min(len(node.devices) for node in nodes)
    models = {name for node in nodes for name in node.device_names}
    shape = Resources(
        cpu_milli=min(node.cpu_milli for node in nodes),
        memory_bytes=min(node.memory_bytes for node in nodes),
        gpus=gpus,
        gpu_memory_bytes=min((size for node in nodes for size in node.device_memory_bytes), default=0) if gpus else 0,
        gpu_model=models.pop() if gpus and len(models) == 1 else "",
    )
    return PoolSpec(
        name=kind or executor,
        executor=executor,
        node_type=kind or "*",
        workers=len(nodes),
        max_workers=len(nodes),
        shape=shape,
        price_usd_micros_per_hour=None,
    )


def check_executors(facts: Facts, executors: Collection[str]) -> None:
    """Work that still runs elsewhere is not left behind. Raises ConfigError naming what is missing."""
    for name in facts.running:
        attempt = facts.jobs[name].attempts[-1]
        pool = facts.pools.get(attempt.pool)
        if pool is not None and pool.spec.executor not in executors:
            raise ConfigError(
                f"{name} runs in pool {attempt.pool} of the executor {pool.spec.executor!r}, which no pool names any "
                f"more: keep that pool until its work has ended, or set server.executor = {pool.spec.executor!r} once"
            )
