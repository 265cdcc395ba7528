"""`python -m benchmarks.sharing FOLDER`: one trace on pools of their own, lending, supervised, and as one pool.

FOLDER holds the traces. The virtual clusters of the trace have the nodes that `benchmarks.simulate`'s independent
simulator gave them, 128 in all. Ends with 1 when lending recovers less than half of the queue time that separates
pools of their own from one pool, or when an invariant is broken, reservations among them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agentorch.core.invariants import breaches
from agentorch.model.fleet import PoolSpec, Reservation
from agentorch.model.limits import SECOND_MS
from agentorch.model.units import parse_duration_ms
from agentorch.simulation.driver import Driver, one_pool
from agentorch.simulation.run import Report, summarise
from agentorch.simulation.supervised import Supervisor, no_twin, twin
from agentorch.simulation.traces import TraceJob, read_trace

TRACE = "philly-2017-10_11-8vc.csv.gz"
GPUS_PER_NODE = 8
NODES = {
    "6214e9": 40,
    "11cb48": 8,
    "b436b2": 38,
    "e13805": 9,
    "6c71a0": 16,
    "2869ce": 10,
    "ed69ec": 2,
    "103959": 5,
}
#: Invariants cost time, so they are checked at every so many instants.
CHECKED_EVERY = 500
SUPERVISED = "lending and supervised"
ROWS = ("partitioned", "lending", SUPERVISED, "lending, a quarter reserved", "one pool")


def pools(*, lends: bool, reserved_share: float = 0.0) -> list[PoolSpec]:
    """A pool for each virtual cluster; of each a share may be reserved for its own tenant."""
    found = []
    for name, nodes in NODES.items():
        spec = msgspec.structs.replace(one_pool(nodes, GPUS_PER_NODE), name=name, lends=lends)
        kept = round(nodes * reserved_share)
        if kept:
            spec = msgspec.structs.replace(spec, reservations=(Reservation(tenant=name, workers=kept),))
        found.append(spec)
    return found


def cluster_of(row: str) -> list[PoolSpec]:
    match row:
        case "one pool":
            return [one_pool(sum(NODES.values()), GPUS_PER_NODE)]
        case "partitioned":
            return pools(lends=False)
        case "lending, a quarter reserved":
            return pools(lends=True, reserved_share=0.25)
        case _:
            return pools(lends=True)


def run(
    jobs: Sequence[TraceJob], row: str, supervisor: Supervisor | None, tell: Callable[[str], None]
) -> tuple[Report, int]:
    """The report, and how many checks found a broken invariant."""
    began = time.perf_counter()
    driver = Driver(jobs, cluster_of(row), lambda events: None, supervisor=supervisor)
    broken = 0
    for step, ended in enumerate(driver.steps()):
        if not step % CHECKED_EVERY:
            found = breaches(driver.state)
            broken += bool(found)
            if found:
                print(f"{row}: {found[0]}", file=sys.stderr, flush=True)
        if not step % 20_000:
            tell(f"{row}: {ended} of {len(jobs)} jobs")
    return summarise(jobs, driver.run, time.perf_counter() - began), broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the traces are")
    parser.add_argument("--limit", type=int, help="only the first so many jobs")
    parser.add_argument("--cycle", default="5m", help="time between two cycles of the supervisor; default: 5m")
    parser.add_argument("--twin", action="store_true", help="let the supervisor ask the twin")
    parser.add_argument("--row", action="append", choices=ROWS, help="only these; default: all")
    given = parser.parse_args()
    jobs = read_trace(given.folder / TRACE, limit=given.limit)
    print(
        "| pools | avg JCT | avg queue | p99 queue | slowdown | preemptions | actions | asked | denied | broken | s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    queues: dict[str, float] = {}
    worst = 0
    for row in given.row or ROWS:
        cycle_ms = max(SECOND_MS, parse_duration_ms(given.cycle))
        supervisor = None
        if row == SUPERVISED:
            supervisor = Supervisor(cycle_ms=cycle_ms, foresee=twin if given.twin else no_twin)
        report, broken = run(jobs, row, supervisor, lambda line: print(line, file=sys.stderr, flush=True))
        queues[row] = report.avg_queue_s
        worst += broken
        counts = supervisor.counts if supervisor is not None else None
        did = f"{counts.actions:,} | {counts.asked:,} | {counts.denied:,}" if counts is not None else "| |"
        print(
            f"| {row} | {report.avg_jct_s:,.0f} | {report.avg_queue_s:,.0f} | {report.p99_queue_s:,.0f} "
            f"| {report.bounded_slowdown:.2f} | {report.preemptions:,} | {did} | {broken} | {report.sim_wall_s:.0f} |",
            flush=True,
        )
    if not set(ROWS) <= set(queues):
        return int(worst > 0)
    apart, together = queues["partitioned"], queues["one pool"]
    shares = {row: (apart - queues[row]) / (apart - together) for row in ROWS[1:-1]}
    print("; ".join(f"{row} recovers {100 * share:.0f} %" for row, share in shares.items()))
    return int(worst > 0 or shares["lending"] < 0.5 or shares[SUPERVISED] < 0.5)


if __name__ == "__main__":
    sys.exit(main())
