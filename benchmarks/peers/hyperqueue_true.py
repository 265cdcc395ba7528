"""HyperQueue without a journal: `true` as tasks of one job on one worker; tasks a second, submit to last end."""

import json
import logging
import os
import sys
import time
from pathlib import Path

from hyperqueue import Client, Job  # type: ignore[import-not-found]
from hyperqueue.cluster import LocalCluster, WorkerConfig  # type: ignore[import-not-found]

folder, count, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logging.disable(logging.CRITICAL)
end = Path(folder) / "end"
os.mkfifo(end)


def run(client: Client, tasks: int) -> float:
    """Its own wait looks once a second, so a last task, which depends on all others, says that they have ended."""
    job = Job()
    done = [job.program(["true"]) for _ in range(tasks)]
    job.program(["sh", "-c", f"echo > {end}"], deps=done)
    began = time.perf_counter()
    client.submit(job)
    end.read_text()
    return tasks / (time.perf_counter() - began)


with LocalCluster(server_dir=folder, worker_config=WorkerConfig(cores=cores)) as cluster:
    client = cluster.client()
    run(client, cores)  # the worker has connected
    print(json.dumps({"per_s": run(client, count)}), flush=True)
