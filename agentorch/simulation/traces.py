"""Traces of jobs: CSV with a header, also gzipped. Columns are found by name; only four are needed."""

from __future__ import annotations

import csv
import gzip
import math
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TextIO

from agentorch.errors import ConfigError

NEEDED = ("job_id", "submit_s", "duration_s", "gpus")
DEFAULT_TENANT = "default"


class TraceJob(NamedTuple):
    """One job of a trace: `gpus` at once for `duration_s` seconds, wanted from `submit_s` on."""

    id: str
    submit_s: int
    duration_s: int
    gpus: int
    tenant: str = DEFAULT_TENANT
    vc: str = ""


def read_trace(
    path: Path, *, max_duration_s: int | None = None, gpu_jobs_only: bool = False, limit: int | None = None
) -> list[TraceJob]:
    """The jobs of a trace in the order of their submits; a share of a GPU counts as a whole one.

    `max_duration_s` leaves out longer jobs, `gpu_jobs_only` those without a GPU; `limit` then takes the first.
    Raises ConfigError with the file, the line and what was expected.
    """
    jobs: list[TraceJob] = []
    for line, job in _rows(path):
        if max_duration_s is not None and job.duration_s > max_duration_s:
            continue
        if not job.gpus:
            if gpu_jobs_only:
                continue
            raise ConfigError(f"{path}:{line}: {job.id} asks for no GPU; leave such jobs out with --gpu-jobs-only")
        jobs.append(job)
    jobs.sort(key=lambda job: job.submit_s)
    chosen = jobs[:limit]
    if not chosen:
        raise ConfigError(f"{path}: no job is left to simulate")
    return chosen


def shuffled_ties(jobs: Sequence[TraceJob], seed: int) -> list[TraceJob]:
    """The jobs with those of one second in another order: a trace does not say who of them came first. 0 = as is."""
    if not seed:
        return list(jobs)
    stream = random.Random(seed)
    out: list[TraceJob] = []
    for _, group in groupby(jobs, key=lambda job: job.submit_s):
        tied = list(group)
        stream.shuffle(tied)
        out += tied
    return out


def _rows(path: Path) -> Iterator[tuple[int, TraceJob]]:
    try:
        with _open(path) as file:
            yield from _parse(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not CSV: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _parse(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, TraceJob]]:
    reader = csv.DictReader(lines)
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        found = ", ".join(reader.fieldnames or ()) or "nothing"
        raise ConfigError(f"{path}:1: no column {', '.join(missing)}; found {found}")
    for row in reader:
        line = reader.line_num
        try:
            job = TraceJob(
                id=_text(row, "job_id"),
                submit_s=_number(row, "submit_s"),
                duration_s=_number(row, "duration_s"),
                gpus=_number(row, "gpus"),
                tenant=row.get("tenant") or DEFAULT_TENANT,
                vc=row.get("vc") or "",
            )
        except ValueError as error:
            raise ConfigError(f"{path}:{line}: {error}") from error
        yield line, job


def _text(row: dict[str, str], name: str) -> str:
    if not row[name]:
        raise ValueError(f"{name} is empty")
    return row[name]


def _number(row: dict[str, str], name: str) -> int:
    """A fraction is rounded up."""
    text = row[name] or ""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} = {text!r}: expected a number") from None
    if not 0 <= value < 2**40:
        raise ValueError(f"{name} = {text!r}: expected a number of at least 0, and a finite one")
    return math.ceil(value)
