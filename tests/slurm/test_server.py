"""The real server, with Slurm as its executor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.executors.processes import marked
from tests.executors.waiting import eventually
from tests.slurm.cluster import SlurmCluster
from tests.system.server import running

CONFIG = """
[server]
executor = "slurm"

[executors.slurm]
root = "{root}"
conf = "{conf}"
partition = "main"

[pools.cpu]
node_type = "main"
workers = 1
max_workers = 1
cpus = 8
memory = "2GB"
"""


def test_jobs_of_the_server_run_on_slurm_and_outlive_it(cluster: SlurmCluster, tmp_path: Path) -> None:
    root = tmp_path / "shared"
    with running(tmp_path, CONFIG.format(root=root, conf=cluster.conf)) as server:
        good, bad = server.submit("echo on $SLURMD_NODENAME"), server.submit("exit 4")
        assert server.ended(good)["state"] == "succeeded"
        assert server.ended(bad)["attempts"][-1]["exit_code"] == 4
        log = server.http.get(f"/v1/jobs/{good}/logs").text
        assert "on n1" in log
        go = tmp_path / "go"
        kept = server.submit(f"until [ -e {go} ]; do sleep 0.1; done; exit 0")
        taken = server.submit("sleep 600")
        for job in (kept, taken):
            server.until(job, "running")
            eventually(lambda job=job: marked(root, f"{job}.1"), "its processes")  # type: ignore[misc]
        server.kill()
        server.start()
        assert server.http.delete(f"/v1/jobs/{taken}").status_code < 300
        assert server.ended(taken)["state"] == "cancelled"
        assert marked(root, f"{taken}.1") == []
        go.touch()
        assert server.ended(kept)["state"] == "succeeded"


PILOTS = """
[executors.slurm]
root = "{root}"
conf = "{conf}"

[pilots.small]
cpus = 2
memory = "100MB"
partition = "main"

[pools.short]
executor = "pilot"
node_type = "small"
workers = 1
max_workers = 2
cpus = 2
memory = "64MB"
price_usd_per_hour = 0
"""


def test_pools_of_pilots_come_from_the_configuration(cluster: SlurmCluster, tmp_path: Path) -> None:
    with running(tmp_path, PILOTS.format(root=tmp_path / "shared", conf=cluster.conf)) as server:
        job = server.ended(server.submit("echo on $SLURMD_NODENAME; exit 3"))
        assert (job["state"], job["exit_code"]) == ("failed", 3)
        (node,) = server.get("/v1/nodes")
        assert (node["executor"], node["type"]) == ("pilot", "small")
        assert job["attempts"][-1]["node"] == node["id"]
        called = server.http.post("/v1/jobs", json={"entry": {"call": "operator:add", "args": [2, 3]}, "pool": "short"})
        assert server.ended(called.json()["id"])["result"] == 5, "a function, in a warm worker on a pilot"


def test_a_pool_of_an_unknown_kind_of_pilots_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "agentorch.toml"
    config.write_text('[pools.short]\nexecutor = "pilot"\nnode_type = "big"\n')
    words = [sys.executable, "-m", "agentorch.cli", "serve", "--data", str(tmp_path / "data"), "--config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pools.short.node_type = 'big': expected the name of a [pilots.NAME] table; there are: none" in done.stderr
