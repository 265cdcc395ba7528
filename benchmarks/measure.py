"""Numbers and how they are said: medians of rounds, percentiles, and the tables that are printed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import msgspec

#: Contenders take turns, round by round, so that a busy moment of the machine hits all of them.
ROUNDS = 5
QUICK_ROUNDS = 2


class Table(msgspec.Struct, kw_only=True):
    """What a benchmark found. Each row has a cell for each column; the first column names what was measured."""

    name: str
    question: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = []

    def markdown(self) -> str:
        lines = [self.question, "", _line(self.columns), _line(["---"] + ["---:"] * (len(self.columns) - 1))]
        lines.extend(_line(row) for row in self.rows)
        lines.extend(["", *(f"- {note}" for note in self.notes)] if self.notes else [])
        return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Size(NamedTuple):
    """How much to measure."""

    rounds: int
    quick: bool

    def of(self, whole: int, quick: int) -> int:
        """A number that `--quick` makes small."""
        return quick if self.quick else whole


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank; 0 for nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def spread(values: Sequence[float]) -> str:
    """`median (lowest-highest)` of rates."""
    return f"{rate(median(values))} ({rate(min(values))}-{rate(max(values))})"


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def in_turns(contenders: Mapping[str, Callable[[], Awaitable[float]]], rounds: int) -> dict[str, list[float]]:
    """Each contender once a round; what they returned, round by round."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(await run())
    return found
