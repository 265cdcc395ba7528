"""Cables are pulled between real network namespaces: the old run has always ended before the new one begins.

`make partition`: needs root, and says so where it is not.
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

pytestmark = [
    needs_ray,
    pytest.mark.skipif(os.environ.get("AGENTORCH_NETNS") != "1", reason="opt-in: AGENTORCH_NETNS=1, or make partition"),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and the ip command"),
    pytest.mark.timeout(600),
]


@pytest.mark.slow
def test_two_runs_of_a_job_never_overlap_across_a_partition(tmp_path: Path) -> None:
    with netns.network(netns.CUT + 1):
        try:
            netns.agentorch(0, tmp_path, "up", "--host", netns.address(0), "--num-cpus", "2")
            for number in netns.cut_ones():
                netns.join(number, tmp_path)
            command = netns.inside(0, tmp_path, sys.executable, "-m", "tests.ray.netns", str(tmp_path))
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=500)
            assert done.returncode == 0, done.stderr[-3_000:]
        finally:
            for number in [*netns.cut_ones(), 0]:
                netns.agentorch(number, tmp_path, "down")
    found = json.loads(done.stdout.splitlines()[-1])
    gaps, noticed = sorted(found["gaps"]), sorted(found["noticed"])
    print(f"\n{len(gaps)} cuts: told lost after {noticed[0]:.2f} to {noticed[-1]:.2f} s;", end=" ")
    print(f"the old run had ended {gaps[0]:.2f} to {gaps[-1]:.2f} s before the new one began")
    assert len(gaps) == netns.CUT * netns.ROUNDS
    assert gaps[0] > 0
