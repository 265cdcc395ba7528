"""The twin: how fast it runs ahead, what a card costs, how long it keeps the loop; and how often it was right.

`python -m benchmarks twin` measures the first three. `python -m benchmarks.twin FOLDER [PART-OF-A-NAME ...]` drives the
traces of jobs in the folder (`agentorch simulate jobs`) and asks the twin at moments of their second half.
"""

from __future__ import annotations

import random
import sys
import time
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

from agentorch.core.decide import decide
from agentorch.core.state import State
from agentorch.core.twin import compare
from agentorch.core.twin.fork import fork
from agentorch.core.twin.question import Starts, starts
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event, JobStarted
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, JobSpec, Resources
from agentorch.model.proposals import Draft
from agentorch.model.twin import Outlook
from agentorch.simulation.driver import BEGIN_MS, Driver, one_pool
from agentorch.simulation.traces import read_trace
from benchmarks.measure import Size, Table

#: Run times of the made-up cluster are log-normal: half of them under 20 minutes, an hour on average.
MEDIAN_S, SIGMA = 1_200.0, 1.5
WORKERS, TENANTS, KINDS = 50, 5, 20
GROW = Draft(action={"kind": "scale", "pool": "cpu", "workers": WORKERS + WORKERS // 2})


class Cluster:
    """Workers of four cores, on which jobs have run until so many run or wait."""

    def __init__(self, live: int, workers: int = WORKERS) -> None:
        self.stream = random.Random(1)
        self.state = State()
        self.now_ms = BEGIN_MS
        self.due: list[tuple[int, str, int]] = []
        shape = Resources(cpu_milli=4_000, memory_bytes=16 * 2**30)
        pool = PoolSpec(name="cpu", min_workers=0, max_workers=4 * workers, workers=workers, shape=shape)
        self.take(cmd.ConfigurePool(spec=pool))
        for tenant in range(TENANTS):
            self.take(cmd.ConfigureTenant(spec=TenantSpec(name=f"t{tenant}")))
        self.middles = [MEDIAN_S * self.stream.lognormvariate(0, 1) for _ in range(KINDS)]
        every_ms = limits.HOUR_MS // (2 * workers)  # more than the workers can do
        while len(self.state.queue) + len(self.state.facts.running) < live:
            self.until(self.now_ms + every_ms)
            self.submit()

    def take(self, command: cmd.Command) -> None:
        events, _ = decide(self.state, command, self.now_ms)
        for event in events:
            if isinstance(event, JobStarted):
                self.launch(event)

    def submit(self) -> None:
        kind = self.stream.randrange(KINDS)
        need = Resources(cpu_milli=self.stream.choice((2_000, 4_000, 4_000)))
        spec = JobSpec(command=("true",), name=f"kind-{kind}", resources=need)
        self.take(cmd.SubmitJob(tenant=f"t{kind % TENANTS}", spec=spec, by="bench"))
        self.take(cmd.Schedule())

    def launch(self, event: JobStarted) -> None:
        self.take(cmd.ReportRunning(job=event.job, attempt=event.attempt))
        kind = int(self.state.facts.jobs[event.job].spec.name.removeprefix("kind-"))
        lasts_s = self.middles[kind] * self.stream.lognormvariate(0, 1)
        heappush(self.due, (self.now_ms + int(1_000 * lasts_s), event.job, event.attempt))

    def until(self, at_ms: int) -> None:
        while self.due and self.due[0][0] <= at_ms:
            self.now_ms, job, attempt = heappop(self.due)
            began_ms = self.state.facts.jobs[job].attempts[-1].started_ms
            report = cmd.ReportEnded(
                job=job, attempt=attempt, cause=Cause.completed, started_ms=began_ms, ended_ms=self.now_ms, exit_code=0
            )
            self.take(report)
            self.take(cmd.Schedule())
        self.now_ms = at_ms


class Card(NamedTuple):
    """One question of one action."""

    cpu_s: float
    first_s: float  # until the state is forked: the loop's own time
    longest_s: float  # of the slices after it
    outlook: Outlook

    @property
    def hours_per_s(self) -> float:
        """Simulated, over all draws of both courses."""
        courses = 1 + len(self.outlook.impacts)
        return courses * self.outlook.draws * self.outlook.horizon_s / 3600 / self.cpu_s


def ask(cluster: Cluster, steps: int) -> Card:
    began_s = last_s = time.process_time()
    answer = compare(cluster.state, (GROW,), cluster.now_ms, steps=steps)
    last_s = time.process_time()
    first_s, longest_s = last_s - began_s, 0.0
    while True:
        try:
            next(answer)
        except StopIteration as done:
            now_s = time.process_time()
            return Card(now_s - began_s, first_s, max(longest_s, now_s - last_s), done.value)
        now_s = time.process_time()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s


async def run(size: Size) -> Table:
    rows = []
    for live, workers in ((100, 10), (1_000, WORKERS), (size.of(5_000, 1_000), 200)):
        cluster = Cluster(live, workers)
        cards = [ask(cluster, limits.TWIN_STEPS) for _ in range(size.rounds)]
        whole = [ask(cluster, 10**9) for _ in range(size.rounds)]
        rows.append(
            [
                f"{live:,} jobs, {workers} workers",
                f"{1000 * median(card.cpu_s for card in cards):.0f}",
                f"{cards[0].outlook.horizon_s / 60:.0f}",
                f"{1000 * median(card.first_s for card in cards):.1f}",
                f"{1000 * median(card.longest_s for card in cards):.1f}",
                f"{1000 * median(card.cpu_s for card in whole):.0f}",
                f"{median(card.hours_per_s for card in whole):.0f}",
            ]
        )
        assert fork(cluster.state).facts.running == cluster.state.facts.running
    return Table(
        name="twin",
        question="What does the twin cost, for a card with one action?",
        columns=[
            "",
            "card CPU ms",
            "it sees ahead, min",
            "fork ms",
            "longest slice ms",
            "a whole hour, CPU ms",
            "simulated hours per CPU s",
        ],
        rows=rows,
        notes=[
            f"CPU time of one core; medians of {size.rounds}. {limits.TWIN_DRAWS} draws with the action, and without.",
            f"A card's budget is {limits.TWIN_STEPS:,} simulated events a course; without one it sees an hour ahead.",
            "Jobs run for an hour on average, half of them under 20 minutes; more come than the workers can do.",
        ],
    )


# -- how often it was right


class Trace(NamedTuple):
    """A trace, or a virtual cluster of it, the nodes that it is driven on, and how far ahead the twin is to look.

    So few nodes that work has to wait: on those that it really had nearly everything starts at once.
    """

    file: str
    nodes: int
    horizon_h: int
    moments: int
    longest_s: int | None = None
    vc: str = ""


PHILLY = "philly-2017-10_11-8vc.csv.gz"
TRACES = (
    Trace("openb-2023-day115_133.csv.gz", 2, 24, 60, 3 * 86_400),
    Trace(PHILLY, 9, 24, 15, vc="2869ce"),
    Trace(PHILLY, 4, 24, 15, vc="103959"),
    Trace(PHILLY, 8, 24, 15, vc="e13805"),
    Trace(PHILLY, 14, 24, 10, vc="6c71a0"),
    Trace(PHILLY, 128, 24, 20),
)
GPUS_PER_NODE = 8
#: Jobs of one moment that are looked at, spread over the queue.
LOOKED_AT = 20


class Asked(NamedTuple):
    """What was foreseen of one job that waited, and when that was."""

    at_ms: int
    job: str
    foreseen: Starts


class Coverage:
    """Drives a trace, asks at moments of its second half, and looks at the end when those jobs really started."""

    def __init__(self, folder: Path, trace: Trace) -> None:
        self.trace = trace
        self.began: dict[str, list[int]] = {}
        jobs = read_trace(folder / trace.file, gpu_jobs_only=True, max_duration_s=trace.longest_s)
        jobs = [job for job in jobs if not trace.vc or job.vc == trace.vc]
        jobs = [job._replace(vc="") for job in jobs]  # one pool, whoever comes
        self.driver = Driver(jobs, [one_pool(trace.nodes, GPUS_PER_NODE)], self.note)
        first_s, last_s = jobs[0].submit_s, jobs[-1].submit_s
        self.from_ms = BEGIN_MS + 1_000 * (first_s + last_s) // 2
        self.upto_ms = BEGIN_MS + 1_000 * last_s
        self.asked: list[Asked] = []
        self.cpu_s = 0.0
        self.live = 0

    def note(self, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            self.started(event)

    def started(self, event: Event) -> None:
        if isinstance(event, JobStarted):
            self.began.setdefault(event.job, []).append(event.at_ms)

    def run(self) -> None:
        due_ms, every_ms = self.from_ms, (self.upto_ms - self.from_ms) // self.trace.moments
        for _ in self.driver.steps():
            if due_ms <= self.driver.now_ms < self.upto_ms and len(self.driver.state.queue):
                due_ms = max(due_ms + every_ms, self.driver.now_ms)
                self.ask()

    def ask(self) -> None:
        state, now_ms = self.driver.state, self.driver.now_ms
        waiting = state.queue.waiting_jobs(len(state.queue))
        chosen = [job.id for job in waiting[:: max(1, len(waiting) // LOOKED_AT)]]
        began_s = time.process_time()
        found = starts(state, now_ms, horizon_ms=self.trace.horizon_h * limits.HOUR_MS, steps=10**9)
        self.cpu_s += time.process_time() - began_s
        self.live += len(state.queue) + len(state.facts.running)
        self.asked += [Asked(now_ms, job, found[job]) for job in chosen if job in found]

    def report(self) -> str:
        below = above = inside = open_ended = 0
        for one in self.asked:
            began_ms = next(at_ms for at_ms in self.began[one.job] if at_ms >= one.at_ms)
            wait_s = (began_ms - one.at_ms) / 1_000
            low_s, high_s = one.foreseen.low_s, one.foreseen.high_s
            if low_s is None:
                continue  # not within the horizon, in no draw
            open_ended += high_s is None
            below += wait_s < low_s
            above += wait_s > (inf if high_s is None else high_s)
            inside += low_s <= wait_s <= (inf if high_s is None else high_s)
        count = max(1, below + above + inside)
        moments = max(1, len({one.at_ms for one in self.asked}))
        hours_per_s = moments * limits.TWIN_DRAWS * self.trace.horizon_h / self.cpu_s if self.cpu_s else 0.0
        name = f"{self.trace.file} {self.trace.vc}".strip()
        return (
            f"{name} on {self.trace.nodes} nodes: {count} waits foreseen at {moments} moments, "
            f"{100 * inside / count:.1f} % inside the 80 % range, {100 * below / count:.1f} % shorter, "
            f"{100 * above / count:.1f} % longer; {100 * open_ended / count:.0f} % of the ranges end beyond "
            f"{self.trace.horizon_h} h; {hours_per_s:.0f} simulated hours per CPU s, {self.live // moments} live jobs"
        )


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m benchmarks.twin FOLDER [PART-OF-A-NAME ...]")
    for trace in TRACES:
        if len(sys.argv) == 2 or any(name in f"{trace.file} {trace.vc}" for name in sys.argv[2:]):
            coverage = Coverage(Path(sys.argv[1]), trace)
            coverage.run()
            print(coverage.report(), flush=True)


if __name__ == "__main__":
    main()
