"""Traces are read by the names of their columns, and mistakes are named by file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from agentorch.errors import ConfigError
from agentorch.simulation.traces import TraceJob, read_trace, shuffled_ties

HEADER = "tenant,gpus,job_id,duration_s,submit_s,vc,status\n"


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_columns_are_found_by_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f"{HEADER}lab,0.25,b,9.5,12,v1,pass\n,2,a,3,4,,pass\n", name)
    assert read_trace(path) == [TraceJob("a", 4, 3, 2), TraceJob("b", 12, 10, 1, "lab", "v1")]


def test_only_four_columns_are_needed(tmp_path: Path) -> None:
    path = write(tmp_path, "job_id,submit_s,duration_s,gpus\nx,1,2,3\n")
    assert read_trace(path) == [TraceJob("x", 1, 2, 3, "default", "")]


def test_rows_are_left_out_only_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER}t,1,long,900,0,,\nt,0,cpu,5,1,,\nt,1,one,5,2,,\nt,1,two,5,3,,\n")
    chosen = read_trace(path, max_duration_s=899, gpu_jobs_only=True)
    assert [job.id for job in chosen] == ["one", "two"]
    assert [job.id for job in read_trace(path, gpu_jobs_only=True, limit=2)] == ["long", "one"]
    with pytest.raises(
        ConfigError, match=r"trace.csv:3: cpu asks for no GPU; leave such jobs out with --gpu-jobs-only"
    ):
        read_trace(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: no column job_id, submit_s, duration_s, gpus; found nothing"),
        ("job_id,submit_s,gpus\n", r":1: no column duration_s; found job_id, submit_s, gpus"),
        (HEADER, r"no job is left"),
        (f"{HEADER}t,1,a,5,soon,,\n", r":2: submit_s = 'soon': expected a number"),
        (f"{HEADER}t,1,a,5,0,,\nt,1,b,-1,0,,\n", r":3: duration_s = '-1': expected a number of at least 0"),
        (f"{HEADER}t,nan,a,5,0,,\n", r":2: gpus = 'nan': expected a number of at least 0, and a finite one"),
        (f"{HEADER}t,1,a,5\n", r":2: submit_s = '': expected a number"),
        (f"{HEADER}t,1,,5,0,,\n", r":2: job_id is empty"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"trace.csv.*{message}"):
        read_trace(write(tmp_path, text))


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.csv: can't be read"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "bad.csv.gz").write_bytes(b"job_id,submit_s,duration_s,gpus\n")
    with pytest.raises(ConfigError, match=r"bad.csv.gz: can't be read"):
        read_trace(tmp_path / "bad.csv.gz")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(f"{HEADER}t,1,a,5,0,,\n".encode())[:-12])
    with pytest.raises(ConfigError, match=r"cut.csv.gz: can't be read"):
        read_trace(tmp_path / "cut.csv.gz")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary.csv: not CSV"):
        read_trace(tmp_path / "binary.csv")


def test_a_seed_changes_only_the_order_within_a_second() -> None:
    jobs = [TraceJob(f"j{at}", at // 5, 1, 1) for at in range(50)]
    assert shuffled_ties(jobs, 0) == jobs
    assert shuffled_ties(jobs, 7) == shuffled_ties(jobs, 7) != jobs
    assert [job.submit_s for job in shuffled_ties(jobs, 7)] == [job.submit_s for job in jobs]
    assert set(shuffled_ties(jobs, 7)) == set(jobs)
