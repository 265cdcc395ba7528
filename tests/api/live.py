"""A real server for tests: uvicorn on a free loopback port, a real ledger file, real processes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from agentorch.api.access import hash_secret, job_token, new_secret
from agentorch.api.app import Api, create_app
from agentorch.client import Client
from agentorch.config import ServerSettings
from agentorch.core.facts import Facts
from agentorch.executors.local import LocalExecutor
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.fleet import ApiKey, PoolSpec, Role, TenantSpec
from agentorch.model.jobs import Job, Resources
from agentorch.runtime.clock import Clock
from agentorch.runtime.port import RuntimePort
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.probe import HostProbe
from agentorch.telemetry.sampler import Sampler

SECRET = b"s" * 32
Result = TypeVar("Result")

POOLS = (
    PoolSpec(name="cpu", workers=2, max_workers=8, shape=Resources(cpu_milli=4_000, memory_bytes=8 * 10**9)),
    PoolSpec(
        name="dear",
        workers=0,
        min_workers=0,
        max_workers=2,
        shape=Resources(cpu_milli=8_000, memory_bytes=16 * 10**9),
        price_usd_micros_per_hour=2_000_000,
        region="cloud",
        labels=(("disk", "fast"),),
    ),
)
TENANTS = (TenantSpec(name="default"), TenantSpec(name="red"), TenantSpec(name="blue", hard_cap_usd_micros=5_000_000))


class Live:
    """A server in a thread of its own. `with Live(tmp_path) as server:`; `server.ask` runs on its loop."""

    def __init__(
        self,
        folder: Path,
        *,
        pools: Sequence[PoolSpec] = POOLS,
        tenants: Sequence[TenantSpec] = TENANTS,
        clock: Clock | None = None,
        allowed_hosts: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.pools, self.tenants = pools, tenants
        self.clock = clock
        self.allowed_hosts = allowed_hosts
        self.url = ""
        self.runtime: Runtime
        self.app: Api
        self._thread = threading.Thread(target=self._run, name="live server")
        self._up: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.result(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=60)

    def ask(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Await something on the server's own loop."""

        async def run() -> Result:
            return await call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=60)

    def command(self, command: cmd.Command) -> Any:
        return self.ask(lambda: self.runtime.ask(command))

    def key(self, *roles: Role, tenant: str = "", name: str = "") -> str:
        """A new key with these roles, straight into the ledger; returns its secret."""
        secret = new_secret()
        key = ApiKey(
            id=name or f"{'-'.join(roles)}-{tenant or 'all'}", sha256=hash_secret(secret), roles=roles, tenant=tenant
        )
        self.command(cmd.AddKey(key=key, by="test"))
        self.ask(self.app.services.keys.refresh)
        return secret

    def token(self, job: str) -> str:
        return job_token(SECRET, job)

    def client(self, key: str | None = None) -> Client:
        return Client(self.url, key)

    @property
    def port(self) -> RuntimePort:
        return RuntimePort(self.runtime)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._up.done():
                self._up.set_exception(error)
            raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with _serving(self):
            self._up.set_result(None)
            await self._stop.wait()


class Uvicorn(uvicorn.Server):
    """uvicorn that says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(cls, app: Api, listener: socket.socket) -> AsyncIterator[None]:
        """Up on entry; on exit every stream ends first."""
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        server = cls(config)
        with contextlib.closing(listener):
            task = asyncio.create_task(server._serve([listener]))
            await server.up.wait()
            try:
                yield
            finally:
                await app.aclose()
                server.should_exit = True
                await task


def _environment(job: Job) -> dict[str, str]:
    return {"AGENTORCH_TOKEN": job_token(SECRET, job.id)}


@contextlib.asynccontextmanager
async def _serving(live: Live) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        sampler = Sampler([HostProbe()], lambda: live.runtime.now_ms())
        runtime = live.runtime = Runtime(
            SqliteLedger(live.folder / "ledger.db"),
            {"local": LocalExecutor(live.folder / "attempts")},
            sampler,
            clock=live.clock,
            environment=_environment,
        )
        await sampler.start(0.5)
        stack.push_async_callback(sampler.close)
        stack.push_async_callback(runtime.close)

        def configure(facts: Facts) -> list[cmd.Command]:
            commands: list[cmd.Command] = [cmd.ConfigurePool(spec=pool) for pool in live.pools]
            return commands + [cmd.ConfigureTenant(spec=tenant) for tenant in live.tenants]

        await runtime.open(configure)
        # Without the protocol asyncio would not set TCP_NODELAY, and every answer would wait for a delayed ACK.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        live.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = ServerSettings("127.0.0.1", 0, live.folder, live.allowed_hosts)
        app = live.app = create_app(runtime, secret=SECRET, settings=settings, foresee=RuntimePort(runtime).foresee)
        await stack.enter_async_context(Uvicorn.serving(app, listener))
        yield
