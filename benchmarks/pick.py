"""Choosing the next job: one scheduling pass after another on long queues, as the core alone decides them."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush

import msgspec

from agentorch.core.decide import decide
from agentorch.core.state import State
from agentorch.model import commands as cmd
from agentorch.model.jobs import JobSpec, Resources
from benchmarks import rig
from benchmarks.measure import Size, Table, in_turns, spread

SHAPES = 10
PASSES = 8
NOW_MS = 1_800_000_000_000


async def run(size: Size) -> Table:
    lengths = (10_000, size.of(1_000_000, 50_000))
    contenders: dict[str, Callable[[], Awaitable[float]]] = {}
    for length in lengths:
        contenders[f"agentorch, {length:,} queued"] = Picker(length).run
        contenders[f"limit: heapq pop and push, {length:,} entries"] = Heap(length).run
    gc.freeze()  # what is measured is choosing, not Python's look through a million jobs for garbage
    found = await in_turns(contenders, size.rounds)
    return Table(
        name="pick",
        question="How long does it take to choose the next job, and does that grow with the queue?",
        columns=["", "µs per decision (lowest-highest)"],
        rows=[[name, spread(values)] for name, values in found.items()],
        notes=[
            f"{rig.TENANTS} tenants, {SHAPES} shapes, jobs of one tenant and shape interleaved; median of "
            f"{size.rounds} rounds of {PASSES} passes in turns. A decision is choice, event and its fold into the "
            "state; ended jobs are replaced by new ones outside of the measured time.",
        ],
    )


class Picker:
    """A state with a queue of constant length."""

    def __init__(self, length: int) -> None:
        self.state = State()
        self.next = 0
        for command in rig.configuration(rig.AtOnce.name, 10_000_000):
            decide(self.state, command, NOW_MS)
        self.shapes = [spec_of(index) for index in range(SHAPES)]
        self.fill(length)

    def fill(self, count: int) -> None:
        for index in range(self.next, self.next + count):
            tenant_of = index // SHAPES  # so that each tenant has every shape
            decide(self.state, rig.submission(tenant_of, self.shapes[index % SHAPES]), NOW_MS + index)
        self.next += count

    async def run(self) -> float:
        """Microseconds per started job."""
        took, picked = 0.0, 0
        for _ in range(PASSES):
            began = time.perf_counter()
            events, started = decide(self.state, cmd.Schedule(), NOW_MS + self.next)
            took += time.perf_counter() - began
            assert started == len(events), "every job fits"
            picked += started
            self.fill(started)
        return took / picked * 1e6


def spec_of(index: int) -> JobSpec:
    need = Resources(cpu_milli=100 * (index + 1), memory_bytes=index * 2**20)
    return msgspec.structs.replace(rig.NOOP, resources=need)


class Heap:
    """The least that any priority queue of this length does."""

    def __init__(self, length: int) -> None:
        self.random = random.Random(1)
        self.heap = [(self.random.random(), index) for index in range(length)]
        heapify(self.heap)

    async def run(self) -> float:
        fresh = [(self.random.random() + 1, index) for index in range(PASSES * 256)]
        began = time.perf_counter()
        for one in fresh:
            heappop(self.heap)
            heappush(self.heap, one)
        return (time.perf_counter() - began) / len(fresh) * 1e6
