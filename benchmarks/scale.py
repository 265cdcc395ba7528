"""The core at size: a thousand jobs on ten workers to a million jobs on ten thousand, in virtual time."""

from __future__ import annotations

import asyncio
import json
import math
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from agentorch.model.events import Event
from agentorch.simulation import reference
from agentorch.simulation.driver import drive, one_pool
from agentorch.simulation.traces import TraceJob
from benchmarks.measure import Size, Table

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = SIZES[:-1]
JOBS_PER_WORKER: Final = 100
GPUS_PER_NODE: Final = 8
LOAD: Final = 1.1
MEDIAN_S: Final = 600
SIGMA: Final = 1.0
LONGEST_S: Final = 7_200
GPUS: Final = (1, 1, 1, 1, 2, 2, 4, 8)
TENANTS: Final = 20
SEED: Final = 1


async def run(size: Size) -> Table:
    rows = []
    for count in QUICK_SIZES if size.quick else SIZES:
        ours, head = await _child(count, "core"), await _child(count, "fifo")
        rows.append(
            [
                f"{count:,} jobs, {count // JOBS_PER_WORKER:,} workers",
                f"{ours['most_waiting']:,}",
                f"{ours['events']:,}",
                f"{1e6 * ours['cpu_s'] / count:,.0f}",
                f"{1e6 * ours['cpu_s'] / ours['events']:,.1f}",
                f"{ours['rss_mib']:,.0f}",
                f"{1e6 * head['cpu_s'] / count:,.0f}",
            ]
        )
    return Table(
        name="scale",
        question="How do the time of a decision and the memory grow with jobs and workers?",
        columns=["", "most waiting", "events", "µs CPU/job", "µs CPU/event", "MiB", "reference fifo µs/job"],
        rows=rows,
        notes=[
            f"Synthetic: Poisson arrivals at {LOAD:g} times what the cluster can do, so that a queue builds and then "
            f"drains; log-normal durations (median {MEDIAN_S} s, sigma {SIGMA:g}), 1 to 8 GPUs on nodes of "
            f"{GPUS_PER_NODE}, {TENANTS} tenants. Everything that a job is from submit to end, decided and folded in; "
            "no ledger. One run each, in a process of its own.",
            "Beside it the reference that only ever looks at the head of its queue, and keeps no record of anything.",
        ],
    )


async def _child(count: int, what: str) -> dict[str, Any]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.scale", str(count), what, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"the run of {count:,} jobs ended with {child.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def measured(count: int, what: str) -> dict[str, Any]:
    """One run here."""
    workers = max(1, count // JOBS_PER_WORKER)
    trace = list(jobs(count, workers))
    events = 0

    def heard(some: Sequence[Event]) -> None:
        nonlocal events
        events += len(some)

    began_s = time.process_time()
    if what == "core":
        found = drive(trace, [one_pool(workers, GPUS_PER_NODE)], sink=heard)
    else:
        found = reference.simulate(trace, what, workers, GPUS_PER_NODE)
    return {
        "cpu_s": time.process_time() - began_s,
        "events": events,
        "most_waiting": max(moment.queued for moment in found.moments),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def jobs(count: int, workers: int) -> Iterator[TraceJob]:
    """In the order of their submits."""
    dice = random.Random(SEED)
    mean_s = MEDIAN_S * math.exp(SIGMA**2 / 2)
    a_second = LOAD * workers * GPUS_PER_NODE * len(GPUS) / (mean_s * sum(GPUS))
    at_s = 0.0
    for number in range(count):
        at_s += dice.expovariate(a_second)
        lasts_s = min(LONGEST_S, max(1, int(dice.lognormvariate(math.log(MEDIAN_S), SIGMA))))
        tenant = f"tenant-{dice.randrange(TENANTS)}"
        yield TraceJob(f"j{number}", int(at_s), lasts_s, dice.choice(GPUS), tenant)


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), sys.argv[2])))
