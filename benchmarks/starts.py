"""How well starts are foretold, and what that costs: `python -m benchmarks.starts TRACE NODES [EVERY [LONGEST_S]]`.

The scheduler runs a trace on so many nodes of 8 GPUs in virtual time. Every so many-th job that has to wait is foretold
when it is submitted, from what has been learned by then, and compared with the start that came about. Jobs without a
GPU, and those that last for longer than `LONGEST_S`, are left out.
"""

from __future__ import annotations

import sys
import time
from math import log
from pathlib import Path
from statistics import median

from agentorch.core.starts import StartForecast, foretell
from agentorch.model import limits
from agentorch.model.jobs import JobState
from agentorch.simulation.driver import Driver, one_pool
from agentorch.simulation.traces import read_trace

GPUS_PER_NODE = 8
USAGE = "usage: python -m benchmarks.starts TRACE NODES [EVERY [LONGEST_S]]"


class Asked:
    """What was foretold, and what became of it."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[int, StartForecast]] = {}
        self.took_s: list[float] = []

    def ask(self, driver: Driver, name: str) -> None:
        began = time.process_time()
        found = foretell(driver.state, driver.state.facts.jobs[name], driver.now_ms)
        self.took_s.append(time.process_time() - began)
        self.told[name] = driver.now_ms, found

    def report(self, driver: Driver) -> str:
        jobs = driver.state.facts.jobs
        waits_ms = {name: (jobs[name].started_ms or 0) - at_ms for name, (at_ms, _) in self.told.items()}
        early = sum(found.stopped_early for _, found in self.told.values())
        p50 = [(waits_ms[name], found.start_p50_ms) for name, (_, found) in self.told.items()]
        p90 = [(waits_ms[name], found.start_p90_ms) for name, (_, found) in self.told.items()]
        errors = [abs(log(max(1000, came) / max(1000, told))) for came, told in p50 if told is not None]
        return (
            f"{len(self.told)} that had to wait, {len(errors)} foretold, {early} with fewer looks ahead\n"
            f"  not later than the p50: {_share(p50)}, than the p90: {_share(p90)}; "
            f"median |log error| {median(errors):.3f}\n"
            f"  CPU {1000 * median(self.took_s):.1f} ms (median), {1000 * max(self.took_s):.1f} ms at most"
        )


def _share(pairs: list[tuple[int, int | None]]) -> str:
    known = [came <= told for came, told in pairs if told is not None]
    return f"{100 * sum(known) / len(known):.1f} %" if known else "unknown"


def main() -> None:
    if not 3 <= len(sys.argv) <= 5:
        raise SystemExit(USAGE)
    path, nodes = Path(sys.argv[1]), int(sys.argv[2])
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    longest_s = int(sys.argv[4]) if len(sys.argv) > 4 else None
    jobs = read_trace(path, gpu_jobs_only=True, max_duration_s=longest_s)
    if len(jobs) > limits.FINISHED_JOBS_KEPT:
        raise SystemExit(f"{path.name} has {len(jobs)} jobs; {limits.FINISHED_JOBS_KEPT} at most are remembered")
    driver, asked = Driver(jobs, [one_pool(nodes, GPUS_PER_NODE)], lambda events: None), Asked()
    seen = 1
    for _ in driver.steps():
        facts = driver.state.facts
        for number in range(seen, facts.next_job):
            name = driver.names[number - 1]
            if number % every == 0 and facts.jobs[name].state is JobState.queued:
                asked.ask(driver, name)
        seen = facts.next_job
    print(f"{path.name} on {nodes} nodes: {asked.report(driver)}")


if __name__ == "__main__":
    main()
