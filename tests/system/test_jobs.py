"""Real jobs on the real server, as a service would submit them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.server import Server, eventually, running

TENANTS = """
[tenants.red]
hard_cap_usd = 1
[tenants.blue]
[pools.cpu]
workers = 4
cpus = 0.2
memory = "64MB"
[pools.dear]
workers = 4
cpus = 0.2
memory = "64MB"
price_usd_per_hour = 3
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("jobs")) as server:
        yield server


def alive(marker: str) -> list[int]:
    """Processes whose environment carries this marker."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_job_runs_and_its_output_and_exit_code_are_there(server: Server) -> None:
    job = server.ended(server.submit("echo out; echo err >&2; exit 3", name="three"))
    assert (job["state"], job["exit_code"], job["name"]) == ("failed", 3, "three")
    assert server.http.get(f"/v1/jobs/{job['id']}/logs").text == "out\n"
    assert server.http.get(f"/v1/jobs/{job['id']}/logs", params={"stream": "stderr"}).text == "err\n"


def test_a_string_is_run_by_a_shell(server: Server) -> None:
    answer = server.http.post("/v1/jobs", json={"command": "echo $((6 * 7))"})
    assert answer.status_code == 201
    job = server.ended(answer.json()["id"])
    assert server.http.get(f"/v1/jobs/{job['id']}/logs").text == "42\n"


def test_cancel_leaves_no_process_of_a_tree_with_daemons(server: Server) -> None:
    marker = "SYSTEM_TEST_MARKER=tree-of-daemons"
    script = "(setsid sh -c 'sleep 300' & ) ; nohup sleep 301 & trap '' TERM; sh -c 'sleep 302 & wait' & wait"
    name, value = marker.split("=")
    job = server.submit(script, env={name: value}, checkpoint={"grace": "1s"})
    server.until(job, "running")
    eventually(lambda: len(alive(marker)) >= 4, "the tree has grown")
    answer = server.http.delete(f"/v1/jobs/{job}")
    assert answer.status_code == 202
    assert server.ended(job)["state"] == "cancelled"
    assert alive(marker) == []


def test_progress_is_reported_by_the_job_itself(server: Server) -> None:
    script = (
        'python3 -c "import os,urllib.request as u,json;'
        "r=u.Request(os.environ['AGENTORCH_URL']+'/v1/jobs/'+os.environ['AGENTORCH_JOB']+'/progress',"
        "data=json.dumps({'percent':60,'message':'epoch 3'}).encode(),"
        "headers={'Authorization':'Bearer '+os.environ['AGENTORCH_TOKEN'],'Content-Type':'application/json'});"
        'print(u.urlopen(r).status)"; sleep 300'
    )
    job = server.submit(script)
    eventually(lambda: server.get(f"/v1/jobs/{job}")["progress_percent"] == 60, "progress is known")
    assert server.get(f"/v1/jobs/{job}")["progress_message"] == "epoch 3"
    server.http.delete(f"/v1/jobs/{job}")
    server.ended(job)


def test_why_and_verify_on_the_command_line(server: Server) -> None:
    job = server.submit("true", resources={"cpus": 4000})
    told = server.command("why", job)
    assert told.returncode == 0, told.stderr
    assert "4000 cpus" in told.stdout
    verified = server.command("verify", str(server.data))
    assert verified.returncode == 0, verified.stdout
    assert verified.stdout.startswith("ok:")


def test_budgets_bind_and_tenants_are_strangers(tmp_path: Path) -> None:
    with running(tmp_path, TENANTS) as server:
        keys = {}
        for tenant in ("red", "blue"):
            answer = server.http.post("/v1/keys", json={"name": tenant, "roles": ["submit"], "tenant": tenant})
            keys[tenant] = {"Authorization": f"Bearer {answer.json()['secret']}"}
        body = {"command": ["sleep", "300"], "pool": "dear", "max_duration": "30m", "resources": {"cpus": 0.2}}
        jobs = [server.http.post("/v1/jobs", json=body, headers=keys["red"]).json()["id"] for _ in range(3)]
        waits = eventually(lambda: server.get(f"/v1/jobs/{jobs[0]}")["reason"], "the first waits")
        assert waits["code"] == "budget"
        other = server.http.get(f"/v1/jobs/{jobs[0]}", headers=keys["blue"])
        assert other.status_code == 404
        assert server.http.delete(f"/v1/jobs/{jobs[0]}", headers=keys["blue"]).status_code == 404
        assert server.http.get("/v1/jobs", headers=keys["blue"]).json()["items"] == []
        raised = server.http.put("/v1/tenants/red", json={"hard_cap_usd": 1.6})
        assert raised.status_code == 200, raised.text
        server.until(jobs[0], "running")
        assert {server.get(f"/v1/jobs/{job}")["state"] for job in jobs[1:]} == {"queued"}
        budget = next(one for one in server.get("/v1/budgets") if one["tenant"] == "red")
        assert budget["spent_usd"] + budget["reserved_usd"] <= 1.6
        for job in jobs:
            server.http.delete(f"/v1/jobs/{job}")
        server.ended(jobs[0])
