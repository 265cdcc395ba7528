"""`agentorch simulate jobs`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import agentorch, process

DATA = Path(__file__).parent / "data"
SMALL = str(DATA / "philly-11cb48-first2000.csv.gz")
OPENB = str(DATA / "openb-2023-day115_133.csv.gz")
KEYS = [
    "jobs",
    "avg_jct_s",
    "p50_jct_s",
    "p99_jct_s",
    "avg_queue_s",
    "p99_queue_s",
    "bounded_slowdown",
    "utilization",
    "preemptions",
    "sim_wall_s",
]


def report(*arguments: str) -> dict[str, float]:
    done = agentorch("simulate", "jobs", *arguments, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def pools(folder: Path, **workers: int) -> str:
    file = folder / "pools.toml"
    file.write_text("\n".join(f'[pools."{name}"]\nworkers = {count}\ngpus = 8' for name, count in workers.items()))
    return str(file)


def test_a_reference_from_the_command_line() -> None:
    found = report(SMALL, "--nodes", "3", "--policy", "srtf")
    assert list(found) == KEYS
    assert (found["jobs"], found["p99_queue_s"], found["preemptions"]) == (2000, 2139, 323)


def test_the_scheduler_itself_is_the_default() -> None:
    first, second = (report(SMALL, "--nodes", "3", "--limit", "300", *more) for more in ([], ["--policy", "default"]))
    assert {**first, "sim_wall_s": 0} == {**second, "sim_wall_s": 0}
    assert first["jobs"] == 300


def test_rows_are_left_out_by_options() -> None:
    assert report(OPENB, "--nodes", "2", "--max-duration", "3d", "--gpu-jobs-only", "--policy", "fifo")["jobs"] == 3025
    done = agentorch("simulate", "jobs", OPENB)
    assert done.returncode == 2
    assert "openb-pod-0048 asks for no GPU; leave such jobs out with --gpu-jobs-only" in done.stderr


def test_a_person_gets_a_table_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "run.svg"
    done = process("simulate", "jobs", SMALL, "--nodes", "3", "--policy", "easy", "--plot", str(picture))
    assert (done.returncode, done.stderr) == (0, "")
    assert "avg queue         38m12s (2,292 s)" in done.stdout
    assert picture.read_text().startswith("<svg")


def test_a_run_can_be_kept_as_a_ledger_that_verifies(tmp_path: Path) -> None:
    ledger = tmp_path / "run.db"
    arguments = (SMALL, "--nodes", "3", "--limit", "400")
    assert {**report(*arguments, "--ledger", str(ledger)), "sim_wall_s": 0} == {**report(*arguments), "sim_wall_s": 0}
    done = agentorch("verify", str(ledger))
    assert (done.returncode, done.stdout.startswith("ok: ")) == (0, True)
    done = agentorch("simulate", "jobs", *arguments, "--ledger", str(ledger))
    assert (done.returncode, "expected a file that is not there yet" in done.stderr) == (2, True)


def test_pools_come_from_a_file(tmp_path: Path) -> None:
    file = pools(tmp_path, **{"11cb48": 3, "idle": 1})
    alone = report(SMALL, "--pools", file, "--policy", "sjf-easy")
    assert alone["avg_queue_s"] == report(SMALL, "--nodes", "3", "--policy", "sjf-easy")["avg_queue_s"]
    assert report(SMALL, "--pools", file, "--limit", "100")["jobs"] == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--nodes", "0"), "--nodes must be at least 1, not 0"),
        (("--preempt-cost", "-1"), "--preempt-cost must be at least 0, not -1"),
        (("--policy", "lifo"), "--policy 'lifo': there is default, fifo, "),
        (("--max-duration", "soon"), "--max-duration 'soon'"),
        (("--nodes", "1"), "asks for 16 GPUs, more than any pool has"),
        (("--nodes", "1", "--policy", "fifo"), "asks for 16 GPUs; the cluster has 8"),
        (("--nodes", "3", "--limit", "5", "--policy", "fifo", "--plot", "/none/x.svg"), "--plot /none/x.svg: can't be"),
        (("--pools", "/none.toml"), "/none.toml"),
        (("--policy", "fifo", "--ledger", "/none.db"), "--ledger /none.db: expected a file that is not there yet, and"),
    ],
)
def test_bad_input_is_named(arguments: tuple[str, ...], message: str) -> None:
    done = agentorch("simulate", "jobs", SMALL, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_bad_pools_are_named(tmp_path: Path) -> None:
    file = pools(tmp_path, other=2)
    done = agentorch("simulate", "jobs", SMALL, "--pools", file, "--policy", "fifo")
    assert (done.returncode, "no pool is named '11cb48', as its vc is; there are other" in done.stderr) == (2, True)
    done = agentorch("simulate", "jobs", SMALL, "--pools", file, "--nodes", "2")
    assert (done.returncode, "leave out --nodes" in done.stderr) == (2, True)
    (tmp_path / "empty.toml").write_text("")
    done = agentorch("simulate", "jobs", SMALL, "--pools", str(tmp_path / "empty.toml"))
    assert (done.returncode, "expected a table such as [pools.NAME]" in done.stderr) == (2, True)
    (tmp_path / "cpu.toml").write_text("[pools.cpu]\ncpus = 4")
    done = agentorch("simulate", "jobs", SMALL, "--pools", str(tmp_path / "cpu.toml"))
    assert (done.returncode, "pools.cpu: expected gpus and workers of at least 1" in done.stderr) == (2, True)


def test_a_supervised_run_counts_what_came_of_it(tmp_path: Path) -> None:
    file = tmp_path / "elastic.toml"
    file.write_text("[pools.cluster]\nworkers = 1\nmax_workers = 4\ngpus = 8\n")
    ledger = tmp_path / "run.db"
    arguments = (SMALL, "--pools", str(file), "--limit", "600", "--supervised", "--cycle", "10m")
    found = report(*arguments, "--ledger", str(ledger))
    assert list(found) == [*KEYS, "actions", "asked", "denied"]
    assert found["actions"] > 0
    assert agentorch("verify", str(ledger)).stdout.startswith("ok: ")
    done = agentorch("simulate", "jobs", *arguments)
    assert (done.returncode, "actions" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cycle", "5s"), "--cycle and --twin are the supervisor's: add --supervised"),
        (("--twin",), "--cycle and --twin are the supervisor's: add --supervised"),
        (("--supervised", "--cycle", "0s"), "--cycle 0s: expected 0.1s to 1d"),
        (("--supervised", "--cycle", "x"), "--cycle 'x'"),
        (("--supervised", "--policy", "fifo"), "--supervised: expected --policy default, not fifo"),
    ],
)
def test_bad_supervision_is_named(arguments: tuple[str, ...], message: str) -> None:
    done = agentorch("simulate", "jobs", SMALL, *arguments)
    assert (done.returncode, message in done.stderr) == (2, True)
