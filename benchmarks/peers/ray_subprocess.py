"""Plain Ray tasks on a cluster that runs: each runs `true` with subprocess.run; tasks a second, submit to last result.

A retried task runs its command twice, and a cancelled one leaves it running: this is what the same nodes do without us.
"""

import json
import subprocess
import sys
import time

import ray
from ray._private import services

from agentorch.executors.ray.loopback import keep_loopback

address, count = sys.argv[1], int(sys.argv[2])
keep_loopback(services)
ray.init(address=address, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="error")


@ray.remote(num_cpus=1)
def job() -> int:
    return subprocess.run(["true"], check=False).returncode


ray.get([job.remote() for _ in range(64)])  # its workers are there
began = time.perf_counter()
codes = ray.get([job.remote() for _ in range(count)])
took = time.perf_counter() - began
assert set(codes) == {0}
print(json.dumps({"per_s": count / took}), flush=True)
