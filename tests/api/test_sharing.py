"""Leave to borrow, and what pools lend and reserve, over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentorch.errors import ServerRefused
from agentorch.model.events import JobStarted
from agentorch.model.fleet import PoolSpec, Reservation
from agentorch.model.jobs import Resources
from tests.api.live import Live

POOLS = (
    PoolSpec(name="home", workers=1, max_workers=1, shape=Resources(cpu_milli=1_000)),
    PoolSpec(
        name="far",
        workers=2,
        max_workers=2,
        shape=Resources(cpu_milli=1_000),
        lends=True,
        reservations=(Reservation(tenant="acme", workers=1),),
    ),
)


async def started(server: Live, job: str) -> None:
    async for batch in server.runtime.follow(0):
        if any(isinstance(event, JobStarted) and event.job == job for _, event in batch):
            return


def test_a_job_with_leave_borrows_and_the_pools_say_so(tmp_path: Path) -> None:
    async def scenario(server: Live) -> None:
        async with server.client() as client:
            body = {"command": ["sleep", "60"], "pool": "home"}
            home = await client.submit(body)
            borrower = await client.submit({**body, "borrow": True})
            await asyncio.to_thread(server.ask, lambda: started(server, borrower.id))
            found = await client.job(borrower.id)
            assert found.constraints["borrow"] is True
            assert [(one.pool, one.borrowed) for one in found.attempts] == [("far", True)]
            far = next(pool for pool in await client.pools() if pool.name == "far")
            assert (far.lends, far.borrowed) == (True, 1)
            assert [(one.tenant, one.workers, one.unused_workers) for one in far.reservations] == [("acme", 1, 1)]
            with pytest.raises(ServerRefused, match="name the job's own pools"):
                await client.submit({"command": ["true"], "borrow": True})
            for name in (home.id, borrower.id):
                await client.cancel(name)

    with Live(tmp_path, pools=POOLS) as server:
        asyncio.run(scenario(server))
