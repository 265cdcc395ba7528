"""Health over HTTP and on the command line: what is wrong, and a person's repair."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from agentorch.errors import ServerRefused
from agentorch.model import commands as cmd
from agentorch.model.fleet import Role
from agentorch.model.observation import DeviceSample
from tests.api.live import Live
from tests.cli.shell import agentorch

GPU = "GPU-5a3c"


def strike(server: Live, xids: int = 1) -> None:
    """A GPU that no worker has reports a fatal error; then no probe lists it any more."""
    sample = DeviceSample(id=GPU, kind="gpu", at_ms=server.runtime.now_ms(), xid_count=xids, xids=(79,) * xids)
    server.command(cmd.ReportHealth(samples=(sample,)))


def test_a_sick_device_is_listed_with_its_reason_until_a_person_repairs_it(server: Live) -> None:
    strike(server)

    async def scenario() -> None:
        async with server.client() as client:
            (found,) = [one for one in await client.devices() if one.id == GPU]
            assert (found.health, found.age_s, found.error) == ("cordoned", None, "not listed any more")
            assert found.health_reason.startswith("Xid 79")
            assert found.health_evidence == "1 Xids, last 79"
            assert found.health_since is not None
            assert (await client.repair_device(GPU)).health == "ok"
            assert [one.id for one in await client.devices() if one.id == GPU] == []
            with pytest.raises(ServerRefused, match="GPU-9"):
                await client.repair_device("GPU-9")

    asyncio.run(scenario())


def test_a_repair_lifts_whatever_took_a_worker_out(server: Live) -> None:
    async def scenario() -> None:
        async with server.client() as client:
            assert (await client.cordon("cpu-0", True, reason="noisy")).cordoned_by == "local"
            repaired = await client.repair("cpu-0")
            assert (repaired.cordoned, repaired.health, repaired.devices_out) == (False, "ok", {})
            with pytest.raises(ServerRefused, match="nobody"):
                await client.repair("nobody")
            log = (await client.snapshot()).log
            assert any(line.verb == "repaired" and line.actor == "human" for line in log)

    asyncio.run(scenario())


def test_a_repair_takes_an_admin(server: Live) -> None:
    key, admin = server.key(Role.approve), server.key(Role.admin)
    for path in ("/v1/workers/cpu-0/repair", f"/v1/devices/{GPU}/repair"):
        refused = httpx.post(f"{server.url}{path}", headers={"authorization": f"Bearer {key}"})
        assert refused.status_code == 403
    strike(server)
    done = httpx.post(f"{server.url}/v1/devices/{GPU}/repair", headers={"authorization": f"Bearer {admin}"})
    assert done.status_code == 200


def test_the_command_line_shows_and_repairs(server: Live) -> None:
    strike(server)
    listed = agentorch("devices", url=server.url).stdout
    assert "cordoned" in listed
    assert "Xid 79" in listed
    repaired = json.loads(agentorch("devices", "repair", GPU, "-o", "json", url=server.url).stdout)
    assert repaired[0]["health"] == "ok"
    assert agentorch("workers", "cpu-0", "--cordon", url=server.url).returncode == 0
    lifted = agentorch("workers", "repair", "cpu-0", url=server.url)
    assert lifted.returncode == 0
    assert "cordoned" not in lifted.stdout
    assert agentorch("workers", "repair", "nobody", url=server.url).returncode == 5
