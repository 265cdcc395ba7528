"""The real server, with Slurm as its executor."""

from __future__ import annotations

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
