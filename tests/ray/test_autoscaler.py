"""Ray's own autoscaler adds nodes by number and takes exactly those that are let go of.

Opt-in like the partition, because its provider of pretended machines needs a network namespace to stay on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ray import netns
from tests.ray.cluster import needs_ray

SOURCE = Path(__file__).resolve().parents[2]
SPACE = "aoscale"

pytestmark = [
    needs_ray,
    pytest.mark.skipif(os.environ.get("AGENTORCH_NETNS") != "1", reason="opt-in: AGENTORCH_NETNS=1, or make partition"),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and the ip command"),
    pytest.mark.timeout(240),
]


@pytest.mark.slow
def test_three_nodes_come_and_two_go(tmp_path: Path) -> None:
    netns.ip("netns", "add", SPACE)
    try:
        netns.ip("-n", SPACE, "link", "set", "lo", "up")
        command = ["ip", "netns", "exec", SPACE, sys.executable, "-m", "tests.ray.autoscaled", str(tmp_path)]
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=200)
    finally:
        netns.ip("netns", "del", SPACE)
    assert done.returncode == 0, done.stderr[-3_000:]
    print("\nautoscaler:", json.loads(done.stdout.splitlines()[-1]))
