"""What a brain is worth on a priced, elastic pool: `python -m benchmarks.brains TRACE [JOBS [CYCLE_S]]`.

The first so many jobs of a trace run in virtual time on a pool that may have 2 to 16 nodes of 8 GPUs, each paid by the
hour, under one brain after another: one that holds, the rule brain by its numbers alone, and the rule brain with the
twin. Guardrails are in force; what they ask is answered with yes a cycle later, or by nobody. The wait is that of all
jobs, the cost that of the nodes, whether they are busy or not.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

from agentorch.core.policy import RuleBrain
from agentorch.core.twin import foresee
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.events import Event, PoolScaled
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Resources
from agentorch.model.observation import Observation
from agentorch.model.proposals import AnswerKind, BrainReport, ProposalState
from agentorch.simulation.driver import BEGIN_MS, Driver
from agentorch.simulation.supervised import Driven, Foresee, Supervisor, no_twin
from agentorch.simulation.traces import TraceJob, read_trace

USAGE = "usage: python -m benchmarks.brains TRACE [JOBS [CYCLE_S]]"
LEAST, BEGIN, MOST, GPUS_PER_NODE = 2, 4, 16, 8
NODE_USD_MICROS_PER_HOUR = 8_000_000
#: Guardrails let brains grow a pool only on behalf of tenants with a cap; this one is never reached.
CAP_USD_MICROS = 10**12


class Holding:
    id = "hold"

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        return BrainReport(brain=self.id, hold="whatever happens")


class Approving(Supervisor):
    """A person looks at the inbox once a cycle, and says yes."""

    async def cycle(self, driven: Driven) -> None:
        facts = driven.state.facts
        for name in [name for name in facts.unsettled if facts.proposals[name].state is ProposalState.open]:
            proposal = facts.proposals[name]
            answered = driven.take(
                cmd.AnswerApproval(proposal=name, kind=AnswerKind.approve, by="person", hash=proposal.hash)
            )
            if answered.state is ProposalState.approved:
                self._count(driven.take(cmd.CarryOut(proposal=name)).state)
        await super().cycle(driven)


def lived(title: str, jobs: list[TraceJob], supervisor: Supervisor, begin: int = BEGIN) -> str:
    """One row of the table."""
    pool = PoolSpec(
        name="cluster",
        min_workers=LEAST,
        max_workers=MOST,
        workers=begin,
        price_usd_micros_per_hour=NODE_USD_MICROS_PER_HOUR,
        shape=Resources(cpu_milli=1_000 * GPUS_PER_NODE, gpus=GPUS_PER_NODE),
    )
    sizes = [(BEGIN_MS, begin)]

    def keep(events: list[Event]) -> None:
        sizes.extend((event.at_ms, event.workers) for event in events if isinstance(event, PoolScaled))

    began_s = time.process_time()
    driver = Driver(jobs, [pool], lambda events: keep(list(events)), supervisor=supervisor)
    for tenant in list(driver.state.facts.tenants):
        driver.take(cmd.ConfigureTenant(spec=TenantSpec(name=tenant, hard_cap_usd_micros=CAP_USD_MICROS)))
    for _ in driver.steps():
        pass
    waits = sorted(end_s - job.submit_s - job.duration_s for end_s, job in zip(driver.run.ends_s, jobs, strict=True))
    first_ms = BEGIN_MS + min(job.submit_s for job in jobs) * limits.SECOND_MS
    last_ms = BEGIN_MS + round(max(driver.run.ends_s) * limits.SECOND_MS)
    spans = pairwise([(max(first_ms, at_ms), size) for at_ms, size in sizes] + [(last_ms, 0)])
    hours = sum(size * max(0, until_ms - at_ms) for (at_ms, size), (until_ms, _) in spans) / limits.HOUR_MS
    ups = [after > before for (_, before), (_, after) in pairwise(sizes)]
    turns = sum(before is not after for before, after in pairwise(ups))
    counts = supervisor.counts
    return (
        f"| {title} | {sum(waits) / len(waits):,.0f} | {waits[len(waits) * 99 // 100]:,.0f} | {hours:,.0f} "
        f"| {hours * NODE_USD_MICROS_PER_HOUR / 1e6:,.0f} | {counts.actions} | {counts.asked} | {turns} "
        f"| {time.process_time() - began_s:,.0f} |"
    )


def main() -> None:
    if not 2 <= len(sys.argv) <= 4:
        raise SystemExit(USAGE)
    jobs = read_trace(Path(sys.argv[1]), gpu_jobs_only=True)
    jobs = jobs[: int(sys.argv[2])] if len(sys.argv) > 2 else jobs
    cycle_ms = int(sys.argv[3] if len(sys.argv) > 3 else 30) * limits.SECOND_MS
    price = NODE_USD_MICROS_PER_HOUR / 1e6
    print(f"{Path(sys.argv[1]).name}, {len(jobs)} jobs, {LEAST} to {MOST} nodes at ${price:.0f} an hour\n")
    print("| brain | avg wait s | p99 wait s | node-hours | cost $ | actions | asked | turns | CPU s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    rows: list[tuple[str, type[Supervisor], Brain, Foresee, int]] = [
        (f"hold, {BEGIN} nodes", Supervisor, Holding(), no_twin, BEGIN),
        (f"hold, {MOST} nodes", Supervisor, Holding(), no_twin, MOST),
        ("rules without the twin, yes to all", Approving, RuleBrain(), no_twin, BEGIN),
        ("rules with the twin, yes to all", Approving, RuleBrain(), foresee, BEGIN),
        ("rules without the twin, nobody answers", Supervisor, RuleBrain(), no_twin, BEGIN),
        ("rules with the twin, nobody answers", Supervisor, RuleBrain(), foresee, BEGIN),
    ]
    for title, kind, brain, twin, begin in rows:
        print(lived(title, jobs, kind(brain, cycle_ms=cycle_ms, foresee=twin), begin), flush=True)


if __name__ == "__main__":
    main()
