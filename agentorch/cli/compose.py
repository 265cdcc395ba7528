"""Composition: the one place where runtime, executors, API and supervisor are put together."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from agentorch.api.access import job_token
from agentorch.api.app import Api, create_app
from agentorch.cli.brains import parse_brain, rule_brain
from agentorch.cli.executors import check_executors, executors_of, node_of, pools_of_nodes
from agentorch.config.settings import Settings
from agentorch.core.facts import Facts
from agentorch.errors import ConfigError
from agentorch.executors.hardware import local_node
from agentorch.graphs.driver import Supervisor
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.attempts import NodeInfo
from agentorch.model.brain import Brain
from agentorch.model.fleet import ApiKey, PoolSpec, Role, TenantSpec
from agentorch.model.jobs import Job, Resources
from agentorch.model.proposals import MODE_RANK
from agentorch.runtime.clock import Clock, WallClock
from agentorch.runtime.port import RuntimePort
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.probe import HostProbe, NvmlProbe
from agentorch.telemetry.sampler import Sampler

LEDGER_FILE = "ledger.db"
DEFAULT_TENANT = "default"
SAMPLE_EVERY_S = 2.0


@dataclass(frozen=True)
class Serving:
    """What a running server is made of. `new_key` is an admin key made just now, to be shown once."""

    url: str
    runtime: Runtime
    supervisor: Supervisor
    new_key: str | None
    stopped: asyncio.Event  # the runtime failed, or the HTTP server ended

    @property
    def failure(self) -> BaseException | None:
        return self.runtime.loop.failure


def default_pools(node: NodeInfo) -> tuple[PoolSpec, ...]:
    """Pools from the hardware found, free of charge: one worker each, which is all of its share of the machine.

    With GPUs the machine is halved: one half runs what needs none, the other holds every GPU.
    """
    if not node.devices:
        return (PoolSpec(name="cpu", shape=Resources(cpu_milli=node.cpu_milli, memory_bytes=node.memory_bytes)),)
    half_cpu, half_memory = node.cpu_milli // 2, node.memory_bytes // 2
    gpus = Resources(
        cpu_milli=node.cpu_milli - half_cpu,
        memory_bytes=node.memory_bytes - half_memory,
        gpus=len(node.devices),
        gpu_memory_bytes=min(node.device_memory_bytes),
        gpu_model=node.device_names[0],
    )
    cpu = Resources(cpu_milli=half_cpu, memory_bytes=half_memory)
    return (PoolSpec(name="cpu", shape=cpu), PoolSpec(name="gpu", shape=gpus))


def check_hardware(pools: Sequence[PoolSpec], node: NodeInfo) -> None:
    """Local pools are disjoint shares of this machine. Raises ConfigError when they need more than it has."""
    local = [pool for pool in pools if pool.executor == "local"]
    needs = {
        "cpus": (sum(pool.max_workers * pool.shape.cpu_milli for pool in local) / 1000, node.cpu_milli / 1000),
        "memory": (
            sum(pool.max_workers * pool.shape.memory_bytes for pool in local) / 2**30,
            node.memory_bytes / 2**30,
        ),
        "gpus": (sum(pool.max_workers * pool.shape.gpus for pool in local), len(node.devices)),
    }
    for what, (need, have) in needs.items():
        if need > have:
            raise ConfigError(
                f"pools: max_workers x {what} adds up to {need:g} over all local pools, this machine has {have:g}; "
                f"lower max_workers or {what} of a pool"
            )


def split_devices(pools: Sequence[PoolSpec], node: NodeInfo) -> dict[str, tuple[str, ...]]:
    """GPUs of this machine for each local pool, in the order of the configuration."""
    left = list(node.devices)
    out: dict[str, tuple[str, ...]] = {}
    for pool in pools:
        count = pool.max_workers * pool.shape.gpus if pool.executor == "local" else 0
        out[pool.name], left = tuple(left[:count]), left[count:]
    return out


def configuration(settings: Settings, node: NodeInfo, facts: Facts, new_key: str | None) -> Sequence[cmd.Command]:
    """What to change in the state so that it is as configured. What the ledger knows better stays: sizes, the mode."""
    pools = settings.pools or found_pools(settings.server.executor, node, facts)
    devices = split_devices(pools, node)
    names = {pool.name for pool in pools}
    out: list[cmd.Command] = [cmd.RemovePool(pool=name) for name in facts.pools if name not in names]
    out.extend(cmd.ConfigurePool(spec=pool, devices=devices[pool.name]) for pool in pools)
    tenants = settings.tenants
    if not any(tenant.name == DEFAULT_TENANT for tenant in tenants) and DEFAULT_TENANT not in facts.tenants:
        out.append(cmd.ConfigureTenant(spec=TenantSpec(name=DEFAULT_TENANT)))
    out.extend(cmd.ConfigureTenant(spec=tenant) for tenant in tenants)
    out.append(cmd.ConfigureGuardrails(settings=settings.guardrail_settings(), by="config"))
    mode = settings.supervisor.mode
    if facts.epoch == 1 or MODE_RANK[mode] < MODE_RANK[facts.mode]:
        out.append(cmd.SetMode(mode=mode, by="config", reason="configured"))
    out.extend(_keys(settings.client.key, facts, new_key))
    return out


def found_pools(executor: str, node: NodeInfo, facts: Facts) -> tuple[PoolSpec, ...]:
    """Pools from what there is. While an executor lists no nodes, its pools stay as they were."""
    if executor == "local":
        return default_pools(node)
    found = pools_of_nodes(executor, facts.nodes.values())
    known = tuple(pool.spec for pool in facts.pools.values() if pool.spec.executor == executor)
    missing = tuple(spec for spec in known if spec.name not in {pool.name for pool in found})
    return (*found, *missing)


def _keys(environment_key: str | None, facts: Facts, new_key: str | None) -> list[cmd.Command]:
    """The admin key of the environment takes the place of an older one of the environment."""
    out: list[cmd.Command] = []
    for name, secret in (("admin-env", environment_key), ("admin", new_key)):
        if not secret:
            continue
        sha256 = hashlib.sha256(secret.encode()).hexdigest()
        known = facts.keys.get(name)
        if known is not None and known.sha256 == sha256:
            continue
        if known is not None:
            out.append(cmd.RevokeKey(key=name, by="config"))
        key = ApiKey(id=name, sha256=sha256, roles=(Role.admin,), name=name, added_ms=facts.at_ms)
        out.append(cmd.AddKey(key=key, by="config"))
    return out


def server_secret(data_dir: Path) -> bytes:
    """The secret that job tokens are signed with; made at the first start, readable by the owner only."""
    path = data_dir / "secret"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def listening_socket(host: str, port: int) -> socket.socket:
    """Bound before anything starts, so that a taken port is a clear error. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Naming TCP lets asyncio switch Nagle's algorithm off: with it each answer would wait for a delayed ACK, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"server.port: can't bind {host}:{port}: {error.strerror}; choose another with --port"
        ) from error
    listener.listen(1024)
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    *,
    clock: Clock | None = None,
    brain: Brain | None = None,
    cycles: bool = True,
) -> AsyncIterator[Serving]:
    """A whole server, up on entry, down in order on exit.

    Raises ConfigError, LedgerError, ExecutorError, Refused. `cycles` False leaves the supervisor's cycles to the
    caller.
    """
    clock = clock if clock is not None else WallClock()
    deciding = brain if brain is not None else parse_brain(settings.supervisor.brain, settings)
    (data_dir := settings.server.data_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
    sampler = Sampler([HostProbe(), NvmlProbe()], clock.now_ms)
    devices = tuple(await asyncio.to_thread(sampler.sample_once))
    node = local_node("local", devices)
    check_hardware(settings.pools, node)
    listener = listening_socket(settings.server.host, settings.server.port)
    url = url_of(listener)
    secret = server_secret(data_dir)
    new_key: str | None = None

    def environment(job: Job) -> dict[str, str]:
        return {"AGENTORCH_URL": settings.server.url or url, "AGENTORCH_TOKEN": job_token(secret, job.id)}

    executors = executors_of(
        settings,
        data_dir,
        devices=devices,
        energy=sampler.energy_mj,
        placement=lambda attempt: node_of(runtime.loop.state.facts, attempt),
        clock=clock,
    )
    ledger = SqliteLedger(data_dir / LEDGER_FILE)
    runtime = Runtime(ledger, executors, sampler, clock=clock, environment=environment)

    def configure(facts: Facts) -> Sequence[cmd.Command]:
        nonlocal new_key
        check_executors(facts, executors)
        if not settings.client.key and not facts.keys:
            new_key = f"ao-{secrets.token_urlsafe(32)}"
        return configuration(settings, node, facts, new_key)

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)
        stack.push_async_callback(sampler.close)
        await sampler.start(SAMPLE_EVERY_S)
        stack.push_async_callback(runtime.close)
        await runtime.open(configure, look=executors.keys() - {"local"})
        gc.collect()
        gc.freeze()  # what was loaded stays: later collections need not look through it
        control = RuntimePort(runtime)
        supervisor = Supervisor(
            control,
            deciding,
            rule_brain(settings.supervisor),
            cycle_s=settings.supervisor.cycle_s,
            timeout_s=settings.supervisor.timeout_s,
            checkpoints=data_dir / "checkpoints.db",
            wait=clock.wait,
        )
        stack.push_async_callback(supervisor.close)
        await supervisor.start(ticking=cycles)
        app = create_app(
            runtime, secret=secret, settings=settings.server, brain=lambda: deciding.id, foresee=control.foresee
        )
        await stack.enter_async_context(http_server(app, listener))
        yield Serving(url, runtime, supervisor, new_key, runtime.loop.stopped)


class _Server(uvicorn.Server):
    """uvicorn that says when it is up; signals stay with the caller."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def http_server(app: Api, listener: socket.socket) -> AsyncIterator[None]:
    """The HTTP server on a socket of ours, up on entry."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    task = asyncio.create_task(server._serve([listener]), name="http")
    await server.up.wait()
    try:
        yield
    finally:
        await app.aclose()  # streams end first, or the server would wait for their readers
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
