"""`python -m benchmarks.simulate FOLDER`: the simulator's references beside the numbers of an independent simulator.

FOLDER holds the traces. The independent one was written apart from this project to the same rules: those of
`agentorch.simulation.reference`. Ends with 1 when any number is further off than `TOLERANCE`. With `--apart` each
virtual cluster of the largest trace alone on nodes of its own, under `--policy`, else `default`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agentorch.simulation import reference
from agentorch.simulation.driver import drive, one_pool
from agentorch.simulation.run import Report, Run, summarise
from agentorch.simulation.traces import TraceJob, read_trace
from benchmarks.sharing import NODES

TOLERANCE = 0.005
GPUS_PER_NODE = 8
DAY_S = 86_400


class Trace(NamedTuple):
    """A trace and the cluster that it is simulated on."""

    file: str
    nodes: int
    max_duration_s: int | None = None
    gpu_jobs_only: bool = False

    def jobs(self, folder: Path) -> list[TraceJob]:
        return read_trace(folder / self.file, max_duration_s=self.max_duration_s, gpu_jobs_only=self.gpu_jobs_only)


class Anchor(NamedTuple):
    """What the independent simulator found, rounded as it printed it."""

    avg_jct_s: float
    p50_jct_s: float
    p99_jct_s: float
    avg_queue_s: float
    p99_queue_s: float
    bounded_slowdown: float
    utilization: float
    preemptions: int = 0


#: What the last digit that was printed may hide.
ROUNDED = Anchor(0.5, 0.5, 0.5, 0.5, 0.5, 0.005, 0.0005, 0)

SMALL = Trace("philly-11cb48-first2000.csv.gz", 3)
OPENB = Trace("openb-2023-day115_133.csv.gz", 2, 3 * DAY_S, True)
BIG = Trace("philly-2017-10_11-8vc.csv.gz", 128)

ANCHORS: dict[Trace, dict[str, Anchor]] = {
    SMALL: {
        "fifo": Anchor(215613, 241356, 551107, 212159, 548649, 3847.70, 0.478),
        "fifo-greedy": Anchor(6222, 70, 80330, 2769, 37912, 28.08, 0.620),
        "easy": Anchor(5746, 70, 74771, 2292, 37912, 24.06, 0.591),
        "sjf": Anchor(27186, 69, 585362, 23733, 532614, 22.10, 0.450),
        "sjf-easy": Anchor(5853, 70, 79017, 2400, 34581, 18.87, 0.614),
        "las2d": Anchor(4369, 69, 78188, 915, 25743, 1.89, 0.613, 708),
        "srtf": Anchor(3679, 69, 57231, 226, 2139, 1.01, 0.561, 323),
    },
    OPENB: {
        "fifo": Anchor(24416, 4251, 116309, 20647, 103010, 75.14, 0.535),
        "fifo-greedy": Anchor(4816, 938, 70080, 1047, 15638, 4.52, 0.541),
        "easy": Anchor(6383, 1140, 70475, 2614, 24273, 10.75, 0.541),
        "sjf": Anchor(10418, 1129, 120473, 6650, 108250, 9.42, 0.527),
        "sjf-easy": Anchor(4291, 790, 65247, 523, 10067, 1.86, 0.541),
        "las2d": Anchor(4497, 630, 70755, 729, 23134, 1.20, 0.541, 1162),
        "srtf": Anchor(3926, 628, 64498, 157, 203, 1.00, 0.541, 747),
    },
    BIG: {
        "fifo": Anchor(96915, 96865, 448304, 80363, 225832, 438.56, 0.622),
        "fifo-greedy": Anchor(20413, 3086, 375883, 3861, 38626, 14.76, 0.622),
        "easy": Anchor(21546, 3540, 375916, 4994, 39232, 16.70, 0.622),
        "sjf": Anchor(18466, 1984, 371302, 1914, 23453, 1.77, 0.622),
        "sjf-easy": Anchor(17804, 1866, 375093, 1252, 16489, 1.58, 0.622),
        "las2d": Anchor(20402, 1427, 379387, 3850, 57688, 1.51, 0.622, 66269),
        "srtf": Anchor(16851, 1420, 360768, 299, 0, 1.00, 0.622, 45284),
    },
}


def off(report: Report, anchor: Anchor) -> dict[str, float]:
    """By how much each number is off, as a share of the anchor, beyond what rounding hides."""
    found = {}
    for name, value, rounded in zip(Anchor._fields, anchor, ROUNDED, strict=True):
        beyond = max(0.0, abs(getattr(report, name) - value) - rounded)
        found[name] = beyond / max(value, rounded) if beyond else 0.0
    return found


def simulated(trace: Trace, jobs: Sequence[TraceJob], policy: str) -> Report:
    began = time.perf_counter()
    run: Run
    if policy == "default":
        run = drive(jobs, [one_pool(trace.nodes, GPUS_PER_NODE)])
    else:
        run = reference.simulate(jobs, policy, trace.nodes, GPUS_PER_NODE)
    return summarise(jobs, run, time.perf_counter() - began)


def apart(jobs: Sequence[TraceJob], policies: Sequence[str]) -> int:
    print("| virtual cluster | nodes | jobs | policy | avg JCT | avg queue | p99 queue | slowdown | preemptions |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|")
    for policy in policies:
        queue_s = slowdown = 0.0
        for name, nodes in sorted(NODES.items(), key=lambda item: item[1]):
            own = [job for job in jobs if job.vc == name]
            report = simulated(Trace("", nodes), own, policy)
            queue_s += report.avg_queue_s * len(own) / len(jobs)
            slowdown += report.bounded_slowdown * len(own) / len(jobs)
            print(
                f"| {name} | {nodes} | {len(own):,} | {policy} | {report.avg_jct_s:,.0f} | {report.avg_queue_s:,.0f} "
                f"| {report.p99_queue_s:,.0f} | {report.bounded_slowdown:.2f} | {report.preemptions:,} |",
                flush=True,
            )
        nodes = sum(NODES.values())
        print(f"| all | {nodes} | {len(jobs):,} | {policy} | | {queue_s:,.0f} | | {slowdown:.2f} | |", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the traces are")
    parser.add_argument("--policy", action="append", help="only these; default: all, and `default`")
    parser.add_argument("--apart", action="store_true", help="each virtual cluster alone")
    given = parser.parse_args()
    if given.apart:
        return apart(BIG.jobs(given.folder), given.policy or ["default"])
    print("| trace | policy | avg JCT | p50 | p99 | avg queue | p99 queue | slowdown | preemptions | off | s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    worst = 0.0
    for trace, anchors in ANCHORS.items():
        jobs = trace.jobs(given.folder)
        for policy in given.policy or [*anchors, "default"]:
            report = simulated(trace, jobs, policy)
            furthest = max(off(report, anchors[policy]).values()) if policy in anchors else None
            worst = max(worst, furthest or 0.0)
            print(
                f"| {trace.file.split('.')[0]} | {policy} | {report.avg_jct_s:,.0f} | {report.p50_jct_s:,.0f} "
                f"| {report.p99_jct_s:,.0f} | {report.avg_queue_s:,.0f} | {report.p99_queue_s:,.0f} "
                f"| {report.bounded_slowdown:.2f} | {report.preemptions:,} "
                f"| {'' if furthest is None else f'{100 * furthest:.2f} %'} | {report.sim_wall_s:.1f} |",
                flush=True,
            )
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
