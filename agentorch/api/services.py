"""What every route shares, and how a route learns who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from agentorch.api.access import Caller, KeyRing, Permission
from agentorch.api.settings import ApiSettings
from agentorch.api.stream import EventHub
from agentorch.api.timeline import Timelines
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model.jobs import Job
from agentorch.model.proposals import Draft
from agentorch.model.twin import Outlook
from agentorch.runtime.source import Source

#: Questions to the twin that may wait for one another; each costs a good part of a second of the only core loop.
FORESEEN_AT_ONCE: Final = 4


class Services:
    def __init__(self, source: Source, settings: ApiSettings) -> None:
        self.source = source
        self.settings = settings
        self.keys = KeyRing(source, settings.secret, loopback=settings.loopback)
        self.hub = EventHub(source, self.keys)
        self.timelines = Timelines(source)
        self._foreseeing = asyncio.Lock()
        self._to_foresee = 0

    async def foresee(self, draft: Draft) -> Outlook:
        """One question at a time. Raises Refused, also where too many wait or there is no twin to ask."""
        ask = self.settings.foresee
        if ask is None:
            raise Refused("conflict", "the twin is not asked here: this is no running server")
        if self._to_foresee >= FORESEEN_AT_ONCE:
            raise Refused("overloaded", f"{self._to_foresee} questions wait for the twin", retry_after_s=2)
        self._to_foresee += 1
        try:
            async with self._foreseeing:
                return await ask((draft,))
        finally:
            self._to_foresee -= 1

    async def start(self) -> None:
        """Harmless when it has begun. The first request does it where nothing else did."""
        if not self.keys.loaded:
            await self.keys.refresh()
        self.hub.start()

    async def aclose(self) -> None:
        await self.hub.aclose()


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def caller_with(permission: Permission) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has this permission. Raises 401 and Refused("forbidden")."""

    async def dependency(request: Request) -> Caller:
        caller = services_of(request).keys.caller(request.headers.get("authorization"))
        if caller.job:
            raise Refused("forbidden", f"the token of {caller.job} speaks for that job alone")
        caller.need(permission)
        return caller

    return dependency


def job_caller_with(permission: Permission) -> Callable[[Request], Awaitable[Caller]]:
    """As `caller_with`, on a path with a job in it: the job's own token will do."""

    async def dependency(request: Request) -> Caller:
        caller = services_of(request).keys.caller(request.headers.get("authorization"))
        if not caller.job:
            caller.need(permission)
        elif caller.job != request.path_params["job"]:
            raise Refused("not_found", f"there is no job {request.path_params['job']!r}")
        return caller

    return dependency


def find_job(state: State, caller: Caller, job_id: str) -> Job:
    """Raises Refused("not_found"), also for a job that exists and belongs to another tenant."""
    job = state.facts.jobs.get(job_id)
    if job is None or not caller.sees(job.tenant):
        raise Refused("not_found", f"there is no job {job_id!r}")
    return job


def tenant_for(caller: Caller, named: str) -> str:
    """Whose a new job is: the key's tenant, else the one named, else `default`."""
    if caller.tenant and named and named != caller.tenant:
        raise Refused("forbidden", f"key {caller.by} submits for {caller.tenant}, not for {named}")
    return caller.tenant or named or "default"
