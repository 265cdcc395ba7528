"""kill -9 of the control side, again and again: nothing is lost, nothing runs twice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.executors.runtime_under_fire import code_of, read_ledger
from tests.slurm.cluster import SlurmCluster

_SOURCE = Path(__file__).resolve().parents[2]


def test_a_runtime_killed_twenty_times_loses_nothing_and_runs_nothing_twice(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    count, chance, kills = 40, random.Random(7), 0
    for epoch in range(1, 100):
        command = [sys.executable, "-m", "tests.slurm.runtime_under_fire"]
        command += [str(tmp_path), str(epoch), str(count), str(cluster.conf)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_SOURCE) as runtime:
            assert runtime.stdout is not None
            for _ in range(chance.randrange(1, 9) if kills < 20 else 3 * count):
                if not runtime.stdout.readline():
                    break
            else:
                runtime.kill()
                kills += 1
                continue
            assert runtime.wait() == 0
            break
    assert kills >= 20
    ordered, ended = read_ledger(tmp_path)
    assert ordered == set(ended) == set(range(count))
    absent = 0
    for number in range(count):
        runs = tmp_path / f"runs-{number}"
        if ended[number] == "absent None":
            absent += 1
            assert not runs.exists()
        else:
            assert ended[number] == f"ended {code_of(number)}"
            assert runs.read_text() == "run\n"
            assert (tmp_path / "attempts" / f"j{number}.1" / "stdout.log").read_text() == "done\n"
    assert absent < count
