"""How well run times are foretold from history, and what that costs: `python -m benchmarks.forecast FOLDER`.

Reads every trace of jobs in the folder (CSV, also .gz: `submit_s, duration_s, gpus, tenant` and perhaps `name`). Each
job is foretold when it is submitted and learned when it has run, in the order of those moments, as if all started at
once.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import time
from collections.abc import Iterator
from math import ceil, log
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import expect
from agentorch.core.forecast.learning import learn
from agentorch.model.jobs import Attempt, Cause, Job, JobSpec, Resources

#: What is left is asked of every so many-th job that runs for longer than these ages.
AGES_MS = (60_000, 600_000, 3_600_000)
AGED_EVERY = 10


class Scores:
    """Of one way to foretell: the errors of its medians, and how many outcomes its middle 80 % held."""

    def __init__(self) -> None:
        self.errors: list[float] = []
        self.below = self.above = self.known = 0

    def add(
        self, outcome_ms: int, middle_ms: int | None, low_ms: int | None = None, high_ms: int | None = None
    ) -> None:
        if middle_ms is None:
            return
        self.known += 1
        self.errors.append(abs(log(max(1000, outcome_ms) / max(1000, middle_ms))))
        self.below += low_ms is not None and outcome_ms < low_ms
        self.above += high_ms is not None and outcome_ms > high_ms

    def line(self, name: str, *, interval: bool) -> str:
        if not self.known:
            return f"  {name:<34} nothing foretold"
        held = 100 * (1 - (self.below + self.above) / self.known)
        inside = f"{held:5.1f} % inside, {100 * self.below / self.known:.1f} % below" if interval else ""
        return f"  {name:<34} {self.known:>7,} foretold, median |log error| {median(self.errors):.3f}  {inside}"


class Moment(NamedTuple):
    at_s: int
    ends: bool
    row: int


def read(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(io.StringIO(text.decode())))


def job_of(number: int, row: dict[str, str]) -> Job:
    gpus = ceil(float(row["gpus"]))
    need = Resources(cpu_milli=1000 * max(1, gpus), gpus=gpus)
    spec = JobSpec(command=("true",), name=row.get("name", ""), resources=need)
    submitted_ms = 1000 * int(float(row["submit_s"]))
    return Job(
        id=str(number), number=number, tenant=row["tenant"], spec=spec, submitted_ms=submitted_ms, resources=need
    )


def moments(rows: list[dict[str, str]]) -> Iterator[Moment]:
    found = []
    for index, row in enumerate(rows):
        submit_s, duration_s = int(float(row["submit_s"])), int(float(row["duration_s"]))
        found += [Moment(submit_s, False, index), Moment(submit_s + duration_s, True, index)]
    return iter(sorted(found, key=lambda one: (one.at_s, not one.ends, one.row)))


class Trace:
    """One trace, run through once."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.rows = rows
        self.facts = Facts()
        self.ours, self.remaining, self.all_median, self.last = Scores(), Scores(), Scores(), Scores()
        self.seen: list[int] = []
        self.middle: int | None = None
        self.last_of: dict[tuple[str, str], int] = {}
        self.tell_s = self.learn_s = 0.0

    def run(self) -> None:
        for moment in moments(self.rows):
            row = self.rows[moment.row]
            job, duration_ms = job_of(moment.row, row), 1000 * int(float(row["duration_s"]))
            if moment.ends:
                self.learn(job, duration_ms, 1000 * moment.at_s)
            else:
                self.tell(job, duration_ms, (row["tenant"], row["gpus"]))

    def tell(self, job: Job, duration_ms: int, key: tuple[str, str]) -> None:
        began = time.perf_counter()
        found = expect(self.facts, job)
        low_ms, middle_ms, high_ms = found.quantile_ms(10), found.quantile_ms(50), found.quantile_ms(90)
        self.tell_s += time.perf_counter() - began
        self.ours.add(duration_ms, middle_ms, low_ms, high_ms)
        self.all_median.add(duration_ms, self.middle)
        self.last.add(duration_ms, self.last_of.get(key))
        if job.number % AGED_EVERY == 0:
            for ran_ms in (age_ms for age_ms in AGES_MS if age_ms < duration_ms):
                left = expect(self.facts, job, ran_ms)
                quantiles = left.quantile_ms(50), left.quantile_ms(10), left.quantile_ms(90)
                self.remaining.add(duration_ms - ran_ms, *quantiles)

    def learn(self, job: Job, duration_ms: int, at_ms: int) -> None:
        started_ms = at_ms - duration_ms
        attempt = Attempt(
            number=1,
            worker="w",
            pool="p",
            ordered_ms=started_ms,
            started_ms=started_ms,
            ended_ms=at_ms,
            cause=Cause.completed,
            resources=job.resources,
        )
        job.attempts = (attempt,)
        began = time.perf_counter()
        learn(self.facts, job, attempt, at_ms)
        self.learn_s += time.perf_counter() - began
        self.seen.append(duration_ms)
        if len(self.seen) % 100 == 0:
            self.middle = int(median(self.seen))
        self.last_of[job.tenant, self.rows[job.number]["gpus"]] = duration_ms

    def report(self, name: str) -> str:
        count = len(self.rows)
        tell_us, learn_us = self.tell_s / count * 1e6, self.learn_s / count * 1e6
        held = msgspec.msgpack.encode(self.facts.runs)
        return "\n".join(
            [
                f"{name}: {count:,} jobs",
                self.ours.line("agentorch, 10-90 %", interval=True),
                self.remaining.line("agentorch, what is left", interval=True),
                self.all_median.line("median of all before", interval=False),
                self.last.line("the last of this tenant and size", interval=False),
                f"  three quantiles {tell_us:.1f} us, to learn one run {learn_us:.1f} us; "
                f"{len(self.facts.runs)} kinds, {len(held):,} bytes in a snapshot",
            ]
        )


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m benchmarks.forecast FOLDER-OR-TRACE")
    given = Path(sys.argv[1])
    paths = [given] if given.is_file() else sorted(given.glob("*.csv*"))
    traces = [(path, read(path)) for path in paths if "nodes" not in path.name]
    for path, rows in traces:
        trace = Trace(rows)
        trace.run()
        print(trace.report(path.name))


if __name__ == "__main__":
    main()
