"""The application: a guard, a short cut for the hot routes, and FastAPI for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentorch import __version__
from agentorch.api import openapi, problems, routes_fleet, routes_jobs, routes_replay, routes_supervisor, routes_system
from agentorch.api.guard import Guard, is_loopback
from agentorch.api.services import Services
from agentorch.api.settings import ApiSettings, Branch, Foresee
from agentorch.api.submitting import submit, submit_batch
from agentorch.config import ServerSettings
from agentorch.errors import RuntimeStopped
from agentorch.runtime.source import Source

_Hot = Callable[[Services, Request], Awaitable[Response]]

_HOT: dict[tuple[str, str], _Hot] = {
    ("POST", "/v1/jobs"): submit,
    ("POST", "/v1/jobs:batch"): submit_batch,
    ("GET", routes_system.EVENTS_PATH): routes_system.stream_events,
}


class Api:
    """The ASGI application. `aclose()` ends every stream; do it before the server waits for its connections."""

    def __init__(self, source: Source, settings: ApiSettings, extra_routes: Sequence[BaseRoute]) -> None:
        self.services = Services(source, settings)
        self.fastapi = _fastapi(self.services, extra_routes)
        self._starting = asyncio.Lock()
        self._started = False
        self._app: ASGIApp = Guard(self._dispatch, loopback=settings.loopback, allowed_hosts=settings.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._app(scope, receive, send)

    async def aclose(self) -> None:
        await self.services.aclose()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        async with self._starting:
            if not self._started:
                await self.services.start()
                self._started = True

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = _HOT.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if hot is None:
            if not self._started:
                await self._start()
            await self.fastapi(scope, receive, _durable(self.services.source, send, scope, receive))
            return
        try:
            if not self._started:
                await self._start()
            response = await hot(self.services, Request(scope, receive))
        except Exception as error:  # noqa: BLE001 - every answer is a problem document, a defect's too
            response = problems.of_exception(error)
            # A refusal rests on what is in memory; the other hot answers have waited for their own commit.
            send = _durable(self.services.source, send, scope, receive)
        await response(scope, receive, send)


def _durable(source: Source, send: Send, scope: Scope, receive: Receive) -> Send:
    """Hold an answer back until everything that it may rest on is durable: no answer shows what a crash could take
    back. When that never happens, the answer is 503 instead. `/healthz` alone speaks of the process only.
    """
    if scope["path"] == "/healthz":
        return send
    stopped = False

    async def settled(message: Message) -> None:
        nonlocal stopped
        if message["type"] == "http.response.start":
            try:
                await source.settled()
            except RuntimeStopped as error:
                stopped = True
                await problems.of_stopped(error)(scope, receive, send)
        if not stopped:
            await send(message)

    return settled


def _fastapi(services: Services, extra_routes: Sequence[BaseRoute]) -> FastAPI:
    app = FastAPI(
        title="agentorch",
        version=__version__,
        description="Durable jobs, priced plans, approvals and decisions of a self-orchestrating runtime.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.services = services
    problems.install(app)
    routers = [module.router for module in (routes_jobs, routes_fleet, routes_supervisor, routes_replay, routes_system)]
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    app.router.routes.extend(extra_routes)
    openapi.install(app)
    return app


def create_app(
    source: Source,
    *,
    secret: bytes,
    settings: ServerSettings,
    brain: Callable[[], str] = lambda: "rule",
    loop_lag_s: Callable[[], float] | None = None,
    foresee: Foresee | None = None,
    branch: Branch | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> Api:
    """The ASGI application that serves this source.

    `secret` signs job tokens: 32 random bytes, kept over restarts, or running jobs lose their voice. `brain` and
    `loop_lag_s` are asked at each look. `foresee` asks the twin. `branch` replays a part of a recording.
    `extra_routes`: Starlette routes of other rooms.
    """
    own = ApiSettings(
        secret=secret,
        loopback=is_loopback(settings.host),
        allowed_hosts=settings.allowed_hosts,
        brain=brain,
        loop_lag_s=loop_lag_s,
        foresee=foresee,
        branch=branch,
    )
    return Api(source, own, extra_routes)
