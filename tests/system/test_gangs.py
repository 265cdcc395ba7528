"""Gangs and entry points on the real server: processes that meet over TCP, and functions whose value comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.rendezvous import RENDEZVOUS
from tests.system.server import Server, running

POOL = """
[pools.cpu]
workers = 4
cpus = 0.2
memory = "64MB"
"""
SMALL = {"cpus": 0.2}
MARK = "GANG_TEST_MARKER"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("gangs"), POOL) as server:
        yield server


def submit(server: Server, **body: Any) -> str:
    answer = server.http.post("/v1/jobs", json={"resources": SMALL, **body})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def marked(value: str) -> int:
    """Processes with this mark in their environment."""
    found = 0
    for folder in Path("/proc").iterdir():
        try:
            found += folder.name.isdigit() and f"{MARK}={value}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
    return found


def test_four_ranks_meet_at_the_address_they_are_told(server: Server) -> None:
    jobs = [submit(server, command=["python3", "-c", RENDEZVOUS], workers=size) for size in (4, 2, 2)]
    for job, size in zip(jobs, (4, 2, 2), strict=True):
        document = server.ended(job)
        assert (document["state"], document["workers"]) == ("succeeded", size), document
        (attempt,) = document["attempts"]
        assert [rank["exit_code"] for rank in attempt["ranks"]] == [0] * size
        total = sum(range(size))
        for rank in range(size):
            text = server.http.get(f"/v1/jobs/{job}/logs", params={"rank": rank}).text
            assert text == f"rank {rank} of {size}: {total}\n"
    told = server.command("logs", jobs[0], "--rank", "3")
    assert told.stdout == "rank 3 of 4: 6\n"
    missing = server.http.get(f"/v1/jobs/{jobs[0]}/logs", params={"rank": 4})
    assert missing.status_code == 404
    assert "no rank 4" in missing.json()["detail"]


def test_a_rank_that_fails_ends_them_all(server: Server) -> None:
    script = 'if [ "$RANK" = 2 ]; then exit 7; fi; sleep 300 & wait'
    job = submit(server, command=["sh", "-c", script], workers=4, env={MARK: "fails"})
    document = server.ended(job)
    assert (document["state"], document["cause"], document["exit_code"]) == ("failed", "error", 7)
    (attempt,) = document["attempts"]
    assert attempt["failed_rank"] == 2
    assert [rank["cause"] for rank in attempt["ranks"]] == ["gang", "gang", "error", "gang"]
    assert marked("fails") == 0
    shown = server.command("job", job)
    assert "rank 2" in shown.stdout
    assert "exit code 7" in shown.stdout


def test_cancel_leaves_no_rank(server: Server) -> None:
    job = submit(
        server, command=["sh", "-c", "trap '' TERM; setsid sleep 300 & wait; wait"], workers=3, env={MARK: "no"}
    )
    server.until(job, "running")
    assert marked("no") >= 3
    assert server.http.delete(f"/v1/jobs/{job}").status_code == 202
    assert server.ended(job)["state"] == "cancelled"
    assert marked("no") == 0


def test_why_it_waits_and_what_it_would_cost(server: Server) -> None:
    blocker = submit(server, command=["sleep", "300"])
    server.until(blocker, "running")
    job = submit(server, command=["true"], workers=4)
    told = server.command("why", job)
    assert "4 x 0.2 cpus at once" in told.stdout
    plan = server.http.post("/v1/jobs:plan", json={"command": ["true"], "resources": SMALL, "workers": 5}).json()
    assert not plan["feasible"]
    assert "5 x 0.2 cpus at once" in plan["text"]
    server.http.delete(f"/v1/jobs/{blocker}")
    assert server.ended(job)["state"] == "succeeded"


def test_a_killed_server_finds_every_rank_again(tmp_path: Path) -> None:
    with running(tmp_path, POOL) as server:
        script = f'until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; echo "$RANK" >> "{tmp_path}/done"'
        job = submit(server, command=["sh", "-c", script], workers=4)
        server.until(job, "running")
        server.kill()
        server.start()
        assert server.get(f"/v1/jobs/{job}")["state"] == "running"
        (tmp_path / "go").touch()
        document = server.ended(job)
        assert (document["state"], document["attempt"]) == ("succeeded", 1)
        assert sorted((tmp_path / "done").read_text().split()) == ["0", "1", "2", "3"]  # each ran once


def test_a_function_is_called_and_its_value_comes_back(server: Server, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(
        "def scale(numbers, by=1):\n    print('scaling')\n    return {'scaled': [one * by for one in numbers]}\n"
    )
    entry = {"call": "functions:scale", "args": [[1, 2]], "kwargs": {"by": 3}}
    job = submit(server, entry=entry, workdir=str(tmp_path))
    document = server.ended(job)
    assert (document["state"], document["result"]) == ("succeeded", {"scaled": [3, 6]}), document
    assert (document["command"], document["entry"]["call"]) == ([], "functions:scale")
    assert server.http.get(f"/v1/jobs/{job}/logs").text == "scaling\n"
    words = ["--entry", "functions:scale", "--args-json", "[[4]]", "--kwargs-json", '{"by": 2}']
    ran = server.command("run", *words, "--workdir", str(tmp_path), "--cpus", "0.2")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {"scaled": [8]}


def test_a_function_that_raises_fails_its_job(server: Server) -> None:
    document = server.ended(submit(server, entry={"call": "json:loads", "args": ["{"]}))
    assert document["state"] == "failed"
    assert document["result"] is None
