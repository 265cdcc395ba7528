"""`python -m benchmarks.waits FOLDER FILE.svg`: which share of the jobs of the largest trace waited for longer than so
long, by policy, as a picture. FOLDER holds the traces. `default` pays for its preemptions, the others have none."""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path

from agentorch.simulation import reference
from agentorch.simulation.driver import drive, one_pool
from agentorch.simulation.plot import LEFT, RIGHT, TOP, WIDTH, head
from agentorch.simulation.run import Run
from agentorch.simulation.traces import TraceJob
from benchmarks.simulate import BIG, GPUS_PER_NODE

COLOURS = {"fifo-greedy": "#a0522d", "sjf-easy": "#7a7a7a", "default": "#2f6f4f"}
HEIGHT, FLOOR = 420, 370
#: Both axes are logarithmic: 10 s to 10**6.5 s, all jobs to one in ten thousand.
FIRST_S, LAST_S, DECADES = 10.0, 10.0**6.5, 4
TICKS = {"10 s": 10, "1 min": 60, "10 min": 600, "1 h": 3_600, "10 h": 36_000, "4 d": 345_600, "30 d": 2_592_000}
POINTS = 200


def picture(waits_s: Mapping[str, Sequence[float]], title: str) -> str:
    """The SVG's text."""
    parts = head(title, HEIGHT)
    for label, at_s in TICKS.items():
        parts.append(f'<line x1="{_x(at_s):.0f}" y1="{TOP}" x2="{_x(at_s):.0f}" y2="{FLOOR}" stroke="#eee"/>')
        parts.append(f'<text x="{_x(at_s):.0f}" y="{FLOOR + 18}" text-anchor="middle">{label}</text>')
    for decade in range(DECADES + 1):
        y = _y(10.0**-decade)
        parts.append(f'<line x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{100 / 10**decade:g} %</text>')
    for row, (policy, found) in enumerate(waits_s.items()):
        colour = COLOURS[policy]
        parts.append(f'<polyline points="{_line(sorted(found))}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 12}" y="{FLOOR - 14 - 18 * row}" fill="{colour}">{policy}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{FLOOR + 38}" text-anchor="end">waited for longer than</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(ordered_s: Sequence[float]) -> str:
    points = []
    for step in range(POINTS + 1):
        at_s = FIRST_S * (LAST_S / FIRST_S) ** (step / POINTS)
        share = 1 - bisect_right(ordered_s, at_s) / len(ordered_s)
        if share < 10.0**-DECADES:
            break
        points.append(f"{_x(at_s):.1f},{_y(share):.1f}")
    return " ".join(points)


def _x(at_s: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * log10(at_s / FIRST_S) / log10(LAST_S / FIRST_S)


def _y(share: float) -> float:
    return TOP - (FLOOR - TOP) * log10(share) / DECADES


def waited_s(jobs: Sequence[TraceJob], run: Run) -> list[float]:
    """Of each job, what of the time to its end was not its duration."""
    return [end_s - job.submit_s - job.duration_s for job, end_s in zip(jobs, run.ends_s, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waits", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the traces are")
    parser.add_argument("file", type=Path, help="the picture")
    given = parser.parse_args()
    jobs = BIG.jobs(given.folder)
    runs = {name: reference.simulate(jobs, name, BIG.nodes, GPUS_PER_NODE) for name in COLOURS if name != "default"}
    runs["default"] = drive(jobs, [one_pool(BIG.nodes, GPUS_PER_NODE)])
    found = {name: waited_s(jobs, run) for name, run in runs.items()}
    given.file.write_text(picture(found, "Share of 82,277 jobs that waited longer, 1,024 GPUs"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
