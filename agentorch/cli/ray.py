"""`agentorch ray up|join|status|down`: a Ray cluster with our settings, made of processes that are ours to end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from agentorch.cli.common import Common
from agentorch.cli.output import Printer, note
from agentorch.config import load
from agentorch.errors import ConfigError, ExecutorError

if TYPE_CHECKING:
    from agentorch.executors.ray.machines import Machine
    from agentorch.executors.ray.options import RayOptions
    from agentorch.executors.remote.transport import Member

app = App(name="ray", help="Start, join, show and end a Ray cluster.")


@app.command
def up(
    *,
    host: str = "127.0.0.1",
    port: int = 6379,
    num_cpus: int = 0,
    autoscaling_config: Path | None = None,
    common: Common | None = None,
) -> int:
    """Start a cluster with this machine at its head; print the address for others to join.

    Parameters
    ----------
    host
        Address of this machine that others reach it by. Loopback by default: nobody else does.
    port
        Port of the head; 0 takes a free one.
    num_cpus
        Processors that the head itself offers; with 0 it only keeps the cluster together.
    autoscaling_config
        Configuration of Ray's own autoscaler, for provider autoscaler.
    """
    options = _options(common)
    _need_ray(options)
    from agentorch.executors.ray.machines import Machines

    cluster = Machines(options).start_head(host=host, port=port, cpus=num_cpus, autoscaling=autoscaling_config)
    note(f"a Ray cluster is up; other machines join it with a copy of {options.token_path()}:")
    note(f"  agentorch ray join {cluster.address} --token-file FILE")
    note("serve it with: agentorch serve --executor ray")
    print(cluster.address)
    return 0


@app.command
def join(
    address: str = "",
    *,
    token_file: str = "",
    host: str = "",
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    node_type: str = "",
    label: list[str] | None = None,
    common: Common | None = None,
) -> int:
    """Make this machine, or a share of it, a node of the cluster.

    Parameters
    ----------
    address
        HOST:PORT of the head; default: the cluster that was started or joined here.
    token_file
        File with the cluster's token, a copy of the head's.
    host
        Address of this machine that the head reaches it by; default: the one that it would use itself.
    num_cpus
        Processors that it offers; default: all.
    num_gpus
        GPUs that it offers; default: all.
    node_type
        Which pools may have workers here: their node_type.
    label
        Further labels, as NAME=VALUE; may be repeated.
    """
    options = _options(common)
    if token_file:
        options.take_token(Path(token_file))
    _need_ray(options)
    from agentorch.executors.ray.machines import Machines

    labels = dict(_label(one) for one in label or [])
    machine = Machines(options).join(
        address, host=host, cpus=num_cpus, gpus=num_gpus, node_type=node_type, labels=labels
    )
    note(f"{machine.name} is a node of {machine.address}; `agentorch ray down` takes this machine out again")
    print(machine.name)
    return 0


@app.command
def status(*, common: Common | None = None) -> int:
    """Show the nodes of the cluster, and which of them were started here."""
    common = common or Common()
    options = _options(common)
    from agentorch.executors.ray.machines import Machines

    machines = Machines(options).running()
    members = asyncio.run(_members(options))
    rows = [_row(member, machines) for member in members]
    shown = {row["machine"] for row in rows}
    rows += [_unlisted(machine) for machine in machines if machine.name not in shown]
    columns = ("node", "type", "address", "state", "machine", "pid")
    Printer(common.output).rows(rows, [(name, _field(name)) for name in columns])
    return 0


@app.command
def down(*, common: Common | None = None) -> int:
    """End every node that was started here, and nothing else. With the head goes the cluster."""
    options = _options(common)
    from agentorch.executors.ray.machines import Machines

    ended = Machines(options).stop_all()
    note(f"ended: {', '.join(machine.name for machine in ended) or 'nothing of ours runs here'}")
    return 0


def _options(common: Common | None) -> RayOptions:
    from agentorch.cli.executors import ray_state
    from agentorch.executors.ray.options import RayOptions

    settings = load(config_file=(common or Common()).config).ray
    return RayOptions(
        state=ray_state(settings), address=settings.address, python=settings.python, token_file=settings.token_file
    )


def _need_ray(options: RayOptions) -> None:
    """Raises ConfigError early: Ray's own words would be a traceback in a log."""
    import importlib.util

    if not options.python and importlib.util.find_spec("ray") is None:
        raise ConfigError("ray is not installed here: pip install 'agentorch[ray]', or set executors.ray.python")


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals) or "," in text:
        raise ConfigError(f"--label {text!r}: expected NAME=VALUE")
    return name, value


async def _members(options: RayOptions) -> list[Member]:
    from agentorch.executors.ray.transport import RayTransport

    transport = RayTransport(options)
    try:
        await transport.open()
        return await transport.members()
    except ExecutorError as error:
        raise ConfigError(f"the cluster does not answer: {error}") from error
    finally:
        await transport.close()


def _row(member: Member, machines: list[Machine]) -> dict[str, Any]:
    from agentorch.executors.ray.options import MACHINE_LABEL

    name = dict(member.labels).get(MACHINE_LABEL, "")
    machine = next((one for one in machines if one.name == name), None)
    state = "up" if member.notice_ms is None else "draining"
    return {
        "node": member.id,
        "type": member.type,
        "address": member.address,
        "state": state,
        "machine": name if machine else "",
        "pid": machine.pid if machine else None,
    }


def _unlisted(machine: Machine) -> dict[str, Any]:
    state = "head, offers nothing" if machine.head else "not listed"
    row = {"node": "", "type": "", "address": machine.address, "state": state}
    return {**row, "machine": machine.name, "pid": machine.pid}


def _field(name: str) -> Any:
    return lambda row: row[name]
